package control

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// What a node's machine is, SSH finds out, and it stays so until a person asks again: a
// node that says something else of itself is sent nothing for it. See ADR 16.

// record is what counts of a node's machine.
type record struct {
	otto.MachineFacts
	// Claimed says that SSH has not looked since there are records: it is what the node
	// itself has said first.
	Claimed bool `json:"claimed,omitempty"`
}

// over are facts as a node says them, with what counts in their place.
func (r record) over(said otto.NodeFacts) otto.NodeFacts {
	r.MachineFacts = r.or(said)
	said.Hostname, said.Arch, said.CPUs, said.MemoryBytes = r.Hostname, r.Arch, r.CPUs, r.MemoryBytes
	return said
}

// or is what counts, and of what is not known what a node says.
func (r record) or(said otto.NodeFacts) otto.MachineFacts {
	m := r.MachineFacts
	if m.Hostname == "" {
		m.Hostname = said.Hostname
	}
	if m.Arch == "" {
		m.Arch = said.Arch
	}
	if m.CPUs == 0 {
		m.CPUs = said.CPUs
	}
	if m.MemoryBytes == 0 {
		m.MemoryBytes = said.MemoryBytes
	}
	return m
}

// memoryShare is the part of a machine's memory by which two kernels may differ in how
// much they say it has.
const memoryShare = 8

// changes are what is otherwise in b than in a, for people; empty if it is the same as
// far as both are known.
func changes(a, b otto.MachineFacts) string {
	var list []string
	if a.Hostname != "" && b.Hostname != "" && a.Hostname != b.Hostname {
		list = append(list, fmt.Sprintf("its host name is %s, and was %s", b.Hostname, a.Hostname))
	}
	if a.Arch != "" && b.Arch != "" && a.Arch != b.Arch {
		list = append(list, fmt.Sprintf("it is a machine for %s, and was one for %s", b.Arch, a.Arch))
	}
	if a.CPUs != 0 && b.CPUs != 0 && a.CPUs != b.CPUs {
		list = append(list, fmt.Sprintf("it has %d cores, and had %d", b.CPUs, a.CPUs))
	}
	if less, more := min(a.MemoryBytes, b.MemoryBytes), max(a.MemoryBytes, b.MemoryBytes); less != 0 && more-less > more/memoryShare {
		list = append(list, fmt.Sprintf("it has %d MiB of memory, and had %d", b.MemoryBytes>>20, a.MemoryBytes>>20))
	}
	return strings.Join(list, "; ")
}

// overstated is what a node claims and what does not count: less than it has is no gain.
func overstated(r record, said otto.NodeFacts) string {
	return changes(r.MachineFacts, otto.MachineFacts{
		Hostname: said.Hostname, Arch: said.Arch,
		CPUs: max(said.CPUs, r.CPUs), MemoryBytes: max(said.MemoryBytes, r.MemoryBytes),
	})
}

// say takes in what a node says of its machine. Of what nobody knows better it counts
// from then on.
func (p *Plane) say(n *node, said otto.NodeFacts) {
	n.said = said
	if first := n.record.or(said); first != n.record.MachineFacts {
		n.record.Claimed = n.record.Claimed || n.record == record{}
		n.record.MachineFacts = first
		p.recorded(n)
	}
	p.believe(n)
	if n.claims != "" && n.other == "" && !n.toldClaims {
		n.toldClaims = true // once, however often it says so, and whatever else
		p.event("node-machine", n.ID, "", fmt.Sprintf("node says of its machine: %s. That does not count; `otto cluster start` asks over SSH", n.claims))
	}
}

// believe makes a node's facts follow from what counts.
func (p *Plane) believe(n *node) {
	n.facts, n.labels, n.claims = n.record.over(n.said), nil, overstated(n.record, n.said)
	p.dirty = true
}

