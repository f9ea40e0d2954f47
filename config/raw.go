package config

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"

	"github.com/compose-spec/compose-go/v2/dotenv"
)

// readRawFiles has Compose's loader read files of variables of the format raw, which it
// leaves to the program that uses it.
var readRawFiles = sync.OnceFunc(func() { dotenv.RegisterFormat("raw", readRawFile) }) //nolint:gochecknoglobals // done once

// readRawFile reads a file of variables as `docker run --env-file` does: what is behind =
// is the value, with its quotes and dollars.
func readRawFile(from io.Reader, name string, vars map[string]string, lookup func(string) (string, bool)) error {
	lines := bufio.NewScanner(from)
	for n := 1; lines.Scan(); n++ {
		text := lines.Text()
		if n == 1 {
			text = strings.TrimPrefix(text, "\uFEFF")
		}
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
		if text == "" || text[0] == '#' {
			continue
		}
		key, val, given := strings.Cut(text, "=")
		if key == "" || strings.ContainsAny(key, " \t") {
			return fmt.Errorf("%s:%d: this has no valid name: write KEY=value", name, n)
		}
		if !given {
			if val, given = lookup(key); !given {
				continue
			}
		}
		vars[key] = val
	}
	return lines.Err()
}
