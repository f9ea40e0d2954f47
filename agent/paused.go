package agent

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/otto-edge/otto"
)

// pauseFor is how long a paused container is left alone: backups and commits pause
// theirs. After that it is unhealthy.
const pauseFor = 15 * time.Minute

// pauses remembers since when containers are paused, which no engine tells. It is on
// disk, so that another agent does not begin to count anew.
type pauses struct {
	path  string
	clock Clock
	since map[string]time.Duration // on the clock, by container
}

type savedPauses struct {
	Boot  string                   `json:"boot"`
	Since map[string]time.Duration `json:"since_ns"`
}

const pausesFile = "paused.json"

// openPauses takes up what the former agent knew. An unreadable file, or one of
// another boot, is none: it costs some minutes of patience.
func openPauses(dir string, clock Clock) (*pauses, error) {
	p := &pauses{path: filepath.Join(dir, pausesFile), clock: clock, since: map[string]time.Duration{}}
	s, err := readJSON[savedPauses](p.path)
	if s.Boot == clock.Boot && s.Since != nil {
		p.since = s.Since
	}
	return p, err
}

// take takes in which containers are paused now, and returns those that have been
// paused and those that go on. An error says that it is not on disk.
func (p *pauses) take(list []otto.Container) (paused, resumed []otto.Container, err error) {
	former := p.since
	p.since = map[string]time.Duration{}
	for _, c := range list {
		since, was := former[c.ID]
		switch {
		case c.State == otto.ContainerPaused && !was:
			p.since[c.ID] = p.clock.Now()
			paused = append(paused, c)
		case c.State == otto.ContainerPaused:
			p.since[c.ID] = since
		case was && c.State == otto.ContainerRunning:
			resumed = append(resumed, c)
		}
	}
	if len(paused) == 0 && len(p.since) == len(former) {
		return nil, nil, nil
	}
	return paused, resumed, writeJSON(p.path, savedPauses{p.clock.Boot, p.since})
}

// tooLong reports whether a paused container has been left alone for long enough.
func (p *pauses) tooLong(id string) bool {
	since, known := p.since[id]
	return known && p.clock.Now()-since >= pauseFor
}

// pausedReason is what is said of an instance whose container is paused.
func pausedReason(container string) string {
	return fmt.Sprintf("somebody has paused it: `docker unpause %s` there lets it go on; after %s it counts as failing",
		container, otto.ShortDuration(pauseFor))
}

// notePauses makes events of what somebody has paused, and of its end.
func (c *converger) notePauses() {
	paused, resumed, err := c.pauses.take(c.containers)
	for _, ctr := range paused {
		c.note("instance-paused", ctr.Instance, pausedReason(ctr.Name))
	}
	for _, ctr := range resumed {
		c.note("instance-resumed", ctr.Instance, "it is not paused any more")
	}
	if err != nil {
		c.Log.Warn("paused containers may be left alone for longer", "err", err)
	}
}
