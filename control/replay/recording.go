package replay

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
)

// Recording is what was measured of a cluster that is there.
type Recording struct {
	Interval time.Duration // between two frames, about
	Wanted   otto.Wanted
	Frames   []Frame
}

// Frame is what was measured at one time.
type Frame struct {
	Time      time.Time       `json:"time"`
	Nodes     []NodeFrame     `json:"nodes"`
	Instances []InstanceFrame `json:"instances"`
}

// NodeFrame is a node in a frame.
type NodeFrame struct {
	ID     string           `json:"id"`
	Lost   bool             `json:"lost,omitempty"`
	Cores  float64          `json:"cores"`
	Memory uint64           `json:"memory"`
	Sample *otto.NodeSample `json:"sample,omitempty"`
}

// InstanceFrame is an instance in a frame; one without a sample takes nothing.
type InstanceFrame struct {
	Name   string  `json:"name"`
	Node   string  `json:"node,omitempty"`
	Cores  float64 `json:"cores"`
	Memory uint64  `json:"memory"`
}

// FrameOf is what a view of a cluster has of a frame.
func FrameOf(c *otto.Cluster) Frame {
	f := Frame{Time: c.Time}
	for _, n := range c.Nodes {
		frame := NodeFrame{ID: n.ID, Lost: n.State != otto.NodeReady && n.State != otto.NodeDraining, Sample: n.Sample}
		frame.Cores, frame.Memory = float64(n.Facts.CPUs), n.Facts.MemoryBytes
		f.Nodes = append(f.Nodes, frame)
	}
	for _, s := range c.Services {
		for _, i := range s.Instances {
			frame := InstanceFrame{Name: i.Name, Node: i.Node}
			if i.Sample != nil {
				frame.Cores, frame.Memory = i.Sample.CPUPercent/100, i.Sample.MemoryUsed
			}
			f.Instances = append(f.Instances, frame)
		}
	}
	return f
}

// WantedOf is what a view of a cluster has of what is wanted, without what a
// recording need not know: environments, commands and who is notified.
func WantedOf(c *otto.Cluster) otto.Wanted {
	w := otto.Wanted{Revision: c.Revision, Interval: c.Interval, Requirements: unsaid(c.Requirements), Decisions: c.Decisions, Scheduler: c.Scheduler}
	for _, n := range c.Nodes {
		w.Nodes = append(w.Nodes, otto.Node{ID: n.ID, Labels: n.Labels, Requirements: unsaid(n.Requirements)})
	}
	for _, s := range c.Services {
		of := s.Service
		of.Probe, of.DependsOn, of.Requirements = nil, nil, unsaid(s.Requirements)
		of.Spec = otto.ContainerSpec{Image: of.Spec.Image, Ports: of.Spec.Ports, Mounts: of.Spec.Mounts, Resources: of.Spec.Resources, Exclusive: of.Spec.Exclusive}
		w.Services = append(w.Services, of)
	}
	return w
}

// unsaid are requirements without who is told of them.
func unsaid(list []otto.Requirement) []otto.Requirement {
	list = slices.Clone(list)
	for i := range list {
		list[i].Notify = nil
	}
	return list
}

const (
	// maxSteps are as many as a week has at a second each.
	maxSteps = 7 * 24 * 3600
	// maxReplicas and maxPoints bound what a file can ask for: points are of two
	// curves each, of eight bytes.
	maxReplicas, maxPoints = 10_000, 50_000_000
	// recordedHeat is by how many degrees a percent of the processor makes a recorded
	// node warmer: what decisions assume.
	recordedHeat = 0.3
)

// Scenario is a recording, with the cluster's own requirements, decisions and
// weights, as it would have been had nothing been decided. What an instance took is
// what it would have liked to take: where a node was overloaded that is too little.
// What was not measured for a while is as it was before.
func (r Recording) Scenario() (Scenario, error) {
	if len(r.Frames) < 2 || r.Interval <= 0 || len(r.Wanted.Nodes) == 0 {
		return Scenario{}, errors.New("the recording has too little in it: two frames of a cluster at least")
	}
	first := r.Frames[0]
	s := Scenario{Wanted: r.Wanted, Start: first.Time, Length: r.Frames[len(r.Frames)-1].Time.Sub(first.Time), Placement: plan.Placement{}, Demands: map[string]Demand{}}
	if steps := s.Length / r.Interval; s.Length <= 0 || steps > maxSteps {
		return Scenario{}, errors.New("the times in the recording make no sense: they do not rise, or are too far apart")
	}
	if err := sound(s.Wanted, int(s.Length/r.Interval)); err != nil {
		return Scenario{}, err
	}
	s.Wanted.Interval = r.Interval
	s.judge()
	frames := r.even(int(s.Length/r.Interval) + 1)
	for _, i := range first.Instances {
		s.Placement[i.Name] = i.Node
	}
	for _, of := range s.Wanted.Services {
		for _, name := range s.Wanted.InstanceNames(of) {
			s.Demands[name] = demandOf(name, frames, r.Interval)
		}
	}
	for _, n := range s.Wanted.Nodes {
		s.Machines = append(s.Machines, machineOf(n.ID, frames, r.Interval))
	}
	return s, nil
}

