package api

import (
	"os"
	"strings"
	"testing"
)

func TestProcessTellsWhatItDoes(t *testing.T) {
	c, _ := serve(t, newPlane())
	p, err := c.Process(t.Context())
	if err != nil || p.Pid != os.Getpid() || p.Goroutines == 0 || p.Memory.HeapAlloc == 0 {
		t.Errorf("got %+v, %v", p, err)
	}
	dump, err := c.Goroutines(t.Context())
	if err != nil || !strings.Contains(string(dump), "api.(*Server).goroutines") {
		t.Errorf("got %s, %v", dump, err)
	}
}
