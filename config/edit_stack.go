package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"go.yaml.in/yaml/v4"
)

// Stack is an entry under stacks.
type Stack struct {
	Name    string
	Compose []string // as they are to stand in the file
	Node    string
}

// StackThereError says that a stack of this name is there, from other files.
type StackThereError struct {
	Name    string
	Line    int
	Compose []string
}

// Error implements error.
func (e StackThereError) Error() string {
	return fmt.Sprintf("stack %s is here already, in line %d, from %s: give this one another name with --stack, or change that line",
		e.Name, e.Line, strings.Join(e.Compose, ", "))
}

// AddStack returns the content of an otto.yaml with one more stack. All lines that are
// there stay as they are. If it is there already, and means the same files, nothing
// changes.
func AddStack(data []byte, s Stack) ([]byte, error) {
	e, err := newEdit(data)
	if err == nil {
		if there, of := e.stack(s.Name); there != nil {
			return data, s.agrees(of, there.Line)
		}
		err = e.addStack(s)
	}
	if err == nil {
		data, err = e.done()
	}
	if err != nil {
		return nil, byHand(err, "write %s into its list of stacks", asWords(s.item()))
	}
	return data, nil
}

// agrees reports whether a stack that is there already, at a line, is the one that is to be added.
func (s Stack) agrees(there Stack, line int) error {
	home := "no node"
	if there.Node != "" {
		home = "node: " + there.Node
	}
	switch {
	case !slices.Equal(there.Compose, s.Compose):
		return StackThereError{s.Name, line, there.Compose}
	case s.Node != "" && s.Node != there.Node:
		return fmt.Errorf(
			"stack %s is here already, in line %d, with %s: to move it, write `node: %s` there; else leave --node out",
			s.Name, line, home, s.Node)
	}
	return nil
}

// addStack adds to the list of stacks, or begins one at the end of the file.
func (e *edit) addStack(s Stack) error {
	if find(e.root, "stacks") > 0 {
		l, err := e.list("stacks")
		if err != nil {
			return err
		}
		return l.add(s.item())
	}

	lines, err := asLines(s.item())
	if err != nil {
		return err
	}
	margin := strings.Repeat(" ", max(e.root.Column-1, 0))
	e.insertLines(len(e.starts), margin+"stacks:\n"+indented(margin+"  - ", lines))

	key, list, item := &yaml.Node{}, &yaml.Node{Kind: yaml.SequenceNode}, &yaml.Node{}
	key.SetString("stacks")
	if err := item.Encode(s.item()); err != nil {
		return err
	}
	list.Content = []*yaml.Node{item}
	e.root.Content = append(e.root.Content, key, list)
	return nil
}

// RemoveStack returns the content of an otto.yaml without a stack. All other lines stay
// as they are.
func RemoveStack(data []byte, name string) ([]byte, error) {
	out, err := changed(data, func(e *edit) error {
		l, err := e.list("stacks")
		if err != nil {
			return err
		}
		i := named(l.node, "name", name)
		if i < 0 {
			return fmt.Errorf("its stacks have no %s", name)
		}
		l.remove(i, true)
		return nil
	})
	if err != nil {
		return nil, byHand(err, "take stack %s out of it", name)
	}
	return out, nil
}

// stack finds a stack, nil if there is none of that name.
func (e *edit) stack(name string) (at *yaml.Node, of Stack) {
	list := valueOf(e.root, "stacks")
	if list == nil || list.Kind != yaml.SequenceNode {
		return nil, of
	}
	i := named(list, "name", name)
	if i < 0 {
		return nil, of
	}
	var entry struct {
		Compose any
		Node    string
	}
	if at = list.Content[i]; at.Decode(&entry) != nil {
		return nil, of
	}
	of = Stack{Name: name, Node: entry.Node}
	switch c := entry.Compose.(type) {
	case string:
		of.Compose = []string{c}
	case []any:
		for _, file := range c {
			of.Compose = append(of.Compose, fmt.Sprint(file))
		}
	}
	return at, of
}

// item is a stack as it is written in a list.
func (s Stack) item() any {
	var compose any = s.Compose
	if len(s.Compose) == 1 {
		compose = s.Compose[0]
	}
	return struct {
		Name    string `yaml:"name"`
		Compose any    `yaml:"compose"`
		Node    string `yaml:"node,omitempty"`
	}{s.Name, compose, s.Node}
}

// FindCompose reports whether there are Compose files where a stack is to have them: a
// folder may have none.
func FindCompose(compose []string, shell func(string) (string, bool)) error {
	if _, problem := composeFiles(compose, shell); problem != nil {
		return fmt.Errorf("%s: %s", problem.What, problem.Try)
	}
	return nil
}

// StackName is the name that Compose gives a project: COMPOSE_PROJECT_NAME of the shell or of
// .env, or name in its files, the last one first, or that of its folder.
func StackName(compose []string, shell func(string) (string, bool)) string {
	files, problem := composeFiles(compose, shell)
	if problem != nil {
		files = compose
	}
	vars := variablesBeside(filepath.Dir(files[0]), shell)
	if name, ok := vars.env("COMPOSE_PROJECT_NAME"); ok && name != "" {
		return loader.NormalizeProjectName(name)
	}
	for _, f := range slices.Backward(files) {
		var top struct{ Name string }
		if data, err := os.ReadFile(f); err == nil && yaml.Unmarshal(data, &top) == nil && top.Name != "" {
			if name, ok := vars.substitute(pos{}, top.Name); ok && name != "" {
				return loader.NormalizeProjectName(name)
			}
		}
	}
	path, err := filepath.Abs(files[0])
	if err != nil {
		return ""
	}
	return loader.NormalizeProjectName(filepath.Base(filepath.Dir(path)))
}

// FindStack returns a stack of an otto.yaml with its Compose files as that names them; false
// if it has none of that name.
func FindStack(data []byte, name string) (Stack, bool) {
	e, err := newEdit(data)
	if err != nil {
		return Stack{}, false
	}
	at, of := e.stack(name)
	return of, at != nil
}

// ComposeFiles are the files of a stack of an otto.yaml in dir: those that are named, or those
// that Compose finds in a folder.
func ComposeFiles(dir string, compose []string, shell func(string) (string, bool)) ([]string, error) {
	var named []string
	for _, f := range compose {
		if !filepath.IsAbs(f) {
			f = filepath.Join(dir, f)
		}
		named = append(named, f)
	}
	files, problem := composeFiles(named, shell)
	if problem != nil {
		return nil, fmt.Errorf("%s: %s", problem.What, problem.Try)
	}
	return files, nil
}
