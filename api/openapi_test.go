package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/invopop/jsonschema"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	validation "github.com/pb33f/libopenapi-validator/errors"

	"github.com/otto-edge/otto"
)

// describer makes schemas of types, with their comments.
func describer(t testing.TB) *jsonschema.Reflector {
	t.Helper()
	r := &jsonschema.Reflector{
		Anonymous: true, AllowAdditionalProperties: true,
		Mapper: func(of reflect.Type) *jsonschema.Schema {
			switch of {
			case reflect.TypeFor[time.Duration]():
				return &jsonschema.Schema{Type: "integer", Description: "nanoseconds"}
			case reflect.TypeFor[otto.Secret]():
				return &jsonschema.Schema{Type: "string"}
			}
			return nil
		},
		Namer: func(of reflect.Type) string {
			name := pageName.ReplaceAllString(of.Name(), "${1}Page")
			pkg := of.PkgPath()[strings.LastIndex(of.PkgPath(), "/")+1:]
			switch {
			case name == "" || pkg == "":
				return name
			case pkg == "otto" || pkg == "api":
				return upper(name)
			}
			return upper(pkg) + upper(name)
		},
	}
	t.Chdir("..") // the paths of the files are those of their packages
	for _, dir := range []string{".", "api", "logs", "shell"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if err := r.AddGoComments("github.com/otto-edge/otto", file, jsonschema.WithFullComment()); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Chdir("api")
	return r
}

// pageName is how reflection names a page.
var pageName = regexp.MustCompile(`^page\[.*\.(\w+)\]$`)

func upper(name string) string { return strings.ToUpper(name[:1]) + name[1:] }

// document is the OpenAPI document of all routes.
func document(t testing.TB) []byte {
	t.Helper()
	r, types := describer(t), map[string]any{}
	schema := func(v any) any {
		if _, isBytes := v.([]byte); isBytes {
			return map[string]any{"type": "string", "format": "binary"}
		}
		s := r.Reflect(v)
		s.Version = ""
		for name, d := range s.Definitions {
			types[name] = nullable(d)
		}
		s.Definitions = nil
		return s
	}
	content := func(f form, v any) any {
		return map[string]any{string(f): map[string]any{"schema": schema(v)}}
	}
	paths := map[string]map[string]any{}
	for _, route := range NewServer(newPlane(), newPlane(), "", nil).routes() {
		method, path, _ := strings.Cut(route.pattern, " ")
		op := map[string]any{
			"summary": route.does, "operationId": operation(method, path),
			"security": []any{map[string]any{"token": []string{string(route.role)}}},
		}
		var params []any
		for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
			params = append(params, map[string]any{
				"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"},
			})
		}
		for _, p := range route.query {
			param := map[string]any{
				"name": p.name, "in": "query", "description": p.does, "schema": map[string]any{"type": "string"},
			}
			if p.flag {
				param["allowEmptyValue"] = true
			}
			params = append(params, param)
		}
		if params != nil {
			op["parameters"] = params
		}
		if route.asks != nil {
			f := formJSON
			if _, isBytes := route.asks.([]byte); isBytes {
				f = formBytes
			}
			op["requestBody"] = map[string]any{"required": true, "content": content(f, route.asks)}
		}
		status, good := "200", map[string]any{"description": "done"}
		switch {
		case route.form == formFrames:
			status, good = "101", map[string]any{"description": "the connection is frames from then on"}
		case route.answers != nil:
			good["content"] = content(cmp.Or(route.form, formJSON), route.answers)
		}
		op["responses"] = map[string]any{status: good, "default": map[string]any{
			"description": "what is wrong, and what to try",
			"content":     map[string]any{"text/plain": map[string]any{"schema": map[string]any{"type": "string"}}},
		}}
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		paths[path][strings.ToLower(method)] = op
	}
	b, err := json.MarshalIndent(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "Otto", "version": "v1",
			"description": "The control plane of an Otto cluster. See docs/remote.md for how to reach it and with which token.",
			"license":     map[string]any{"name": "MIT", "identifier": "MIT"},
		},
		"servers": []any{map[string]any{
			"url":       "https://{host}:{port}",
			"variables": map[string]any{"host": map[string]any{"default": "localhost"}, "port": map[string]any{"default": "7443"}},
		}},
		"paths": paths,
		"components": map[string]any{
			"schemas":         types,
			"securitySchemes": map[string]any{"token": map[string]any{"type": "http", "scheme": "bearer"}},
		},
	}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(bytes.ReplaceAll(b, []byte("#/$defs/"), []byte("#/components/schemas/")), '\n')
}

