package agent

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/otto-edge/otto"
)

// FuzzKeptFiles has the small files of an agent hold anything, as a card does that loses
// power while it is written to. The agent starts, and what it then does with them ends
// well: a file that is not understood costs what it remembers, and no more.
func FuzzKeptFiles(f *testing.F) {
	for _, s := range []string{
		``, `null`, `{}`, `[]`, `{"web":{"asked":3}}`, `{"boot":"one","until_ns":1e18,"runs":[{"Instance":"web"}]}`,
		`[{"source":"data","id":{"volume":"x"},"generation":18446744073709551615}]`, `{"web":null}`, "\x00\x00\x00",
	} {
		f.Add([]byte(s))
	}
	inst := otto.Instance{Name: "web", Service: "web", Restart: 1}
	ctr := otto.Container{ID: "1", Name: "web", Instance: "web", State: otto.ContainerRunning}
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		clock := Clock{Boot: "one", Now: func() time.Duration { return time.Minute }}
		quiet := slog.New(slog.DiscardHandler)
		fill := func(names ...string) {
			for _, n := range names {
				if err := os.WriteFile(filepath.Join(dir, n), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		fill(leaseFile, restartsFile, jobsFile, bondsFile, setupsFile, pausesFile, dataFile, dataPreviousFile, currentFile)

		l, _ := openLease(dir, clock)
		_, _ = l.judge(inst, otto.Revision{})
		l.covers(append(l.covered(), ctr))
		if err := l.save(); err != nil {
			t.Error(err)
		}
		if again, err := openLease(dir, clock); err != nil || len(again.covered()) != len(l.covered()) {
			t.Errorf("the lease does not come back: %v", err)
		}

		r, _ := openRestarts(dir)
		if err := r.note(inst, []otto.Container{ctr}); err != nil {
			t.Error(err)
		}
		if _, err := openRestarts(dir); err != nil {
			t.Errorf("restarts do not come back: %v", err)
		}

		j, _ := openJobs(dir, "one")
		_ = j.take([]otto.Container{ctr}, func(string) *otto.Instance { return &inst })
		_, _ = openBonds(dir)
		_, _ = openSetups(dir)
		_, _ = openPauses(dir, clock)
		_ = openLedger(dir, quiet).told()

		s, err := openState(dir, quiet, newSigner().open)
		if err != nil || s.current != nil {
			t.Errorf("%q was taken for an assignment (%v)", b, err)
		}
	})
}