// found takes in what SSH has found out about a node's machine. What is otherwise than
// before counts if a person has asked, or if there was only the node's own word.
func (p *Plane) found(n *node, is otto.MachineFacts, now time.Time) {
	if is == (otto.MachineFacts{}) || p.nodes[n.ID] != n {
		return
	}
	other := changes(n.record.MachineFacts, is)
	wanted := now.Before(n.asked)
	n.asked = time.Time{}
	if other != "" && !wanted && !n.record.Claimed {
		if n.other != other {
			p.event("node-machine", n.ID, "", other+". Placement goes by what was until `otto cluster start` says that it counts")
		}
		n.other, p.dirty = other, true
		return
	}
	if other != "" {
		p.event("node-machine", n.ID, "", other+", as SSH has found")
	}
	was := n.record
	n.other, n.toldClaims, n.record.Claimed = "", false, false
	if other != "" || n.record.or(otto.NodeFacts{}) != is {
		n.record.MachineFacts = record{MachineFacts: is}.or(n.record.over(otto.NodeFacts{}))
	}
	if n.record != was {
		p.recorded(n)
	}
	p.believe(n)
}

// askAgain has what SSH finds next of a node's machine count: a person wants it so.
func (n *node) askAgain(now time.Time) { n.asked = now.Add(askedFor) }

// askedFor is how long a person's word counts while the node is not reached.
const askedFor = 10 * time.Minute

// recorded notes that what counts of a node's machine has changed.
func (p *Plane) recorded(n *node) {
	if p.unrecorded == nil {
		p.unrecorded = map[string]bool{}
	}
	p.unrecorded[n.ID] = true
}

// storeRecords stores what has changed of them, for all nodes together. What could not
// be stored holds all the same, and is found anew after a restart.
func (p *Plane) storeRecords() {
	var ids []string
	for id := range p.unrecorded {
		if _, enrolled := p.enrolled[id]; enrolled && p.nodes[id] != nil {
			ids = append(ids, id)
		}
	}
	p.unrecorded = nil
	if len(ids) == 0 {
		return
	}
	err := p.changeSecrets(ids, func(node string, s secrets) (secrets, error) {
		s.Machine = p.nodes[node].record
		return s, nil
	})
	if err != nil {
		p.Log.Error("what machines nodes are is not stored", "err", err)
	}
}

// ofMachine warns of what a node's machine is by one word and not by another.
func (n *node) ofMachine() (warnings []string) {
	switch {
	case n.other != "":
		warnings = append(warnings, n.other+": `otto cluster start` says that it counts")
	case n.claims != "":
		warnings = append(warnings, fmt.Sprintf("it says of its machine: %s; that does not count, `otto cluster start` asks over SSH", n.claims))
	}
	return warnings
}

// floor is the oldest assignment that is good for a node whose agent has none: a machine
// that was installed anew takes none of before. It is asked by a keeper.
func (p *Plane) floor(ctx context.Context, n *node) otto.Revision {
	answer := make(chan otto.Revision, 1)
	p.tell(ctx, func() {
		floor := otto.Revision{Epoch: p.epoch}
		if floor.Before(n.revision) {
			floor = n.revision
		}
		answer <- floor
	})
	select {
	case floor := <-answer:
		return floor
	case <-ctx.Done():
		return otto.Revision{}
	}
}

// bringing is told by Reach how the node's agent is brought there.
func (p *Plane) bringing(ctx context.Context, n *node, floor otto.Revision) otto.Bringing {
	return otto.Bringing{
		Floor: floor,
		Step: func(step string) {
			p.tell(ctx, func() {
				n.step = step
				if strings.HasPrefix(step, otto.StepReplace) && step != n.replaced {
					n.replaced = step
					p.event("agent-replaced", n.ID, "", step)
				}
			})
		},
		Found:  func(is otto.MachineFacts) { p.tell(ctx, func() { p.found(n, is, time.Now()) }) },
		Verify: func(ctx context.Context) error { return p.reported(ctx, n) },
	}
}
