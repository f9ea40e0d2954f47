package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/config"
)

// fromShell are the names of the variables that otto.yaml, under an empty name, and each stack
// took from the environment of who applied it last. Values are nowhere in it.
type fromShell map[string][]string

// ofShell are those that a file takes from the shell now.
func ofShell(f *config.File) fromShell {
	s := fromShell{}
	for _, v := range f.Variables {
		if v.From == config.FromShell {
			s[v.Stack] = append(s[v.Stack], v.Name)
		}
	}
	return s
}

// lostVariables warns of those that were in the shell at the last apply, that the file still
// asks for, and that are nowhere now.
func (d stateDir) lostVariables(f *config.File) (warnings []string) {
	var was fromShell
	if d.read(fileVariables, &was) != nil {
		return nil // the next apply writes it anew
	}
	lost := fromShell{}
	for _, v := range f.Variables {
		if v.From == config.Nowhere && slices.Contains(was[v.Stack], v.Name) {
			lost[v.Stack] = append(lost[v.Stack], v.Name)
		}
	}
	for _, stack := range slices.Sorted(maps.Keys(lost)) {
		warnings = append(warnings, fmt.Sprintf("%s took %s from the shell at the last apply, where it is not set any more: "+
			"set it, or write it into .env", called(stack), strings.Join(lost[stack], ", ")))
	}
	return warnings
}

// withVariables is a plan with notes of which variables come from the shell, and which have come
// from there.
func (d stateDir) withVariables(p otto.Plan, f *config.File) otto.Plan {
	now := ofShell(f)
	for _, stack := range slices.Sorted(maps.Keys(now)) {
		p.Notes = append(p.Notes, fmt.Sprintf("%s takes from the shell: %s", called(stack), strings.Join(now[stack], ", ")))
	}
	p.Notes = append(p.Notes, d.lostVariables(f)...)
	return p
}

// rememberVariables notes what a file that was applied took from the shell.
func (d stateDir) rememberVariables(f *config.File) error {
	var was fromShell
	now := ofShell(f)
	if err := d.read(fileVariables, &was); err == nil && maps.EqualFunc(was, now, slices.Equal[[]string]) {
		return nil
	}
	return d.write(fileVariables, now)
}

func called(stack string) string {
	if stack == "" {
		return "otto.yaml"
	}
	return "stack " + stack
}
