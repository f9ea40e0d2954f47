package sim

import (
	"flag"
	"os"
	"runtime/debug"
	"testing"
)

// inMemory is a file system in memory, where there is one. In virtual time a disk costs
// nothing but real time, and that is most of what a history takes.
const inMemory = "/dev/shm"

func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(800) // worlds are small and short-lived
	if f, err := os.CreateTemp(inMemory, "otto"); err == nil && !*simMutants {
		_ = f.Close()
		_ = os.Remove(f.Name())
		_ = os.Setenv("TMPDIR", inMemory)
	}
	os.Exit(m.Run())
}
