package cli

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogIsBoundedWhileItIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.log")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const limit = 10_000
	log := slog.New(slog.NewTextHandler(newLogFile(f, path, limit), nil))
	for i := range 1000 {
		log.Info("line", "number", i)
	}
	_, _ = fmt.Fprintln(f, "a panic") // by another hand
	current, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	former, err := os.ReadFile(path + ".1")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"current": current, "former": former} {
		if len(b) == 0 || len(b) > limit+100 {
			t.Errorf("the %s one has %d bytes", name, len(b))
		}
	}
	lines := strings.Split(strings.TrimSpace(string(former)+string(current)), "\n")
	if lines[len(lines)-1] != "a panic" || !strings.HasSuffix(lines[len(lines)-2], "number=999") {
		t.Errorf("it ends with %q", lines[max(0, len(lines)-2):])
	}
	for i, line := range lines[:len(lines)-1] {
		if want := fmt.Sprint("number=", 1000-len(lines)+1+i); !strings.HasSuffix(line, want) {
			t.Fatalf("line %q, want %s", line, want)
		}
	}
}
