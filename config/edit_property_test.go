package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"github.com/otto-edge/otto"
)

// change is an edit, and what it is to make of the document that the file means. It may change as
// many lines as it says; no other one.
type change struct {
	name       string
	edit       func([]byte) ([]byte, error)
	want       func(map[string]any)
	gone, more bool // whether lines may be missing, or be there, afterwards
}

func without(top map[string]any, key, id, name string) {
	list, _ := top[key].([]any)
	list = slices.DeleteFunc(slices.Clone(list), func(v any) bool {
		item, ok := v.(map[string]any)
		return ok && item[id] == name
	})
	if top[key] = list; len(list) == 0 {
		top[key] = nil
	}
}

func entryOf(top map[string]any, key, id, name string) map[string]any {
	switch all := top[key].(type) {
	case map[string]any:
		item, _ := all[name].(map[string]any)
		return item
	case []any:
		for _, v := range all {
			if item, ok := v.(map[string]any); ok && item[id] == name {
				return item
			}
		}
	}
	return nil
}

func addNode(id string) change {
	return change{
		"add node " + id,
		func(b []byte) ([]byte, error) { return AddNode(b, otto.Node{ID: id, Host: "192.0.2.9", User: "pi"}) },
		func(top map[string]any) {
			list, _ := top["nodes"].([]any)
			top["nodes"] = append(slices.Clone(list), map[string]any{"id": id, "host": "192.0.2.9", "user": "pi"})
		}, false, true,
	}
}

func removeNode(id string) change {
	return change{
		"remove node " + id,
		func(b []byte) ([]byte, error) { return RemoveNode(b, id) },
		func(top map[string]any) { without(top, "nodes", "id", id) }, true, false,
	}
}

func addStack(name string) change {
	return change{
		"add stack " + name,
		func(b []byte) ([]byte, error) { return AddStack(b, Stack{name, []string{"a.yaml", "b.yaml"}, "pi"}) },
		func(top map[string]any) {
			list, _ := top["stacks"].([]any)
			if entryOf(top, "stacks", "name", name) == nil {
				top["stacks"] = append(slices.Clone(list),
					map[string]any{"name": name, "compose": []any{"a.yaml", "b.yaml"}, "node": "pi"})
			}
		}, false, true,
	}
}

func removeStack(name string) change {
	return change{
		"remove stack " + name,
		func(b []byte) ([]byte, error) { return RemoveStack(b, name) },
		func(top map[string]any) {
			if without(top, "stacks", "name", name); top["stacks"] == nil {
				delete(top, "stacks")
			}
		}, true, false,
	}
}

func setReplicas(service string) change {
	return change{
		"replicas of " + service,
		func(b []byte) ([]byte, error) { return SetReplicas(b, service, 5) },
		func(top map[string]any) {
			item := entryOf(top, "services", "name", service)
			deploy, _ := item["deploy"].(map[string]any)
			switch {
			case item["replicas"] != nil || item["scale"] == nil && deploy["replicas"] == nil:
				item["replicas"] = 5
			case item["scale"] != nil:
				item["scale"] = 5
			default:
				deploy["replicas"] = 5
			}
		}, false, true,
	}
}

func removeService(service string) change {
	return change{
		"remove service " + service,
		func(b []byte) ([]byte, error) { return RemoveService(b, service) },
		func(top map[string]any) {
			if all, ok := top["services"].(map[string]any); ok {
				if delete(all, service); len(all) == 0 {
					top["services"] = nil
				}
				return
			}
			without(top, "services", "name", service)
		}, true, false,
	}
}

