package agent

import (
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/otto-edge/otto"
)

// jobs remembers which containers that are run once have ended by themselves: those are
// not started again, and others are that a reboot, an engine or Otto has stopped.
// An engine tells the two apart only while it is watched, so it is on disk. Where it is
// lost, what does not run has ended.
type jobs struct {
	path string
	boot string          // of the machine, now
	runs map[string]job  // by instance
	seen map[string]bool // containers that ran when they were looked at last, and whose engine has been heard since
}

// job is the last run of a container that was seen.
type job struct {
	Container string    `json:"container"`
	Started   time.Time `json:"started"`
	Boot      string    `json:"boot"`
	Ended     bool      `json:"ended,omitempty"`   // by itself
	Stopped   bool      `json:"stopped,omitempty"` // by somebody
}

const jobsFile = "jobs.json"

func openJobs(dir, boot string) (*jobs, error) {
	j := &jobs{path: filepath.Join(dir, jobsFile), boot: boot, seen: map[string]bool{}}
	var err error
	j.runs, err = readMap[job](j.path)
	return j, err
}

// once reports whether an instance is not started again when it has ended.
func once(spec otto.ContainerSpec) bool { return spec.Restart == "no" }

// take takes in the containers as the engine has them now. An error says that what is
// new is not on disk.
func (j *jobs) take(list []otto.Container, wanted func(string) *otto.Instance) error {
	next, seen := map[string]job{}, map[string]bool{}
	for i := range list {
		c := &list[i]
		inst := wanted(c.Instance)
		if inst == nil || !once(inst.Spec) || c.SpecHash != inst.Hash() || c.State == otto.ContainerCreated {
			continue
		}
		was := j.runs[c.Instance]
		if !was.is(*c) {
			was = job{Container: c.ID, Started: c.Started, Boot: j.boot, Ended: !alive(*c) && !c.Stopped}
		}
		switch {
		case alive(*c):
			was.Boot, was.Ended, was.Stopped, seen[c.ID] = j.boot, false, false, true
		case was.Ended || was.Stopped:
		case c.Stopped:
			was.Stopped = true
		case was.Boot == j.boot && (j.seen[c.ID] || c.OOM || !slices.Contains(stoppedCodes, c.ExitCode)):
			was.Ended = true
		}
		next[c.Instance] = was
	}
	j.seen = seen
	if maps.Equal(next, j.runs) {
		return nil
	}
	j.runs = next
	return writeJSON(j.path, next)
}

// stoppedCodes are how containers end that an engine or a kernel has ended: by SIGKILL,
// SIGTERM, or in a power cut.
var stoppedCodes = []int{137, 143, 255} //nolint:gochecknoglobals // a constant

func (r job) is(c otto.Container) bool {
	return r.Container == c.ID && r.Started.Equal(c.Started)
}

// unheard takes in that the engine has not been heard for a while, and may have stopped
// what ran.
func (j *jobs) unheard() { clear(j.seen) }

// cut takes in that an instance was stopped without the engine's word.
func (j *jobs) cut(instance string) error {
	r, known := j.runs[instance]
	if !known || r.Ended {
		return nil
	}
	r.Stopped = true
	j.runs = maps.Clone(j.runs)
	j.runs[instance] = r
	return writeJSON(j.path, j.runs)
}

// stopped reports whether a container was stopped before its time.
func (j *jobs) stopped(c otto.Container) bool {
	r := j.runs[c.Instance]
	return r.is(c) && !r.Ended && !alive(c)
}

// done reports whether an instance has ended by itself.
func (j *jobs) done(instance string) bool { return j.runs[instance].Ended }
