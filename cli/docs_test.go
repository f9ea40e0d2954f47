package cli

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra/doc"
)

var update = flag.Bool("update", false, "write docs/cli and docs/access.md")

func TestDocsAreCurrent(t *testing.T) {
	const committed = "../docs/cli"
	root := newRoot(&app{in: strings.NewReader(""), out: io.Discard, err: io.Discard})
	root.DisableAutoGenTag = true
	fresh := t.TempDir()
	if *update {
		fresh = committed
		if err := os.MkdirAll(fresh, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := doc.GenMarkdownTree(root, fresh); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(contents(t, committed), contents(t, fresh)); diff != "" {
		t.Errorf("docs/cli is stale, run make docs: %s", diff)
	}
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	files, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(f)] = string(b)
	}
	if len(all) == 0 {
		t.Fatalf("no docs in %s", dir)
	}
	return all
}
