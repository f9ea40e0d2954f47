package control

import (
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

func heardOf(number uint64) otto.Revision { return otto.Revision{Epoch: 2, Number: number} }

func TestProvenMessagesCountOnceAndInOrder(t *testing.T) {
	const beat, report, birth = wire.KindHeartbeat, wire.KindInstances, wire.KindStatus
	type said struct {
		kind   wire.Kind
		is     wire.Proof
		counts bool
	}
	was, since := otto.Revision{Epoch: 1, Number: 99}, heardOf(5)
	for name, list := range map[string][]said{
		"what is new counts, and once": {
			{beat, wire.Proof{Boot: 1, Heard: since, Number: 1}, true},
			{beat, wire.Proof{Boot: 1, Heard: since, Number: 1}, false},
			{beat, wire.Proof{Boot: 1, Heard: heardOf(6), Number: 3}, true},
			{beat, wire.Proof{Boot: 1, Heard: since, Number: 2}, false},
		},
		"kinds may overtake each other": {
			{beat, wire.Proof{Boot: 1, Heard: since, Number: 9}, true},
			{report, wire.Proof{Boot: 1, Heard: since, Number: 3}, true},
			{report, wire.Proof{Boot: 1, Heard: since, Number: 2}, false},
		},
		"a heartbeat of before is none": {
			{beat, wire.Proof{Boot: 1, Heard: was, Number: 7}, false},
			{beat, wire.Proof{Boot: 1, Heard: since, Number: 8}, true},
			{beat, wire.Proof{Boot: 2, Heard: was, Number: 9}, false},
		},
		"what was retained counts until the node is heard": {
			{report, wire.Proof{Boot: 1, Heard: was, Number: 7}, true},
			{birth, wire.Proof{Boot: 1, Heard: was, Number: 6}, true},
			{report, wire.Proof{Boot: 1, Heard: was, Number: 5}, false},
			{beat, wire.Proof{Boot: 1, Heard: since, Number: 8}, true},
			{report, wire.Proof{Boot: 9, Heard: was, Number: 100}, false},
		},
		"a will names what was in force when its session began": {
			{beat, wire.Proof{Boot: 1, Heard: since, Number: 1 << 32}, true},
			{birth, wire.Proof{Boot: 1, Heard: since, Number: 1<<32 + 5}, true},
			{birth, wire.Proof{Boot: 1, Heard: was, Number: 1<<33 - 1}, true},
			{birth, wire.Proof{Boot: 1, Heard: was, Number: 1<<33 - 1}, false},
			{birth, wire.Proof{Boot: 1, Heard: since, Number: 1<<33 + 1}, true},
		},
		"two agents that take turns are heard both": {
			{beat, wire.Proof{Boot: 1, Heard: since, Number: 1}, true},
			{beat, wire.Proof{Boot: 2, Heard: since, Number: 1}, true},
			{beat, wire.Proof{Boot: 1, Heard: since, Number: 2}, true},
			{beat, wire.Proof{Boot: 2, Heard: since, Number: 2}, true},
			{beat, wire.Proof{Boot: 1, Heard: since, Number: 2}, false},
		},
	} {
		f := proofs{since: since}
		for i, m := range list {
			if got := f.take(m.kind, m.is); got != m.counts {
				t.Errorf("%s: message %d: %v", name, i+1, got)
			}
		}
	}
}

// TestNothingIsOfNowBeforeTheFirstAssignment: what arrives between the start of a control
// plane and its first assignment may be a repetition.
func TestNothingIsOfNowBeforeTheFirstAssignment(t *testing.T) {
	var f proofs
	if f.take(wire.KindHeartbeat, wire.Proof{Boot: 1, Heard: heardOf(4), Number: 7}) || f.fresh() {
		t.Error("a heartbeat counts before anything was sent")
	}
	if !f.take(wire.KindInstances, wire.Proof{Boot: 1, Heard: heardOf(4), Number: 6}) || f.fresh() {
		t.Error("what the broker has retained does not count, or as of now")
	}
	f.listen(heardOf(5), true)
	if !f.take(wire.KindHeartbeat, wire.Proof{Boot: 1, Heard: heardOf(5), Number: 8}) || !f.fresh() {
		t.Error("what names the first assignment does not count")
	}
}

func TestAnotherAssignmentTellsAgentsApart(t *testing.T) {
	beat := func(boot, heard, number uint64) (wire.Kind, wire.Proof) {
		return wire.KindHeartbeat, wire.Proof{Boot: boot, Heard: heardOf(heard), Number: number}
	}
	f := proofs{since: heardOf(5)}
	for boot := range uint64(maxBoots - 1) {
		f.take(beat(boot, 5, 10))
	}
	if !f.crowded() {
		t.Fatal("so many agents do not ask for another assignment")
	}
	f.listen(heardOf(6), false)
	if f.crowded() {
		t.Error("one agent does")
	}
	for what, counts := range map[string]bool{
		"an agent that has ended, again": f.take(beat(0, 5, 10)),
		"and what nobody has heard":      f.take(beat(1, 5, 11)),
	} {
		if counts {
			t.Error(what)
		}
	}
	if !f.take(beat(maxBoots-2, 5, 11)) {
		t.Error("the agent that runs has to wait")
	}
	f.listen(heardOf(7), true) // there was no connection
	if f.take(beat(maxBoots-2, 6, 12)) {
		t.Error("what may have been said while nobody listened counts as said now")
	}
	if !f.behind || !f.take(beat(maxBoots-2, 7, 13)) {
		t.Error("the agent is not heard any more")
	}
}

func TestOnlySoManyAgentsAreToldApart(t *testing.T) {
	f := proofs{since: heardOf(5)}
	for boot := range uint64(2 * maxBoots) {
		is := wire.Proof{Boot: boot, Heard: heardOf(5), Number: 1}
		if got := f.take(wire.KindHeartbeat, is); got != (boot < maxBoots) {
			t.Errorf("agent %d counts: %v", boot+1, got)
		}
	}
	if !f.behind || len(f.boots) != maxBoots {
		t.Errorf("%d are remembered, and another assignment is asked for: %v", len(f.boots), f.behind)
	}
}

func TestForgedMessagesAreAWarning(t *testing.T) {
	var f proofs
	now := time.Now()
	for range forgedOften - 1 {
		f.forged(now)
	}
	if w := f.warning(now); w != "" {
		t.Errorf("of what is retained: %s", w)
	}
	f.forged(now)
	if f.warning(now) == "" || f.warning(now.Add(2*forgedFor)) != "" {
		t.Error("no warning, or one for ever")
	}
	if f.forged(now.Add(2 * forgedFor)); f.warning(now.Add(2*forgedFor)) != "" {
		t.Error("one message after a long time is a warning")
	}
}
