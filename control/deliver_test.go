package control

import (
	"testing"
	"time"
)

// TestDeliveryThatFailsHoldsUpNoOther: each has waits of its own, and what is the same of several
// is told once.
func TestDeliveryThatFailsHoldsUpNoOther(t *testing.T) {
	var d deliveries
	now := time.Unix(1000, 0)
	next := func(after time.Duration, want string, asked ...string) {
		t.Helper()
		now = now.Add(after)
		if got := d.due(asked, now); got != want {
			t.Fatalf("due is %q; want %q", got, want)
		}
		d.busy = want != ""
	}
	next(0, "x", "x", "y")
	next(time.Hour, "", "x", "y") // that is under way
	if !d.failed("x", "n", "no room", now) {
		t.Error("a problem is not told")
	}
	next(0, "y", "x", "y")
	if d.failed("y", "n", "no room", now) {
		t.Error("it is told twice")
	}
	if got := d.problems(); len(got) != 1 || got[0] != "no room" {
		t.Errorf("problems are %q", got)
	}
	next(0, "", "x", "y")
	next(2*bringAfter, "x", "x", "y")
	if !d.failed("x", "n", "another", now) {
		t.Error("another problem is not told")
	}
	next(0, "y", "x", "y")
	d.arrived("y", now)
	next(bringAgain/2, "x", "x", "y") // the second wait is longer than the first, and over
	d.failed("x", "n", "another", now)
	for range 10 {
		next(2*bringMost, "x", "x")
		d.failed("x", "n", "another", now)
	}
	if wait := d.tries["x"].wait; wait != bringMost {
		t.Errorf("it waits for %s; want %s", wait, bringMost)
	}
	if len(d.tries) != 1 {
		t.Errorf("what is not asked for is kept: %v", d.tries)
	}
	next(0, "")
	if got := d.problems(); len(got) > 0 {
		t.Errorf("problems are %q", got)
	}
	next(0, "x", "x") // as if it were the first time
	d.arrived("x", now)
	next(bringAgain/2, "", "x")
	next(bringAgain, "x", "x")
}
