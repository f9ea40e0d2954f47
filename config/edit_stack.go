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
	lines := strings.SplitAfter(string(data), "\n")
	item, err := stackItem(s)
	if err != nil {
		return nil, err
	}
	if !hasKey(lines, "stacks") {
		text := string(data)
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		return []byte(
			text + "stacks:\n  - " + strings.ReplaceAll(strings.TrimSuffix(item, "\n"), "\n", "\n    ") + "\n",
		), nil
	}
	list, err := findList(lines, "stacks")
	if err != nil {
		return nil, err
	}
	if there, of := list.stack(lines, s.Name); there != nil {
		home := "no node"
		if of.Node != "" {
			home = "node: " + of.Node
		}
		switch {
		case !slices.Equal(of.Compose, s.Compose):
			return nil, StackThereError{s.Name, there.start + 1, of.Compose}
		case s.Node != "" && s.Node != of.Node:
			return nil, fmt.Errorf(
				"stack %s is here already, in line %d, with %s: to move it, write `node: %s` there; else leave --node out",
				s.Name,
				there.start+1,
				home,
				s.Node,
			)
		}
		return data, nil
	}
	if len(list.items) == 0 {
		return nil, fmt.Errorf("its list of stacks is empty: take the line `stacks:` out")
	}
	return list.add(lines, item), nil
}

// RemoveStack returns the content of an otto.yaml without a stack. All other lines stay
// as they are.
func RemoveStack(data []byte, name string) ([]byte, error) {
	lines := strings.SplitAfter(string(data), "\n")
	list, err := findList(lines, "stacks")
	if err != nil {
		return nil, err
	}
	item, _ := list.stack(lines, name)
	if item == nil {
		return nil, fmt.Errorf("its stacks have no %s with lines of its own: edit it by hand", name)
	}
	if len(list.items) == 1 { // nothing is left of the list
		item.start = list.top
	}
	return []byte(strings.Join(slices.Delete(lines, item.start, item.end), "")), nil
}

// stack finds a stack of a list, nil if it has none of that name.
func (list listLines) stack(lines []string, name string) (at *span, of Stack) {
	for _, i := range list.items {
		var items []struct {
			Name    string
			Compose any
			Node    string
		}
		if yaml.Unmarshal([]byte(strings.Join(lines[i.start:i.end], "")), &items) != nil || len(items) != 1 ||
			items[0].Name != name {
			continue
		}
		of = Stack{Name: name, Node: items[0].Node}
		switch c := items[0].Compose.(type) {
		case string:
			of.Compose = []string{c}
		case []any:
			for _, file := range c {
				of.Compose = append(of.Compose, fmt.Sprint(file))
			}
		}
		return &i, of
	}
	return nil, of
}

func stackItem(s Stack) (string, error) {
	var compose any = s.Compose
	if len(s.Compose) == 1 {
		compose = s.Compose[0]
	}
	return asLines(struct {
		Name    string `yaml:"name"`
		Compose any    `yaml:"compose"`
		Node    string `yaml:"node,omitempty"`
	}{s.Name, compose, s.Node})
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
// if it has none of that name with lines of its own.
func FindStack(data []byte, name string) (Stack, bool) {
	lines := strings.SplitAfter(string(data), "\n")
	list, err := findList(lines, "stacks")
	if err != nil {
		return Stack{}, false
	}
	at, of := list.stack(lines, name)
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
