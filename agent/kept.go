package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/otto-edge/otto/durable"
)

// What an agent keeps on its disk are small JSON documents, each replaced whole.

// readJSON reads a document. One that is not there, or is not understood, is empty; the
// latter is an error, too.
func readJSON[T any](path string) (value T, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return value, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &value)
	}
	if err != nil {
		var none T
		return none, fmt.Errorf("%s: %w", path, err)
	}
	return value, nil
}

// readMap is readJSON of a map, which is never nil.
func readMap[V any](path string) (map[string]V, error) {
	m, err := readJSON[map[string]V](path)
	if m == nil {
		m = map[string]V{}
	}
	return m, err
}

// writeJSON replaces a file whole.
func writeJSON(path string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return durable.Replace(path, b, 0o600)
}
