package tui

import (
	"os"
	"strings"
	"testing"
)

// TestDocsShowTheScreen: the screens of README.md and docs/terminal.md are what the program draws.
func TestDocsShowTheScreen(t *testing.T) {
	m := model(homeCluster())
	m.selected = item{kindService, "web"}
	var lines []string
	for _, l := range strings.Split(m.Screen(80, 24).String(), "\n") {
		if l != "" && !strings.HasPrefix(l, "? help") {
			lines = append(lines, l)
		}
	}
	screen := strings.Join(lines, "\n")
	for _, path := range []string{"../README.md", "../docs/terminal.md"} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before, rest, ok := strings.Cut(string(b), "```\notto home ")
		_, after, ended := strings.Cut(rest, "\n```\n")
		if !ok || !ended {
			t.Errorf("%s has no screen, which begins with ``` and otto home", path)
			continue
		}
		want := before + "```\n" + screen + "\n```\n" + after
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if want != string(b) {
			t.Errorf("the screen of %s is another one: go test ./tui -update writes it", path)
		}
	}
}
