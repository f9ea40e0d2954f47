package agent

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// jobs remembers which containers that may come to their end have ended by themselves: those
// that are run once, or until they have succeeded, are not started again then, and are where a
// reboot, an engine or Otto has stopped them.
// An engine tells the two apart only while it is watched, so it is on disk. Where it is
// lost, what does not run has ended.
//
// It has ended for the data that it ran with, its own and that of what it depends on: one
// that has filled a database is started again when a person has accepted that the database
// begins anew.
type jobs struct {
	path string
	// data is what is remembered of the data of an instance, by source; nil if nothing is.
	data func(instance string) map[string]otto.Data
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
	// Data is the data that it ran with, by source, as far as that is known. A former build
	// noted none.
	Data map[string]ranWith `json:"data,omitempty"`
}

// ranWith is data that a job ran with.
type ranWith struct {
	ID         otto.DataID `json:"id,omitzero"`
	Generation uint64      `json:"generation,omitempty"`
}

// is reports whether it is what is remembered now. What has no id is told apart by what a
// person has decided of it.
func (w ranWith) is(now otto.Data) bool {
	if w.ID == (otto.DataID{}) && now.ID == (otto.DataID{}) {
		return w.Generation == now.Generation
	}
	return w.ID.Is(now.ID)
}

func (r job) equal(o job) bool {
	return r.Container == o.Container && r.Started.Equal(o.Started) && r.Boot == o.Boot && r.Ended == o.Ended &&
		r.Stopped == o.Stopped && maps.Equal(r.Data, o.Data)
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

// ends reports whether an instance may come to its end by itself.
func ends(spec otto.ContainerSpec) bool {
	policy, _, _ := strings.Cut(spec.Restart, ":")
	return once(spec) || policy == "on-failure"
}

// take takes in the containers as the engine has them now. An error says that what is
// new is not on disk.
func (j *jobs) take(list []otto.Container, wanted func(string) *otto.Instance) error {
	next, seen := map[string]job{}, map[string]bool{}
	for i := range list {
		c := &list[i]
		inst := wanted(c.Instance)
		if inst == nil || !ends(inst.Spec) || c.SpecHash != inst.Hash() || c.State == otto.ContainerCreated {
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
		was.Data = j.with(was, c.Instance)
		next[c.Instance] = was
	}
	j.seen = seen
	if maps.EqualFunc(next, j.runs, job.equal) {
		return nil
	}
	j.runs = next
	return writeJSON(j.path, next)
}

// with is the data of a run, and what was not known of it when it was looked at last.
func (j *jobs) with(r job, instance string) map[string]ranWith {
	data := maps.Clone(r.Data)
	for source, now := range j.now(instance) {
		if _, known := data[source]; known {
			continue
		}
		if data == nil {
			data = map[string]ranWith{}
		}
		data[source] = ranWith{now.ID, now.Generation}
	}
	return data
}

// anew reports whether there is other data now than an instance ran with.
func (j *jobs) anew(instance string) bool {
	ran := j.runs[instance].Data
	for source, now := range j.now(instance) {
		if was, known := ran[source]; known && !was.is(now) {
			return true
		}
	}
	return false
}

// now is the data of an instance with which something has run.
func (j *jobs) now(instance string) map[string]otto.Data {
	if j.data == nil {
		return nil
	}
	all := j.data(instance)
	maps.DeleteFunc(all, func(_ string, d otto.Data) bool { return d.Accepted })
	return all
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

// stopped reports whether a container is to be started again: it was stopped before its
// time, or its data is another one since.
func (j *jobs) stopped(c otto.Container) bool {
	r := j.runs[c.Instance]
	return r.is(c) && (!r.Ended || j.anew(c.Instance)) && !alive(c)
}

// done reports whether an instance has ended by itself, for the data that is there.
func (j *jobs) done(instance string) bool { return j.runs[instance].Ended && !j.anew(instance) }
