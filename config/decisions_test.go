package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func TestDecisionsAreRead(t *testing.T) {
	f := parse(t, `
nodes: [{id: a, host: localhost}]
decisions: {mode: advise, cooldown: 2m, return_after: 1h, settle: 30s, per_service: 1, per_node: 2, per_cluster: 3}
services:
  web: {image: nginx, decisions: off}
  db: {image: redis}
`)
	want := otto.Decisions{Mode: "advise", Cooldown: 2 * time.Minute, ReturnAfter: time.Hour, Settle: 30 * time.Second, PerService: 1, PerNode: 2, PerCluster: 3}
	if diff := cmp.Diff(want, f.Wanted.Decisions); diff != "" {
		t.Error(diff)
	}
	for i, mode := range []string{otto.DecideOff, otto.DecideAdvise} {
		if got := f.Wanted.Decisions.ModeOf(f.Wanted.Services[i]); got != mode {
			t.Errorf("mode of %s is %s, want %s", f.Wanted.Services[i].Name, got, mode)
		}
	}
}

func TestBadDecisionsAreRefusedWithTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		"decisions: {mode: maybe}":      "otto.yaml:2:19: ",
		"decisions: {per_cluster: 0}":   "otto.yaml:2:26: ",
		"decisions: {cooldown: never}":  "otto.yaml:2:23: ",
		"decisions: {settle: 1m, x: 1}": "otto.yaml:2:25: ",
	} {
		_, err := Parse("otto.yaml", []byte("nodes: [{id: a, host: localhost}]\n"+text+"\nservices: {web: {image: nginx}}\n"), "", func(string) (string, bool) { return "", false })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it at %s", text, err, want)
		}
	}
}
