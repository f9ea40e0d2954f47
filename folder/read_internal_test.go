package folder

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhatChangesMeanwhileIsRefused changes a folder between the two looks at it.
func TestWhatChangesMeanwhileIsRefused(t *testing.T) {
	changes := map[string]func(dir string) error{
		"written":  func(dir string) error { return os.WriteFile(filepath.Join(dir, "a"), []byte("longer"), 0o600) },
		"replaced": func(dir string) error { return os.Rename(filepath.Join(dir, "b"), filepath.Join(dir, "a")) },
		"removed":  func(dir string) error { return os.Remove(filepath.Join(dir, "a")) },
		"mode":     func(dir string) error { return os.Chmod(filepath.Join(dir, "a"), 0o400) },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"a", "b"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			info, err := root.Stat(self)
			if err != nil {
				t.Fatal(err)
			}
			w := walk{name: "conf", root: root, left: NewBudget()}
			if err := w.folder(self, info); err != nil {
				t.Fatal(err)
			}
			if err := w.unchanged(); err != nil {
				t.Fatal(err)
			}
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
			if err := w.unchanged(); err == nil || !strings.Contains(err.Error(), "changes while it is read") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A file of /proc has more in it than its size says, as one that grows does.
func TestFileThatGrowsWhileItIsReadIsRefused(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("there is no /proc")
	}
	_, err := Read("/proc/self", "status", NewBudget())
	if err == nil || !strings.HasPrefix(err.Error(), `"./status" changes while it is read`) {
		t.Errorf("got %v", err)
	}
}
