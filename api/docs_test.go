package api

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

//go:generate go test -run Current$ . -update

var update = flag.Bool("update", false, "write docs/api.md")

// TestDocsAreCurrent makes the page of all that the API does from the routes themselves.
func TestDocsAreCurrent(t *testing.T) {
	const page = "../docs/api.md"
	var b strings.Builder
	b.WriteString(`# The API

Generated from ` + "`api/route.go`" + `. HTTP with JSON: over the socket ` + "`.otto/control.sock`" + ` for who owns it, who may
everything, and on request to other machines ([remote.md](remote.md)) for who has a token of the role named here, or of one
that includes it: *operate* includes *look*; *owner* is nobody on another machine. The types are those of the Go package at
the root of this repository, with their documentation; [json.md](json.md) has the fields of what commands print.
[openapi.json](../api/openapi.json) has all of it as OpenAPI 3.1; a control plane serves the one of its build.

An error is a status of 400 or above and lines of text. ` + "`Authorization: Bearer SECRET`" + ` brings the token,
` + "`Otto-By`" + ` names who asks over the socket.

| | role | what it does |
|---|---|---|
`)
	for _, r := range NewServer(newPlane(), newPlane(), "", nil).routes() {
		does := r.does
		for _, p := range r.query {
			does += fmt.Sprintf("; `%s`: %s", p.name, p.does)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.pattern, r.role, does)
	}
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil || string(have) != b.String() {
		t.Errorf("%s is not current: run make docs (%v)", page, err)
	}
}