// sound refuses what no otto.yaml can ask for, and what is too much to run.
func sound(w otto.Wanted, steps int) error {
	if d := w.Decisions; min(d.Cooldown, d.ReturnAfter, d.Settle) < 0 || min(d.PerService, d.PerNode, d.PerCluster) < 0 {
		return errors.New("the decisions in the recording make no sense: there are numbers below 0")
	}
	instances := 0
	requirements := slices.Clone(w.Requirements)
	for _, s := range w.Services {
		if s.Replicas < 0 || s.Replicas > maxReplicas {
			return fmt.Errorf("service %.60q in the recording has %d replicas", s.Name, s.Replicas)
		}
		instances += s.Replicas
		if s.Global() {
			instances += len(w.Nodes)
		}
		requirements = append(requirements, s.Requirements...)
	}
	for _, n := range w.Nodes {
		requirements = append(requirements, n.Requirements...)
	}
	if (instances+len(w.Nodes))*(steps+1) > maxPoints {
		return errors.New("the recording has too many nodes and instances for its length")
	}
	for _, r := range requirements {
		if r.Over < 0 || r.Over > otto.MaxOver || r.For < 0 {
			return fmt.Errorf("requirement %.60q in the recording makes no sense", r.String())
		}
	}
	return nil
}

// judge leaves of requirements those that can be judged, without what is not done
// about them, and notes the others. Decisions must not know those either: they would
// go nowhere where such a value is not known.
func (s *Scenario) judge() {
	only := func(list []otto.Requirement) (kept []otto.Requirement) {
		for _, r := range list {
			if !judges(r.Metric) {
				if text := r.String(); !slices.Contains(s.Unjudged, text) {
					s.Unjudged = append(s.Unjudged, text)
				}
				continue
			}
			if r.Action != otto.ActionMigrate {
				r.Action = otto.ActionEvent
			}
			kept = append(kept, r)
		}
		return kept
	}
	w := &s.Wanted
	w.Nodes, w.Services = slices.Clone(w.Nodes), slices.Clone(w.Services)
	w.Requirements = only(w.Requirements)
	for i := range w.Nodes {
		w.Nodes[i].Requirements = only(w.Nodes[i].Requirements)
	}
	for i := range w.Services {
		w.Services[i].Requirements = only(w.Services[i].Requirements)
	}
}

// even are the newest frames at n times that are equally far apart.
func (r Recording) even(n int) []Frame {
	list, at := make([]Frame, 0, n), 0
	for k := range n {
		now := r.Frames[0].Time.Add(time.Duration(k) * r.Interval)
		for at+1 < len(r.Frames) && !r.Frames[at+1].Time.After(now) {
			at++
		}
		list = append(list, r.Frames[at])
	}
	return list
}

func demandOf(name string, frames []Frame, every time.Duration) Demand {
	d := Demand{Cores: Curve{Every: every}, Memory: Curve{Every: every}, Image: 20 * time.Second}
	for _, f := range frames {
		var i InstanceFrame
		if k := slices.IndexFunc(f.Instances, func(i InstanceFrame) bool { return i.Name == name }); k >= 0 {
			i = f.Instances[k]
		}
		d.Cores.Values, d.Memory.Values = append(d.Cores.Values, max(i.Cores, 0)), append(d.Memory.Values, float64(i.Memory))
	}
	return d
}

// machineOf is a node without what its instances took.
func machineOf(id string, frames []Frame, every time.Duration) Machine {
	m := Machine{Cores: 1, CPU: Curve{Every: every}, Used: Curve{Every: every}, Heat: recordedHeat}
	idle := Curve{Every: every}
	var n NodeFrame
	lostSince := time.Duration(-1)
	for k, f := range frames {
		at := time.Duration(k) * every
		i := slices.IndexFunc(f.Nodes, func(n NodeFrame) bool { return n.ID == id })
		lost := i < 0 || f.Nodes[i].Lost || f.Nodes[i].Sample == nil
		switch {
		case lost && lostSince < 0:
			lostSince = at
		case !lost && lostSince >= 0:
			m.Lost, lostSince = append(m.Lost, Span{lostSince, at}), -1
		}
		if !lost {
			n = f.Nodes[i]
			n.Cores = max(n.Cores, 1) // or they are not known
			m.Cores, m.Memory = n.Cores, max(n.Memory, n.Sample.MemoryTotal)
		}
		cores, used := 0.0, 0.0
		if n.Sample != nil {
			cores, used = n.Cores*n.Sample.CPUPercent/100, float64(n.Sample.MemoryUsed)
			if t := n.Sample.Temperature; t != nil {
				idle.Values = append(idle.Values, *t-recordedHeat*n.Sample.CPUPercent)
			}
		}
		for _, i := range f.Instances {
			if i.Node == id {
				cores, used = cores-i.Cores, used-float64(i.Memory)
			}
		}
		m.CPU.Values, m.Used.Values = append(m.CPU.Values, max(cores, 0)), append(m.Used.Values, max(used, 0))
	}
	if lostSince >= 0 {
		m.Lost = append(m.Lost, Span{lostSince, time.Duration(len(frames)+1) * every})
	}
	if len(idle.Values) == len(frames) {
		m.Idle = idle
	}
	return m
}
