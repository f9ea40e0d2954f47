package api

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/logs"
)

func TestLogsArriveAsTheyWereWritten(t *testing.T) {
	p := newPlane()
	at := time.Date(2026, 5, 1, 12, 0, 0, 123456789, time.UTC)
	p.logs = []logs.Entry{
		{Time: at, Node: "n1", Instance: "web", Container: "1", Stream: logs.Stdout, Text: "<b> & \u2028"},
		{Time: at, Instance: "web", Text: "bad \uFFFD", Raw: []byte("bad \xff")},
		{Time: at, Text: strings.Repeat("x", 300<<10)},
		{Time: at, Mark: logs.MarkLeftOut, Lines: 7, Text: "7 lines left out"},
	}
	c, _ := serve(t, p)
	var got []logs.Entry
	err := c.Logs(t.Context(), logs.Query{Name: "web"}, func(e logs.Entry) error {
		got = append(got, e)
		return nil
	}, func() error { return nil })
	if diff := cmp.Diff(p.logs, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestLogsThatCannotBeReadAreAnError(t *testing.T) {
	p := newPlane()
	p.err = errors.New(`no service or node "wep": did you mean web?`)
	c, _ := serve(t, p)
	err := c.Logs(t.Context(), logs.Query{Name: "wep"}, nil, nil)
	if err == nil || err.Error() != p.err.Error() {
		t.Errorf("got %v", err)
	}
}

// TestLogsEndWithTheirReader: whoever no longer reads costs nothing.
func TestLogsEndWithTheirReader(t *testing.T) {
	p := newPlane()
	p.logs = []logs.Entry{{Text: "one"}}
	c, _ := serve(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Logs(
		ctx,
		logs.Query{Name: "web", Filter: logs.Filter{Follow: true}},
		func(logs.Entry) error { return nil },
		func() error {
			cancel()
			return nil
		},
	)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		gone := slices.Contains(p.calls, "the client of the logs is gone")
		p.mu.Unlock()
		if gone {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the control plane goes on reading")
		}
	}
}

// TestFollowedLogsEndWithTheControlPlane: that is no end of the logs.
func TestFollowedLogsEndWithTheControlPlane(t *testing.T) {
	p := newPlane()
	p.logs = []logs.Entry{{Text: "one"}}
	c, _ := serve(t, p)
	err := c.Logs(t.Context(), logs.Query{Name: "web", Filter: logs.Filter{Follow: true}}, func(logs.Entry) error {
		return c.Exit(t.Context())
	}, func() error { return nil })
	if !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v", err)
	}
}
