package tui

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// yaml is a node, a service or a stack with all that is known of it, as the JSON output has
// it.
func (x *Index) yaml(_ context.Context, name string, node bool) (string, error) {
	var known []any
	if node {
		for _, n := range x.Cluster.Nodes {
			if n.ID == name {
				known = append(known, n)
			}
		}
	} else {
		for _, s := range x.Cluster.Services {
			if s.Name == name || strings.HasPrefix(s.Name, name+"/") {
				known = append(known, s)
			}
		}
	}
	var b strings.Builder
	for _, v := range known {
		text, err := asYAML(v)
		if err != nil {
			return "", err
		}
		if b.Len() > 0 {
			b.WriteString("---\n")
		}
		b.WriteString(text)
	}
	if b.Len() == 0 {
		return "", fmt.Errorf("there is no %s any more", name)
	}
	return b.String(), nil
}

// asYAML writes a value as its JSON would be written by hand in YAML, of which JSON is a
// part.
func asYAML(v any) (string, error) {
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
