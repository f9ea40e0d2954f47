package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFaultsAreShownByRealTests reads docs/faults.md and finds every test that
// it names in the package that it names.
func TestFaultsAreShownByRealTests(t *testing.T) {
	table, err := os.ReadFile("../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{} // package of a test
	err = filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`).FindAllStringSubmatch(string(b), -1) {
			tests[m[1]] += " " + filepath.Base(filepath.Dir(path)) + " "
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 || cells[0] == " fault " || strings.HasPrefix(cells[0], "---") {
			continue
		}
		rows++
		named := regexp.MustCompile("(?:([\\w-]+) )?`(\\w+)`").FindAllStringSubmatch(cells[2], -1)
		if len(named) == 0 {
			t.Errorf("no test:%s", cells[0])
		}
		in := ""
		for _, m := range named {
			if m[1] != "" {
				in = m[1]
			}
			if !strings.Contains(tests[m[2]], " "+in+" ") {
				t.Errorf("%s has no %s:%s", in, m[2], cells[0])
			}
		}
	}
	if rows < 30 {
		t.Errorf("%d rows", rows)
	}
}
