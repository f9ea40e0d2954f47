package agent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otto-edge/otto"
)

// TestNewerAssignmentDoesNotWaitForTheEngine: leases for it are granted already, and what it
// asks for has to be known when they end. It is taken in afterwards, and the newest of several.
func TestNewerAssignmentDoesNotWaitForTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := openLease(t.TempDir(), Clock{Boot: "one", Now: func() time.Duration { return time.Minute }})
		if err != nil {
			t.Fatal(err)
		}
		c := &converger{
			Agent:      &Agent{lease: l, assignments: make(chan otto.Assignment, 1)},
			assignment: &otto.Assignment{},
		}
		began := time.Now()
		ctx, end := c.inTime(t.Context())
		time.AfterFunc(10*time.Second, func() {
			replace(c.assignments, otto.Assignment{Revision: otto.Revision{Number: 2}})
		})
		time.AfterFunc(11*time.Second, func() {
			replace(c.assignments, otto.Assignment{Revision: otto.Revision{Number: 3}})
		})
		<-ctx.Done() // an engine that hangs
		if took := time.Since(began); took != 10*time.Second+newerWait || !errors.Is(context.Cause(ctx), errNewer) {
			t.Errorf("waited for %s: %v", took, context.Cause(ctx))
		}
		end()
		if asg := <-c.assignments; asg.Revision.Number != 3 {
			t.Errorf("assignment %d is taken in", asg.Revision.Number)
		}

		ctx, end = c.inTime(t.Context())
		replace(c.assignments, otto.Assignment{Revision: otto.Revision{Number: 4}})
		synctest.Wait()
		end() // an engine that has answered at once
		if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("it was interrupted: %v", err)
		}
		if asg := <-c.assignments; asg.Revision.Number != 4 {
			t.Errorf("assignment %d is taken in", asg.Revision.Number)
		}
	})
}
