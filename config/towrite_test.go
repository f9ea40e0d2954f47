package config_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/otto-edge/otto/config"
)

// TestYAMLReadsBackTheSame: what would read as something else than text keeps its quotes.
func TestYAMLReadsBackTheSame(t *testing.T) {
	want := map[string]any{
		"a": "yes", "b": "1.10", "c": "two\nlines", "d": "", "e": "0x1", "f": "null", "g": " blank ", "h": "#", "i": "\x1b[2J",
		"j": []any{1.0, true, nil, map[string]any{"k": "- l"}}, "m": "12:30:45", "n": "~",
	}
	text, err := config.YAML(want)
	if err != nil {
		t.Fatal(err)
	}
	var read any
	if err := yaml.Unmarshal([]byte(text), &read); err != nil {
		t.Fatal(err, text)
	}
	b, err := json.Marshal(read)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s\n%s", d, text)
	}
}
