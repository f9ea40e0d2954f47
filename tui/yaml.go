package tui

import (
	"context"
	"fmt"
	"strings"

	"github.com/otto-edge/otto/config"
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
		text, err := config.YAML(v)
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
