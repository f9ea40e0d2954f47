package plan

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// Diff returns what changes when now replaces was, nodes first, in the order of
// the file. No value of an environment, of a label or of a command is in it.
func Diff(was, now otto.Wanted) []otto.Change {
	changes := diff("node", was.Nodes, now.Nodes, func(n otto.Node) string { return n.ID }, nodeDetail)
	changes = append(
		changes,
		diff("service", was.Services, now.Services, func(s otto.Service) string { return s.Name }, serviceDetail)...)
	if was.Interval != now.Interval {
		changes = append(changes,
			otto.Change{Kind: "change", Noun: "metrics", Name: "interval", Detail: arrow(was.Interval, now.Interval)})
	}
	if !sameRequirements(was.Requirements, now.Requirements) {
		changes = append(changes, otto.Change{Kind: "change", Noun: "requirements", Name: "all"})
	}
	if !maps.Equal(was.Scheduler.Weights, now.Scheduler.Weights) {
		changes = append(changes, otto.Change{Kind: "change", Noun: "scheduler", Name: "weights"})
	}
	if d := fields(reflect.ValueOf(was.Decisions), reflect.ValueOf(now.Decisions)); d != "" {
		changes = append(changes, otto.Change{Kind: "change", Noun: "decisions", Name: "all", Detail: d})
	}
	if d := fields(reflect.ValueOf(was.Health), reflect.ValueOf(now.Health)); d != "" {
		changes = append(changes, otto.Change{Kind: "change", Noun: "health", Name: "nodes", Detail: d})
	}
	return changes
}

func diff[T any](noun string, was, now []T, name func(T) string, detail func(a, b T) string) []otto.Change {
	former := make(map[string]*T, len(was))
	for i := range was {
		former[name(was[i])] = &was[i]
	}
	var changes []otto.Change
	there := make(map[string]bool, len(now))
	for i := range now {
		n := &now[i]
		w := former[name(*n)]
		there[name(*n)] = true
		switch {
		case w == nil:
			changes = append(changes, otto.Change{Kind: "add", Noun: noun, Name: name(*n)})
		case reflect.DeepEqual(w, n): // as most of them
		default:
			if d := detail(*w, *n); d != "" {
				changes = append(changes, otto.Change{Kind: "change", Noun: noun, Name: name(*n), Detail: d})
			}
		}
	}
	for i := range was {
		if n := name(was[i]); !there[n] {
			changes = append(changes, otto.Change{Kind: "remove", Noun: noun, Name: n})
		}
	}
	return changes
}

func nodeDetail(a, b otto.Node) string { return fields(reflect.ValueOf(a), reflect.ValueOf(b)) }

func serviceDetail(a, b otto.Service) string {
	return fields(reflect.ValueOf(a), reflect.ValueOf(b))
}

// fields lists the fields that differ by their JSON names: short values with
// what they were and are; by name only the long ones, and those that people put secrets
// into: the environment, labels, and the words of a command.
func fields(a, b reflect.Value) string {
	var parts []string
	for i := range a.NumField() {
		fa, fb := a.Field(i), b.Field(i)
		_, place := fa.Interface().(map[string]otto.ImpliedVolume)
		_, seeds := fa.Interface().(otto.Seeds)
		if place || seeds && (empty(fa) || empty(fb)) || // a mount says the same
			reflect.DeepEqual(fa.Interface(), fb.Interface()) ||
			empty(fa) && empty(fb) {
			continue
		}
		if list, ok := fa.Interface().([]otto.Requirement); ok &&
			sameRequirements(list, fb.Interface().([]otto.Requirement)) {
			continue
		}
		name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
		name = strings.TrimSuffix(name, "_ns")
		switch {
		case name == "spec":
			parts = append(parts, fields(fa, fb))
		case name == "files":
			parts = append(parts, filesDetail(fa.Interface().([]otto.File), fb.Interface().([]otto.File)))
		case name == "secret_environment":
			parts = append(parts, variablesDetail(fa.Interface().(map[string]string), fb.Interface().(map[string]string)))
		case name == "mounts":
			parts = append(parts, mountsDetail(fa.Interface().([]otto.Mount), fb.Interface().([]otto.Mount)))
		case name == "seeds":
			parts = append(parts, "what its data begins with")
		case name == "environment",
			name == "labels",
			name == "command",
			name == "entrypoint",
			name == "healthcheck",
			name == "probe",
			name == "logging",
			name == "devices",
			name == "resources",
			name == "requirements",
			name == "depends_on",
			name == "placement",
			name == "reserve",
			name == "update":
			parts = append(parts, name)
		default:
			parts = append(parts, name+": "+arrow(fa.Interface(), fb.Interface()))
		}
	}
	return strings.Join(parts, ", ")
}

// sameRequirements compares all but the places in the file.
func sameRequirements(a, b []otto.Requirement) bool {
	return slices.EqualFunc(a, b, func(a, b otto.Requirement) bool {
		a.At, b.At = "", ""
		return reflect.DeepEqual(a, b)
	})
}

// empty reports whether v is nil or without elements, which mean the same.
func empty(v reflect.Value) bool {
	return (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0
}

func arrow(a, b any) string { return fmt.Sprintf("%s -> %s", show(a), show(b)) }

func show(v any) string {
	s := fmt.Sprint(v)
	if s == "" {
		return "none"
	}
	return s
}

// filesDetail says which secrets and configs differ, and not what is in them.
func filesDetail(a, b []otto.File) string {
	var parts []string
	find := func(list []otto.File, f otto.File) int {
		return slices.IndexFunc(list, func(o otto.File) bool { return o.Kind == f.Kind && o.Target == f.Target })
	}
	for _, f := range b {
		switch i := find(a, f); {
		case i < 0:
			parts = append(parts, f.String()+" added")
		case a[i] == f:
		case a[i].Content != f.Content:
			parts = append(parts, f.String()+" has changed")
		default:
			parts = append(parts, f.String()+" is mounted otherwise")
		}
	}
	for _, f := range a {
		if find(b, f) < 0 {
			parts = append(parts, f.String()+" removed")
		}
	}
	return strings.Join(parts, ", ")
}

// variablesDetail says which secret variables differ, and not their values.
func variablesDetail(a, b map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(b)) {
		switch was, there := a[name]; {
		case !there:
			parts = append(parts, "secret variable "+name+" added")
		case was != b[name]:
			parts = append(parts, "secret variable "+name+" has changed")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if _, there := b[name]; !there {
			parts = append(parts, "secret variable "+name+" removed")
		}
	}
	return strings.Join(parts, ", ")
}

// mountsDetail says which files of the project differ, and of all else that there are
// other mounts.
func mountsDetail(a, b []otto.Mount) string {
	var parts []string
	plain := func(m otto.Mount) otto.Mount {
		m.Content = ""
		return m
	}
	if !slices.EqualFunc(a, b, func(m, o otto.Mount) bool { return reflect.DeepEqual(plain(m), plain(o)) }) {
		return "mounts"
	}
	for i := range b {
		if part := "files " + b[i].Source + " have changed"; a[i].Content != b[i].Content && !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ", ")
}
