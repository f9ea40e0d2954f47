package control

import (
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// TestPassComesWhenALeaseEnds is about the pass that has found a node lost: whatever it
// has done meanwhile, the next one is not later than the end of the lease.
func TestPassComesWhenALeaseEnds(t *testing.T) {
	f := newFleet(t, fleetWanted(4, 4, 1))
	f.now = f.now.Add(time.Second)
	n := f.p.nodes["n1"]
	n.state, n.heard, n.unreachable = otto.NodeLost, f.now.Add(-time.Hour), "no route to host"
	n.leaseEnd = f.now.Add(100*time.Millisecond - leaseMargin)
	f.p.dirty = true
	if next := f.p.pass(f.now); n.state != otto.NodeLost || next > 102*time.Millisecond {
		t.Errorf("the node is %s, and the next pass comes after %s", n.state, next)
	}
}

// TestMachinesAreRecognizedAfterARestore is about the time in which nothing is decided:
// a node that boots anew in it is known by its last boot.
func TestMachinesAreRecognizedAfterARestore(t *testing.T) {
	f := newFleet(t, fleetWanted(4, 4, 1))
	f.p.desired.Restored = true
	for _, machine := range []string{"first boot", "second boot"} {
		f.now = f.now.Add(time.Minute)
		f.seq++
		b, err := wire.Encode(wire.Heartbeat{BootID: machine, Seq: f.seq, UpMS: int64(f.seq), Machine: machine})
		f.ingest("n1", wire.KindHeartbeat, b, err)
		f.pass()
		if is := f.p.desired.Machines["n1"]; is != machine {
			t.Errorf("on its %s the node is its %q", machine, is)
		}
	}
}

// TestLateReportDoesNotCount: what an agent had said before its last report, of an assignment
// that it has obeyed since, comes late.
func TestLateReportDoesNotCount(t *testing.T) {
	f := newFleet(t, fleetWanted(4, 4, 1))
	n := f.p.nodes["n1"]
	last := *n.report
	late := last
	late.Seq, late.Settled = last.Seq-1, !last.Settled
	for _, r := range []wire.Report{late, last} {
		b, err := wire.Encode(r)
		f.ingest("n1", wire.KindInstances, b, err)
		if n.report.Seq != last.Seq || n.report.Settled != last.Settled {
			t.Fatalf("report %d counts after report %d", r.Seq, last.Seq)
		}
	}
	next := late
	next.Seq = last.Seq + 1
	b, err := wire.Encode(next)
	if f.ingest("n1", wire.KindInstances, b, err); n.report.Seq != next.Seq {
		t.Errorf("report %d does not count after report %d", next.Seq, last.Seq)
	}
}
