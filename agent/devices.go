package agent

import (
	"os"
	"time"
)

// devices are those that services ask for, and whether they are there.
type devices struct {
	exists func(path string) bool
	there  map[string]bool
	missed map[string]time.Time // since when one that is said to be there is not
}

// unplugged is how long a device that was there must be missing: one that is reset
// comes back in a moment, and nothing is to move for that.
const unplugged = 30 * time.Second

// look finds out which of the paths are there. What it has returned before is never
// changed.
func (d *devices) look(paths []string, now time.Time) {
	there, missed := make(map[string]bool, len(paths)), map[string]time.Time{}
	for _, path := range paths {
		there[path] = d.exists(path)
		if there[path] || !d.there[path] {
			continue
		}
		since, known := d.missed[path]
		if !known {
			since = now
		}
		if now.Sub(since) < unplugged {
			there[path], missed[path] = true, since
		}
	}
	d.there, d.missed = there, missed
}

func onDisk(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