// nullable says that lists and maps that are always there are null if they are empty: so Go
// writes them.
func nullable(s *jsonschema.Schema) *jsonschema.Schema {
	for _, name := range s.Required {
		p, ok := s.Properties.Get(name)
		if ok && (p.Type == "array" || p.AdditionalProperties != nil) {
			of := *p
			*p = jsonschema.Schema{AnyOf: []*jsonschema.Schema{&of, {Type: "null"}}, Description: p.Description}
			of.Description = ""
		}
	}
	return s
}

// operation is a name for a method of a path, such as postServicesIdMove.
func operation(method, path string) string {
	name := strings.ToLower(method)
	for _, word := range regexp.MustCompile(`\w+`).FindAllString(strings.TrimPrefix(path, "/v1"), -1) {
		name += upper(word)
	}
	return name
}

// TestOpenAPIIsCurrent makes the document from the routes and the types.
func TestOpenAPIIsCurrent(t *testing.T) {
	const file = "openapi.json"
	want := document(t)
	if *update {
		if err := os.WriteFile(file, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(file); err != nil || !bytes.Equal(have, want) {
		t.Errorf("%s is not current: run make docs (%v)", file, err)
	}
}

// TestOpenAPIIsValid holds the document to the schema of OpenAPI 3.1, and what the API
// answers to the document.
func TestOpenAPIIsValid(t *testing.T) {
	doc, err := libopenapi.NewDocument(document(t))
	if err != nil {
		t.Fatal(err)
	}
	valid, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, errs := valid.ValidateDocument(); !ok {
		t.Fatal(described(errs))
	}
	p := newPlane()
	p.become(populated())
	p.events = []otto.Event{{Seq: 1, Time: time.Unix(1, 0), Kind: "node-ready", Node: "n1", Message: "ready"}}
	c, _ := serve(t, p)
	for _, path := range []string{
		"/v1/cluster", "/v1/nodes?limit=1", "/v1/services?stack=home", "/v1/services/web/explanation",
		"/v1/nodes/n1/explanation", "/v1/process", "/v1/nodes?limit=none", "/v1/openapi.json",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer none") // over the socket nobody asks for it
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if ok, errs := valid.ValidateHttpRequestResponse(req, resp); !ok {
			t.Errorf("%s: %s", path, described(errs))
		}
		resp.Body.Close()
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.base+"/v1/cluster", nil)
	if err != nil {
		t.Fatal(err)
	}
	wrong := &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {string(formJSON)}},
		Body: io.NopCloser(strings.NewReader(`{"name":1}`)),
	}
	if ok, _ := valid.ValidateHttpResponse(req, wrong); ok {
		t.Error("a wrong answer is taken for right")
	}
}

func described(errs []*validation.ValidationError) string {
	var b strings.Builder
	for _, e := range errs {
		fmt.Fprintf(&b, "%s: %s\n", e.Message, e.Reason)
		for _, s := range e.SchemaValidationErrors {
			fmt.Fprintf(&b, "  %s: %s\n", s.FieldPath, s.Reason)
		}
	}
	return b.String()
}

// populated is a view with something of each kind.
func populated() *otto.Cluster {
	return &otto.Cluster{
		Name: "home", Nodes: []otto.NodeStatus{{Node: otto.Node{ID: "n1"}, State: otto.NodeReady}},
		Services: []otto.ServiceStatus{{
			Service:   otto.Service{Name: "web", Spec: otto.ContainerSpec{Image: "web:1", Environment: map[string]string{"A": "1"}}},
			Instances: []otto.PlacedInstance{{Node: "n1", InstanceStatus: otto.InstanceStatus{Name: "web", State: otto.InstanceRunning}}},
		}},
	}
}
