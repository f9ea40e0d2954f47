package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRawFileOfVariables(t *testing.T) {
	f, err := loadFiles(t, map[string]string{
		"otto.yaml":    "stacks: [{name: a, compose: compose.yaml}]",
		"compose.yaml": "services: {web: {image: x, env_file: [{path: raw.env, format: raw}]}}",
		".env":         "GIVEN=of .env\n",
		"raw.env":      "\ufeff# a comment\n\nA=\"$B\" # no comment\n  B=b=c \nGIVEN\nNOWHERE\nEMPTY=\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"A": `"$B" # no comment`, "B": "b=c ", "GIVEN": "of .env", "EMPTY": ""}
	if diff := cmp.Diff(want, f.Wanted.Services[0].Spec.Environment); diff != "" {
		t.Error(diff)
	}
	if len(f.Warnings) > 0 {
		t.Errorf("warned: %v", f.Warnings)
	}
	_, err = loadFiles(t, map[string]string{
		"otto.yaml":    "stacks: [{name: a, compose: compose.yaml}]",
		"compose.yaml": "services: {web: {image: x, env_file: [{path: raw.env, format: raw}]}}",
		"raw.env":      "A=1\nB C=1\n",
	})
	if err == nil {
		t.Error("a bad name was taken")
	}
}
