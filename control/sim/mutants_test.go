package sim

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

var simMutants = flag.Bool("sim.mutants", false, "put bugs into the code, one at a time, and see that each is found")

// found is what a run prints that has found something: a promise that was broken.
var found = []string{
	"runs twice",
	"not whole",
	"nobody has asked for",
	"is not wanted",
	"is lost:",
	"has obeyed",
	"although its store has lost",
	"without a reason",
	"what happened explains",
	"and its data is on",
	"has not come to its end",
	"beyond the budget",
	"with other data than before",
	"touches what is another cluster's",
	"it runs on",
	"it was started",
}

// TestMutantsAreFound puts bugs into the code that it once had, or could have. A
// mutant is a file of testdata/mutants: why it is a bug, the file it is in, the
// words there and what replaces them, and perhaps the scenario that finds it, or, where no
// history does any more, the package and the test that do.
func TestMutantsAreFound(t *testing.T) {
	files, err := filepath.Glob("testdata/mutants/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatal("too few mutants", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			m, err := readMutant(file)
			if err != nil {
				t.Fatal(err) // the code has changed: so must the mutant
			}
			if !*simMutants {
				return
			}
			began := time.Now()
			out, err := m.run(t)
			var failed *exec.ExitError
			if !errors.As(err, &failed) {
				t.Fatalf("it lives: %v\n%s", err, tail(out))
			}
			for _, f := range m.finds() {
				if strings.Contains(out, f) {
					t.Logf("found after %s: %s", time.Since(began).Round(time.Second), f)
					return
				}
			}
			t.Errorf("it failed for another reason:\n%s", tail(out))
		})
	}
}

type mutant struct {
	source, mutated string
	scenario        string // that must find it; empty for all, and random histories
	inPackage, test string // that must find it instead, such as control and TestDrain
}

// finds are the words of which a run that has found it prints one.
func (m mutant) finds() []string {
	if m.test != "" {
		return []string{"--- FAIL: " + m.test}
	}
	return found
}

func readMutant(file string) (m mutant, err error) {
	a, err := txtar.ParseFile(file)
	if err != nil {
		return m, err
	}
	parts := map[string]string{}
	for _, f := range a.Files {
		parts[f.Name] = strings.TrimSuffix(string(f.Data), "\n")
	}
	m.source, err = filepath.Abs(filepath.Join("../..", parts["file"]))
	if err != nil {
		return m, err
	}
	b, err := os.ReadFile(m.source)
	if err != nil {
		return m, err
	}
	if n := strings.Count(string(b), parts["old"]); n != 1 || parts["old"] == "" || parts["old"] == parts["new"] {
		return m, fmt.Errorf("%s: its old words are %d times in %s, not once", file, n, parts["file"])
	}
	m.scenario = parts["scenario"]
	if test := parts["test"]; test != "" {
		var both bool
		if m.inPackage, m.test, both = strings.Cut(test, " "); !both || m.scenario != "" {
			return m, fmt.Errorf("%s: its test is %q, not a package and a test", file, test)
		}
	}
	m.mutated = strings.Replace(string(b), parts["old"], parts["new"], 1)
	return m, nil
}

// run runs histories with the mutant in place of the code.
func (m mutant) run(t *testing.T) (out string, err error) {
	dir := t.TempDir()
	replaced := filepath.Join(dir, filepath.Base(m.source))
	if err := os.WriteFile(replaced, []byte(m.mutated), 0o600); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{m.source: replaced}})
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return "", err
	}
	tests, count := "Scenarios|EveryPoint|Random", "1"
	if m.scenario != "" {
		tests, count = "Scenarios/^"+m.scenario+"$", "20" // what runs at the same time goes either way
	}
	args := []string{"-run", tests, "-failfast", "-count", count, "-sim.for", "2m", "."}
	if m.test != "" {
		args = []string{"-run", "^" + m.test + "$", "../../" + m.inPackage}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go",
		append([]string{"test", "-vet=off", "-overlay", list, "-timeout", "9m"}, args...)...)
	b, err := cmd.CombinedOutput()
	return string(b), err
}

func tail(s string) string { return s[max(len(s)-4000, 0):] }
