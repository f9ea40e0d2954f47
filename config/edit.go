package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/otto-edge/otto"
)

// AddNode returns the content of an otto.yaml with one more node. All lines that
// are there stay as they are.
func AddNode(data []byte, n otto.Node) ([]byte, error) {
	lines := strings.SplitAfter(string(data), "\n")
	list, err := findList(lines, "nodes")
	if err != nil {
		return nil, err
	}
	if len(list.items) == 0 {
		return nil, errors.New("it has no list of nodes with one item a line to add to: add the node by hand")
	}
	item, err := nodeItem(n)
	if err != nil {
		return nil, err
	}
	return list.add(lines, item), nil
}

// add returns the content with one more item, written as lines without indentation.
func (list listLines) add(lines []string, item string) []byte {
	last := list.items[len(list.items)-1]
	if !strings.HasSuffix(lines[last.end-1], "\n") {
		lines[last.end-1] += "\n"
	}
	var added []string
	for i, line := range strings.SplitAfter(strings.TrimSuffix(item, "\n"), "\n") {
		lead := list.indent + "  "
		if i == 0 {
			lead = list.indent + "- "
		}
		added = append(added, lead+line)
	}
	added[len(added)-1] += "\n"
	return []byte(strings.Join(slices.Insert(lines, last.end, added...), ""))
}

// RemoveNode returns the content of an otto.yaml without a node. All other
// lines stay as they are.
func RemoveNode(data []byte, id string) ([]byte, error) {
	lines := strings.SplitAfter(string(data), "\n")
	list, err := findList(lines, "nodes")
	if err != nil {
		return nil, err
	}
	for _, i := range list.items {
		var nodes []struct {
			ID string `yaml:"id"`
		}
		text := strings.Join(lines[i.start:i.end], "")
		if yaml.Unmarshal([]byte(text), &nodes) == nil && len(nodes) == 1 && nodes[0].ID == id {
			return []byte(strings.Join(slices.Delete(lines, i.start, i.end), "")), nil
		}
	}
	return nil, fmt.Errorf("its list of nodes has no %s with lines of its own: remove it by hand", id)
}

// nodeItem is a node as lines of YAML, without its indentation.
func nodeItem(n otto.Node) (string, error) {
	return asLines(struct {
		ID           string            `yaml:"id"`
		Host         string            `yaml:"host"`
		User         string            `yaml:"user,omitempty"`
		Port         int               `yaml:"port,omitempty"`
		IdentityFile string            `yaml:"identity_file,omitempty"`
		DockerURL    string            `yaml:"docker_url,omitempty"`
		Labels       map[string]string `yaml:"labels,omitempty"`
	}{n.ID, n.Host, n.User, n.Port, n.IdentityFile, n.DockerURL, n.Labels})
}

// asLines is a value as lines of YAML.
func asLines(v any) (string, error) {
	var b strings.Builder
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	e.CompactSeqIndent()
	err := errors.Join(e.Encode(v), e.Close())
	return b.String(), err
}

// listLines is where the items of a list are in a file.
type listLines struct {
	top    int // line of its key
	indent string
	items  []span
}

// span is lines from start up to end.
type span struct{ start, end int }

var itemLine = regexp.MustCompile(`^( *)- `)

// hasKey reports whether a file has a key at its top.
func hasKey(lines []string, key string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, key+":") })
}

// findList finds the list under a key at the top, if it is written with an item a line.
func findList(lines []string, key string) (found listLines, err error) {
	line := regexp.MustCompile(`^` + key + `:\s*(#.*)?$`)
	top := slices.IndexFunc(lines, func(l string) bool { return line.MatchString(strings.TrimRight(l, "\r\n")) })
	if top < 0 {
		return found, fmt.Errorf("it has no list of %s with one item a line: edit it by hand", key)
	}
	found.top = top
	for i := top + 1; i < len(lines); i++ {
		text := strings.TrimSpace(lines[i])
		if text == "" || strings.HasPrefix(text, "#") {
			continue // belongs to an item only if more of it follows
		}
		indent := lines[i][:len(lines[i])-len(strings.TrimLeft(lines[i], " "))]
		m := itemLine.FindStringSubmatch(lines[i])
		switch {
		case len(found.items) == 0 && m == nil:
			return found, fmt.Errorf("its list of %s is not written with one item a line: edit it by hand", key)
		case m != nil && (len(found.items) == 0 || indent == found.indent):
			found.indent = indent
			found.items = append(found.items, span{i, i + 1})
		case len(indent) > len(found.indent):
			found.items[len(found.items)-1].end = i + 1
		default:
			return found, nil
		}
	}
	return found, nil
}
