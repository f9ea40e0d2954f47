package agent

import (
	"cmp"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// bonds remembers beside which runs of other containers those of instances began, where
// they must follow them: what is in another container's network or other namespace is
// cut off when that ends, and depends_on may ask for a restart. It is on disk. Where it
// is lost, what began before the other one is restarted once.
type bonds struct {
	path string
	of   map[string]bond // by instance
	// begun are the runs that were there when a start was last begun for an instance.
	begun map[string]map[string]run
}

// bond is a run of an instance's container, and the runs that it began with.
type bond struct {
	run
	With map[string]run `json:"with"` // by service
}

const bondsFile = "bonds.json"

func openBonds(dir string) (*bonds, error) {
	b := &bonds{path: filepath.Join(dir, bondsFile), begun: map[string]map[string]run{}}
	var err error
	b.of, err = readMap[bond](b.path)
	return b, err
}

// followed are the services whose runs an instance follows.
func followed(inst otto.Instance) []string {
	services := inst.Spec.Joined()
	for _, d := range inst.DependsOn {
		if d.Restart && !slices.Contains(services, d.Service) {
			services = append(services, d.Service)
		}
	}
	return services
}

// isRun reports whether this is the present run of a container.
func (r run) isRun(c otto.Container) bool { return r.Container == c.ID && r.Started.Equal(c.Started) }

// lender is the first instance of a service here, with the container that has its name.
func (c *converger) lender(service string) (inst *otto.Instance, ctr *otto.Container) {
	for i := range c.assignment.Instances {
		o := &c.assignment.Instances[i]
		if o.Service == service && (inst == nil || o.Name < inst.Name) {
			inst = o
		}
	}
	if inst == nil {
		return nil, nil
	}
	i := slices.IndexFunc(c.containers, func(o otto.Container) bool {
		return o.Instance == inst.Name && o.Name == inst.ContainerName()
	})
	if i < 0 {
		return inst, nil
	}
	return inst, &c.containers[i]
}

// beside are the present runs of what an instance follows.
func (c *converger) beside(inst otto.Instance) map[string]run {
	with := map[string]run{}
	for _, service := range followed(inst) {
		if of, ctr := c.lender(service); ctr != nil {
			with[service] = run{Asked: of.Restart, Container: ctr.ID, Started: ctr.Started}
		}
	}
	return with
}

// lent are the containers of the services from which an instance borrows.
func (c *converger) lent(inst otto.Instance) map[string]string {
	ids := map[string]string{}
	for _, service := range inst.Spec.Lenders() {
		if _, ctr := c.lender(service); ctr != nil {
			ids[service] = ctr.ID
		}
	}
	return ids
}

// networksBeside are the networks of the other services of an instance's stack.
func (c *converger) networksBeside(inst otto.Instance) (all []otto.Network) {
	stack, _, ok := strings.Cut(inst.Service, "/")
	if !ok || c.assignment == nil {
		return nil
	}
	for _, o := range c.assignment.Instances {
		if of, _, ok := strings.Cut(o.Service, "/"); !ok || of != stack || o.Name == inst.Name {
			continue
		}
		for _, n := range o.Spec.Networks {
			if !slices.ContainsFunc(all, func(has otto.Network) bool { return has.Name == n.Name }) {
				all = append(all, n)
			}
		}
	}
	return all
}

// noteBonds takes in which runs have begun.
func (c *converger) noteBonds() {
	if c.assignment == nil {
		return
	}
	former := maps.Clone(c.bonds.of)
	for _, inst := range c.assignment.Instances {
		if len(followed(inst)) == 0 {
			delete(c.bonds.of, inst.Name)
			continue
		}
		i := slices.IndexFunc(c.containers, func(o otto.Container) bool {
			return o.Instance == inst.Name && o.SpecHash == inst.Hash() && !o.Started.IsZero()
		})
		if i < 0 {
			continue
		}
		ctr := c.containers[i]
		if was := c.bonds.of[inst.Name]; was.isRun(ctr) {
			c.bonds.of[inst.Name] = was.completed(c.beside(inst))
			continue
		}
		with, begun := c.bonds.begun[inst.Name]
		if !begun {
			with = c.beside(inst)
			for _, service := range inst.Spec.Joined() {
				if ctr.Started.Before(with[service].Started) {
					with[service] = run{Container: with[service].Container} // of some run before
				}
			}
		}
		c.bonds.of[inst.Name] = bond{run{Container: ctr.ID, Started: ctr.Started}, with}
	}
	maps.DeleteFunc(c.bonds.of, func(name string, _ bond) bool { return c.wanted(name) == nil })
	maps.DeleteFunc(c.bonds.begun, func(name string, _ map[string]run) bool { return c.work[name] == nil })
	if maps.EqualFunc(former, c.bonds.of, bond.equal) {
		return
	}
	if err := writeJSON(c.bonds.path, c.bonds.of); err != nil {
		c.Log.Warn("what follows other containers may be restarted once more", "err", err)
	}
}

// completed adds runs of services of which none was known.
func (b bond) completed(now map[string]run) bond {
	with := maps.Clone(now)
	maps.Copy(with, b.With)
	b.With = with
	return b
}

func (b bond) equal(o bond) bool { return b.run == o.run && maps.Equal(b.With, o.With) }

// bind says in a situation how an instance stands to what it borrows from and follows.
func (c *converger) bind(inst otto.Instance, s *situation) {
	killed := slices.ContainsFunc(s.containers, func(o otto.Container) bool { return killedWith(inst, o) })
	if once(inst.Spec) && c.jobs.done(inst.Name) && !killed {
		return // it needs nothing any more
	}
	joined := inst.Spec.Joined()
	for _, service := range inst.Spec.Lenders() {
		of, ctr := c.lender(service)
		switch {
		case of == nil || ctr == nil:
			s.blocked = cmp.Or(s.blocked, "waiting: "+service+", from which it borrows, is not there yet")
		case slices.Contains(joined, service) && ctr.State != otto.ContainerRunning && ctr.State != otto.ContainerPaused:
			s.blocked = cmp.Or(s.blocked, "waiting: "+service+", from which it borrows, does not run")
		case c.inTurn(*of, s):
			for i := range s.containers {
				if o := &s.containers[i]; !slices.Contains(o.Borrows, ctr.ID) {
					o.SpecHash, s.severed, s.after = "", true, service
				}
			}
		}
	}
	bond := c.bonds.of[inst.Name]
	if s.severed || !slices.ContainsFunc(s.containers, bond.isRun) {
		return
	}
	for _, service := range followed(inst) {
		of, ctr := c.lender(service)
		was, known := bond.With[service]
		if ctr == nil || !known || !c.inTurn(*of, s) {
			continue
		}
		if now := (run{Asked: of.Restart, Container: ctr.ID}); now.Container != was.Container || now.Asked != was.Asked ||
			slices.Contains(joined, service) && !was.isRun(*ctr) {
			s.after, s.cutShort = service, s.cutShort || killed
		}
	}
}

// killedWith reports whether a container was killed as all processes are whose first one
// is another container's and ends.
func killedWith(inst otto.Instance, ctr otto.Container) bool {
	const killed = 137
	return inst.Spec.Engine != nil && strings.HasPrefix(inst.Spec.Engine.PIDMode, otto.ServicePrefix) && !alive(ctr) && ctr.ExitCode == killed
}

// inTurn reports whether an instance is as it is to stay. Who follows it waits for that.
func (c *converger) inTurn(of otto.Instance, s *situation) bool {
	w := c.work[of.Name]
	if w == nil || w.pulling {
		var have []otto.Container
		for _, ctr := range c.containers {
			if ctr.Instance == of.Name {
				have = append(have, ctr)
			}
		}
		if !c.asked.due(of, have) {
			return true
		}
	}
	s.blocked = cmp.Or(s.blocked, "waiting: "+of.Name+" is being changed")
	return false
}