// check makes the change to a file. If that succeeds the file must mean just what is wanted, and no
// other line may have changed.
func (c change) check(t interface{ Fatalf(string, ...any) }, file []byte) (out []byte, err error) {
	before := bytes.Clone(file)
	out, err = c.edit(file)
	if !bytes.Equal(file, before) {
		t.Fatalf("%s: the file was changed in place", c.name)
	}
	if err != nil {
		return nil, err
	}
	wanted, got := map[string]any{}, map[string]any{}
	if err := yaml.Unmarshal(before, &wanted); err != nil {
		return out, nil //nolint:nilerr // such as keys that are there twice: what it means is not known
	}
	if err := yaml.Unmarshal(out, &got); err != nil {
		t.Fatalf("%s: %v\n%s\nfrom\n%s", c.name, err, out, before)
	}
	if wanted == nil {
		wanted = map[string]any{} // the file held nothing
	}
	c.want(wanted)
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Fatalf("%s: -want +got\n%s\nfrom\n%s\nto\n%s", c.name, diff, before, out)
	}

	text, marked := strings.CutPrefix(string(out), "\ufeff")
	if marked != bytes.HasPrefix(before, []byte("\ufeff")) {
		t.Fatalf("%s: the byte order mark has changed in\n%s", c.name, before)
	}
	was := slices.Collect(strings.Lines(strings.TrimPrefix(string(before), "\ufeff")))
	is := slices.Collect(strings.Lines(text))
	for len(was) > 0 && len(is) > 0 && was[0] == is[0] {
		was, is = was[1:], is[1:]
	}
	for len(was) > 0 && len(is) > 0 && was[len(was)-1] == is[len(is)-1] {
		was, is = was[:len(was)-1], is[:len(is)-1]
	}
	// A number may change in its line, and a last line may get its end.
	if !c.gone && len(was) > 1 || !c.more && len(is) > 0 {
		t.Fatalf("%s: changed %q to %q in\n%s", c.name, was, is, before)
	}
	return out, nil
}

// drawFile draws a file as people write them.
func drawFile(t *rapid.T) (file string, nodes, services, stacks []string) {
	flip := func(what string) bool { return rapid.Bool().Draw(t, what) }
	some := func(what string, list ...string) string { return rapid.SampledFrom(list).Draw(t, what) }
	names := func(what string, least int) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b1", "c-d", "e_f"}), least, 3, rapid.ID).Draw(t, what)
	}
	filler := func() string {
		return some("between", "", "", "", "\n", "# keep\n", "\n # keep: é 字\n\n", "  # keep\n")
	}
	quoted := func(text string) string { return some("quotes", text, text, `"`+text+`"`, "'"+text+"'") }
	number := func() string { return some("number", "2", "0", `"3"`, "'3'", "12 # inside") }

	// keys are those of an item in lines, of any kind of value.
	keys := func(first string) (list []string) {
		list = append(list, first+some("rest of it", "", "", " # inside"))
		for _, k := range rapid.SliceOfNDistinct(rapid.IntRange(0, 7), 0, 4, rapid.ID).Draw(t, "keys") {
			list = append(list, [...]string{
				"labels: {zone: home, x: [1, 2]}",
				"image: nginx # inside",
				"command:\n  - a\n  # inside\n  - 'b # c'",
				"note: |\n  # text\n\n  - name: a\n  text",
				"fold: >-\n  # text\n  more",
				"long: first\n  second",
				"double: \"é字 \\\"# x\n\n  # text\"",
				"deploy: {replicas: 7}",
			}[k])
		}
		return list
	}
	item := func(key, name string, dash int, replicas string) string {
		gap := some("gap", " ", " ", "   ")
		if flip("in one line") {
			line := "{" + key + ": " + quoted(name) + ", host: 'x, {y}'"
			if replicas != "" {
				line += ", " + strings.TrimSuffix(replicas, " # inside")
			}
			return strings.Repeat(" ", dash) + "-" + gap + line + "}" + some("rest", "", " # inside") + "\n"
		}
		list := keys(key + ": " + quoted(name))
		if replicas != "" {
			list = append(list, replicas)
		}
		if i := rapid.IntRange(0, len(list)-1).Draw(t, "place of its name"); !strings.Contains(list[i], "\n") {
			list[0], list[i] = list[i], list[0]
		}
		return indented(strings.Repeat(" ", dash)+"-"+gap, strings.Join(list, "\n"))
	}
	list := func(key, id string, names []string, extra func() string) string {
		dash := rapid.SampledFrom([]int{0, 2, 4}).Draw(t, "indentation")
		text := key + ":" + some("rest of key", "", " # keep") + "\n"
		for _, n := range names {
			text += filler() + item(id, n, dash, extra())
		}
		return text
	}
	withNumber := func() string {
		if r := some("replicas", "", "", "replicas: ", "scale: "); r != "" {
			return r + number()
		}
		return ""
	}

	nodes, services, stacks = names("nodes", 1), names("services", 1), names("stacks", 0)
	parts := []string{"cluster: {name: home} # keep\n", list("nodes", "id", nodes, func() string { return "" })}
	if flip("mapping") {
		text, margin := "services:\n", some("margin", "  ", "    ")
		for _, n := range services {
			text += filler()
			if flip("in one line") {
				text += margin + quoted(n) + ": {image: x" + some("more", "", ", labels: {a: b}") + "}\n"
				continue
			}
			list := keys("image: x1")
			list = slices.DeleteFunc(list, func(k string) bool { return strings.HasPrefix(k, "image: n") })
			if r := withNumber(); r != "" {
				list = append(list, r)
			}
			inner := margin + some("inner", "  ", "   ")
			text += margin + quoted(n) + ":" + some("rest of key", "", " # inside") + "\n"
			text += indented(inner, strings.Join(list, "\n"))
		}
		parts = append(parts, text)
	} else {
		parts = append(parts, list("services", "name", services, withNumber))
	}
	if len(stacks) > 0 {
		text := list("stacks", "name", stacks, func() string { return "compose: x/y.yaml" })
		parts = append(parts, strings.ReplaceAll(text, "# keep", "# inside")) // the last one takes its key with it
	}
	parts = rapid.Permutation(parts).Draw(t, "order")
	text := some("head", "", "# keep\n", "---\n") + strings.Join(parts, filler()) + filler()
	if short := strings.TrimRight(text, "\n"); flip("no end") && !strings.HasSuffix(short, "text") {
		text = short // of a block of text it would be another text
	}
	if flip("CRLF") {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	return some("mark", "", "", "\ufeff") + text, nodes, services, stacks
}

