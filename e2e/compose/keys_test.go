package compose

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	composespec "github.com/compose-spec/compose-go/v2/schema"
	"go.yaml.in/yaml/v4"

	"github.com/otto-edge/otto/config"
)

// Forms of a value.
const (
	aMapping = "a mapping"
	aList    = "a list"
	aWord    = "one value"
	nothing  = "nothing"
)

// TestEveryKeyAndFormIsCompared: all that Otto accepts of the specification occurs in a case,
// in each form that its schema knows. How images are built is compared in package config, by
// TestBuildsAreThoseOfCompose.
func TestEveryKeyAndFormIsCompared(t *testing.T) {
	var root node
	if err := json.Unmarshal([]byte(composespec.Schema), &root); err != nil {
		t.Fatal(err)
	}
	occur := map[string][]string{} // forms by path
	files, _ := filepath.Glob("testdata/cases/*/*.yaml")
	inner, _ := filepath.Glob("testdata/cases/*/*/*.yaml")
	for _, path := range append(files, inner...) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var doc yaml.Node
		if err := yaml.Unmarshal(data, &doc); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		collect(nil, doc.Content[0], occur)
	}
	found := func(pattern, form string) bool {
		for path, forms := range occur {
			if samePath(strings.Split(pattern, "."), strings.Split(path, "\n")) && (form == "" || slices.Contains(forms, form)) {
				return true
			}
		}
		return false
	}
	fates := map[string]string{}
	for _, k := range config.ComposeKeys() {
		fates[k.Path] = k.Does
	}
	for _, p := range composespec.AttributePaths() {
		key := string(p)
		parts := strings.Split(key, ".")
		refused := strings.HasPrefix(key, "services.*.develop.") || // which is for people at work on an image
			key == "services.*.build" || strings.HasPrefix(key, "services.*.build.") // it makes an image, and nothing of this
		for i := range parts { // a key that is not listed has the fate of the one above it
			refused = refused || fates[strings.Join(parts[:i+1], ".")] == config.KeyRefuses
		}
		if refused {
			continue
		}
		if !found(key, "") {
			t.Errorf("%s is in no case", key)
			continue
		}
		for _, path := range []string{key, key + ".[]"} {
			for _, form := range root.at(root, strings.Split(path, ".")).forms(root) {
				if crashes := path == "services.*.pid" && form == nothing; !found(path, form) && !crashes { // Compose itself
					t.Errorf("%s is %s in no case", path, form)
				}
			}
		}
	}
}

// collect notes the forms of all that is in a file, by path.
func collect(path []string, n *yaml.Node, into map[string][]string) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	form := aWord
	switch {
	case n.Kind == yaml.MappingNode:
		form = aMapping
		for i := 0; i+1 < len(n.Content); i += 2 {
			collect(append(slices.Clone(path), n.Content[i].Value), n.Content[i+1], into)
		}
	case n.Kind == yaml.SequenceNode:
		form = aList
		for _, item := range n.Content {
			collect(append(slices.Clone(path), "[]"), item, into)
		}
	case n.Tag == "!!null":
		form = nothing
	}
	at := strings.Join(path, "\n")
	into[at] = append(into[at], form)
}

func samePath(pattern, path []string) bool {
	return slices.EqualFunc(pattern, path, func(want, got string) bool { return want == got || want == "*" && got != "[]" })
}

// node is a part of a JSON schema.
type node struct {
	Ref        string          `json:"$ref"`
	Type       any             `json:"type"`
	Properties map[string]node `json:"properties"`
	Patterns   map[string]node `json:"patternProperties"`
	Items      *node           `json:"items"`
	OneOf      []node          `json:"oneOf"`
	AllOf      []node          `json:"allOf"`
	Defs       map[string]node `json:"$defs"`
}

// options are a node itself, and all that it may as well be.
func (n node) options(root node) []node {
	all := []node{n}
	if n.Ref != "" {
		all = append(all, root.Defs[strings.TrimPrefix(n.Ref, "#/$defs/")].options(root)...)
	}
	for _, o := range append(slices.Clone(n.OneOf), n.AllOf...) {
		all = append(all, o.options(root)...)
	}
	return all
}

// at is what is allowed at a path.
func (n node) at(root node, path []string) node {
	if len(path) == 0 {
		return n
	}
	for _, o := range n.options(root) {
		var inner []node
		switch path[0] {
		case "[]":
			if o.Items != nil {
				inner = append(inner, *o.Items)
			}
		case "*":
			for pattern, of := range o.Patterns {
				if !strings.HasPrefix(pattern, "^x-") {
					inner = append(inner, of)
				}
			}
		default:
			if of, ok := o.Properties[path[0]]; ok {
				inner = append(inner, of)
			}
		}
		for _, of := range inner {
			if found := of.at(root, path[1:]); len(found.options(root)) > 1 || found.Type != nil {
				return found
			}
		}
	}
	return node{}
}

// forms are those that the values of a node may have.
func (n node) forms(root node) (forms []string) {
	for _, o := range n.options(root) {
		types, _ := o.Type.([]any)
		if one, ok := o.Type.(string); ok {
			types = []any{one}
		}
		for _, typ := range types {
			form := aWord
			switch typ {
			case "object":
				form = aMapping
			case "array":
				form = aList
			case "null":
				form = nothing
			}
			if !slices.Contains(forms, form) {
				forms = append(forms, form)
			}
		}
	}
	return forms
}
