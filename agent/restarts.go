package agent

import (
	"maps"
	"path/filepath"
	"time"

	"github.com/otto-edge/otto"
)

// restarts remembers which restarts that were asked for have been seen to. Asked
// is a number that only rises, so what must be remembered is which run of a
// container it was that had to end: while that run goes on, or has ended and
// nothing has started since, the restart is still to be done, whoever was killed
// in between. It is on disk, and written only when a restart is asked for. Where
// it is lost, a container is restarted once more.
type restarts struct {
	path string
	runs map[string]run // by instance
}

// run is one run of a container, which must end for the nth restart asked for.
type run struct {
	Asked     uint64    `json:"asked"`
	Container string    `json:"container,omitempty"` // empty: there was none
	Started   time.Time `json:"started,omitzero"`
}

const restartsFile = "restarts.json"

func openRestarts(dir string) (*restarts, error) {
	r := &restarts{path: filepath.Join(dir, restartsFile)}
	var err error
	r.runs, err = readMap[run](r.path)
	return r, err
}

// note takes in how often a restart of an instance has been asked for, with the
// containers that it has now. An error says that it is not on disk.
func (r *restarts) note(inst otto.Instance, have []otto.Container) error {
	was := r.runs[inst.Name].Asked
	if was == inst.Restart {
		return nil
	}
	n := run{Asked: inst.Restart}
	// It falls only when the control plane was put back to what it was before.
	if current, _ := split(inst, have); current != nil && was < inst.Restart {
		n.Container, n.Started = current.ID, current.Started
	}
	r.runs[inst.Name] = n
	return r.write()
}

// keep forgets instances that are not wanted any more.
func (r *restarts) keep(wanted func(string) bool) error {
	before := len(r.runs)
	maps.DeleteFunc(r.runs, func(name string, _ run) bool { return !wanted(name) })
	if len(r.runs) == before {
		return nil
	}
	return r.write()
}

// due reports whether an instance's container still has to be restarted.
func (r *restarts) due(inst otto.Instance, have []otto.Container) bool {
	n := r.runs[inst.Name]
	if n.Asked < inst.Restart {
		return true // and not taken in yet
	}
	current, _ := split(inst, have)
	return current != nil && n.Container == current.ID && n.Started.Equal(current.Started)
}

func (r *restarts) write() error { return writeJSON(r.path, r.runs) }
