package lookout

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func watching(instance, address string) otto.Watch {
	return otto.Watch{Instance: instance, Address: address, Probe: otto.Probe{TCP: 80, Interval: 10 * time.Second, Timeout: 2 * time.Second}}
}

func TestWhatIsFoundIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := New(func(ctx context.Context, _ otto.Probe, address string) error {
			switch address {
			case "fine:80":
				time.Sleep(50 * time.Millisecond)
				return nil
			case "offline:80":
				return syscall.ENETUNREACH
			case "refused:80":
				return syscall.ECONNREFUSED
			}
			<-ctx.Done() // it does not answer
			return ctx.Err()
		})
		if got := l.Take(time.Now()); got != nil {
			t.Errorf("nothing is asked for: %v", got)
		}
		l.Set(ctx, []otto.Watch{watching("web", "fine:80"), watching("db", "refused:80"), watching("far", "silent:80"), watching("us", "offline:80")})
		time.Sleep(11 * time.Second)
		want := map[string][]otto.Probed{
			"web": {{Ago: 10950 * time.Millisecond, Took: 50 * time.Millisecond}, {Ago: 950 * time.Millisecond, Took: 50 * time.Millisecond}},
			"db":  {{Ago: 11 * time.Second, Failed: true}, {Ago: time.Second, Failed: true}},
			"far": {{Ago: 9 * time.Second, Took: 2 * time.Second, Failed: true}},
		}
		if diff := cmp.Diff(want, l.Take(time.Now())); diff != "" {
			t.Error(diff)
		}
		if got := l.Take(time.Now()); got != nil {
			t.Errorf("once more: %v", got)
		}
		cancel()
		l.Wait()
	})
}

// TestWhatHasMovedIsProbedWhereItIs leaves what has not changed alone.
func TestWhatHasMovedIsProbedWhereItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var tries [2]atomic.Int64 // of what is on a and on b
		l := New(func(_ context.Context, _ otto.Probe, address string) error {
			tries[address[0]-'a'].Add(1)
			return errors.New("down")
		})
		l.Set(ctx, []otto.Watch{watching("web", "a:80"), watching("db", "a:81")})
		time.Sleep(time.Second)
		l.Set(ctx, []otto.Watch{watching("web", "b:80"), watching("db", "a:81")})
		time.Sleep(time.Second)
		if a, b := tries[0].Load(), tries[1].Load(); a != 2 || b != 1 {
			t.Errorf("%d and %d probes", a, b)
		}
		if got := l.Take(time.Now()); len(got["web"]) != 1 || len(got["db"]) != 1 {
			t.Errorf("what was found where it was says nothing: %v", got)
		}
		l.Set(ctx, nil)
		time.Sleep(time.Hour)
		if a, b := tries[0].Load(), tries[1].Load(); a != 2 || b != 1 {
			t.Errorf("%d and %d probes of what is not asked for any more", a, b)
		}
		l.Set(ctx, []otto.Watch{watching("web", "b:80")})
		time.Sleep(2 * time.Hour)
		if got := l.Take(time.Now()); len(got["web"]) != maxFound {
			t.Errorf("%d are kept, of which nobody asks", len(got["web"]))
		}
		cancel()
		l.Wait()
	})
}
