package replay

import (
	"testing"
	"time"
)

func TestScratch(t *testing.T) {
	for seed := range uint64(1) {
		s := Draw(seed, Size{Nodes: 50, Services: 200, Length: 7 * 24 * time.Hour})
		for _, name := range Policies() {
			p, _ := Named(name, seed)
			from := time.Now()
			t.Logf("%+v %v", Run(s, name, p), time.Since(from))
		}
	}
}