func TestAnEditChangesWhatIsWantedAndNoOtherLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		file, nodes, services, stacks := drawFile(t)
		all := []change{addNode("new"), addStack("new")}
		for _, n := range nodes {
			all = append(all, removeNode(n))
		}
		for _, s := range services {
			all = append(all, setReplicas(s), removeService(s))
		}
		for _, s := range stacks {
			all = append(all, removeStack(s))
		}
		c := rapid.SampledFrom(all).Draw(t, "change")
		out, err := c.check(t, []byte(file))
		if err != nil {
			t.Fatalf("%s: %v\n%s", c.name, err, file)
		}
		if was, is := strings.Count(file, "# keep"), strings.Count(string(out), "# keep"); was != is {
			t.Fatalf("%s: %d comments, were %d\n%s\nfrom\n%s", c.name, is, was, out, file)
		}
		lf := strings.Count(string(out), "\n") - strings.Count(string(out), "\r\n")
		if strings.Contains(file, "\r\n") && lf > 0 {
			t.Fatalf("%s: %d lines end another way\n%q", c.name, lf, out)
		}
	})
}

func FuzzEdit(f *testing.F) {
	for i, file := range []string{
		listed, mapped, edited, "services:\n- name: a\n\t- b\n -", "\ufeffnodes:\r\n  -\r\n    id: a\r\n  - &x {id: b}\r\n",
		"stacks:\n  - name: a\n    compose: |+\n      x\n\n\nname: x\n...\n", "services:\n  a: &a {x: 1}\n  b: {<<: *a}\n",
		"nodes:\n  - {id: a}\n  - \"x\n # y\"\n", "  nodes:\n  - id: &a a\n  -  \n  - id: *a\n",
		"services: {\"a\": {replicas: 1}, 'b': {deploy: {replicas: '2'}}}", "? nodes\n: - id: a\n  - ! id: b\n",
	} {
		f.Add([]byte(file), []string{"a", "web", "db"}[i%3])
	}
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		var plain any
		if yaml.Unmarshal([]byte(name), &plain) != nil || plain != any(name) {
			return // such as 007, which the model would take for a number
		}
		for _, c := range []change{
			addNode(name), removeNode(name), addStack(name), removeStack(name), setReplicas(name), removeService(name),
		} {
			if _, err := c.check(t, data); err != nil && !strings.Contains(name, "\n") && strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %s", c.name, fmt.Sprint(err))
			}
		}
	})
}
