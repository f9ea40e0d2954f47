package config

import (
	"encoding/json"

	"go.yaml.in/yaml/v4"
)

// YAML writes a value as its JSON would be written by hand in YAML, of which JSON is a
// part.
func YAML(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	var n yaml.Node
	if err := yaml.Unmarshal(b, &n); err != nil {
		return "", err
	}
	unstyled(&n)
	text, err := yaml.Marshal(&n)
	return string(text), err
}

// unstyled takes away how values were written. Text that would read as something else keeps
// its quotes.
func unstyled(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		unstyled(c)
	}
}
