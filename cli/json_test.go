package cli

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/doctor"
	"github.com/otto-edge/otto/logs"
)

// TestEveryFieldOfTheJSONOutputIsDocumented walks the types that commands print.
func TestEveryFieldOfTheJSONOutputIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	paths := append(jsonPaths(reflect.TypeFor[otto.Cluster](), ""), jsonPaths(reflect.TypeFor[doctor.Finding](), "[].")...)
	paths = append(paths, jsonPaths(reflect.TypeFor[otto.Requirement](), "requirement.")...)
	paths = append(paths, jsonPaths(reflect.TypeFor[otto.Verdict](), "verdict.")...)
	paths = append(paths, jsonPaths(reflect.TypeFor[otto.Decision](), "decision.")...)
	paths = append(paths, jsonPaths(reflect.TypeFor[otto.Explanation](), "")...)
	paths = append(paths, jsonPaths(reflect.TypeFor[otto.Plan](), "plan.")...)
	paths = append(paths, jsonPaths(reflect.TypeFor[simulation](), "")...)
	paths = append(paths, jsonPaths(reflect.TypeFor[logs.Entry](), "entry.")...)
	paths = append(paths, jsonPaths(reflect.TypeFor[usedVolume](), "volume.")...)
	paths = append(paths, jsonPaths(reflect.TypeFor[otto.History](), "history.")...)
	paths = append(paths, jsonPaths(reflect.TypeFor[foundProject](), "project.")...)
	paths = append(paths, jsonPaths(reflect.TypeFor[takeover](), "takeover.")...)
	for _, path := range paths {
		if !strings.Contains(string(doc), "`"+path+"`") {
			t.Errorf("docs/json.md does not have `%s`", path)
		}
	}
	for line := range strings.Lines(string(doc)) {
		name, _, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "` |")
		if ok && strings.HasPrefix(line, "| `") && !contains(paths, name) {
			t.Errorf("docs/json.md has `%s`, which is not printed", name)
		}
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// jsonPaths are the fields of a type as JSON names them, [] for each element of
// a list. Requirements, verdicts and decisions, which stand in several places, have
// rows of their own.
func jsonPaths(of reflect.Type, prefix string) (paths []string) {
	for i := range of.NumField() {
		f := of.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() && !f.Anonymous {
			continue
		}
		if f.Anonymous && name == "" {
			paths = append(paths, jsonPaths(f.Type, prefix)...)
			continue
		}
		path, inner := prefix+name, f.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice && inner != reflect.TypeFor[[]byte]() {
			if inner.Kind() == reflect.Slice {
				path += "[]"
			}
			inner = inner.Elem()
		}
		paths = append(paths, path)
		if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[time.Time]() && inner != reflect.TypeFor[otto.Requirement]() && inner != reflect.TypeFor[otto.Verdict]() && inner != reflect.TypeFor[otto.Decision]() {
			paths = append(paths, jsonPaths(inner, path+".")...)
		}
	}
	return paths
}
