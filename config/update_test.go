package config

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func TestUpdateIsReadInBothForms(t *testing.T) {
	want := otto.Update{Order: otto.StartFirst, Parallelism: 2, Delay: time.Second, Monitor: 10 * time.Second, OnFailure: otto.FailurePause}
	for _, text := range []string{
		"    update: {order: start-first, parallelism: 2, delay: 1s, monitor: 10s, on_failure: pause}\n",
		"    deploy: {update_config: {order: start-first, parallelism: 2, delay: 1s, monitor: 10s, failure_action: pause}}\n",
	} {
		f, err := Parse("otto.yaml", []byte("services:\n  web:\n    image: web\n"+text), "/", os.LookupEnv)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, f.Wanted.Services[0].Update); diff != "" || len(f.Warnings) > 0 {
			t.Error(f.Warnings, diff)
		}
	}
}

func TestUpdateThatMakesNoSenseIsNamed(t *testing.T) {
	for text, says := range map[string]string{
		"update: {order: start-last}":                            `otto.yaml:4:21: "start-last" is not one of start-first, stop-first`,
		"update: {parallelism: 0}":                               `otto.yaml:4:27: "0" is out of range`,
		"update: {monitor: 1ms}":                                 `otto.yaml:4:23: "1ms" is out of range`,
		"update: {on_failure: explode}":                          `otto.yaml:4:26: "explode" is not one of`,
		"update: {failure_action: pause}":                        `update has no key "failure_action"`,
		"deploy: {update_config: {max_failure_ratio: 0.1}}":      `max_failure_ratio`,
		"update: {order: start-first}\n    ports: ['80:80']":     `service web cannot be updated start-first: it publishes port 80`,
		"update: {order: start-first}\n    volumes: ['data:/d']": `there must never be two of it`,
	} {
		f, err := Parse("otto.yaml", []byte("services:\n  web:\n    image: web\n    "+text+"\n"), "/", os.LookupEnv)
		said := ""
		if err != nil {
			said = err.Error()
		} else {
			said = f.Warnings.Error()
		}
		if !strings.Contains(said, says) {
			t.Errorf("%s: %s", text, said)
		}
	}
}
