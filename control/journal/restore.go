package journal

import (
	"encoding/json"
	"errors"
	"os"

	"github.com/otto-edge/otto"
)

// Restore writes a journal, if there is none at path, or none with an event. Its
// events are synced.
func Restore(path string, list []otto.Event) error {
	if former, err := Read(path); err != nil || len(former) > 0 {
		return err
	}
	var lines []byte
	for _, e := range list {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(lines)
	return errors.Join(err, f.Sync(), f.Close())
}
