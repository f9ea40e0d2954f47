package sim

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// A load is a time in which a node does not keep what calm services require.
type load struct {
	host     string
	from, to time.Time // to is zero while it lasts
}

// idle is the CPU of a node without a load.
const idle = 7

// load has a host measure another CPU.
func (w *world) load(host, percent string) error {
	p, err := strconv.Atoi(percent)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.loads {
		if l := &w.loads[i]; l.host == host && l.to.IsZero() {
			l.to = time.Now()
		}
	}
	if p > idle {
		w.loads = append(w.loads, load{host: host, from: time.Now()})
		w.net.hit("load")
		w.broken["load "+host] = func() { _ = w.load(host, strconv.Itoa(idle)) }
	}
	w.Hosts[host].Measure(func(s *otto.NodeSample, _ []otto.ContainerSample) { s.CPUPercent = float64(p) })
	return nil
}

// late is how long after a load something may still be done about it: a control plane
// that was stopped for a minute goes on with what it knew.
const late = 90 * time.Second

// loaded reports whether a host was busy at a time, as far as anybody could know.
func (w *world) loaded(host string, at time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.loads, func(l load) bool {
		return l.host == host && l.from.Before(at) && (l.to.IsZero() || at.Sub(l.to) < late)
	})
}

// checkActs looks at what was done about requirements: each move leaves a node that
// was busy, and there are no more of them than the budget has.
func (w *world) checkActs(list []otto.Event) {
	w.mu.Lock()
	times := 1 + w.memories
	w.mu.Unlock()
	all, of := 0, map[string]int{}
	for _, e := range list {
		if e.Kind != "service-moving" {
			continue
		}
		all++
		of[e.Service]++
		from, _, _ := strings.Cut(after(e.Message, " goes from "), " to ")
		if !strings.Contains(e.Message, ": node.cpu is 95% and should be < 70% (required: ") || !w.loaded(from, e.Time) {
			w.truth.broken("a move without a reason: %s", e.Message)
		}
	}
	for service, n := range of {
		if n > times*budget.PerService {
			w.truth.broken("%d moves of %s are beyond the budget", n, service)
		}
	}
	if all > times*budget.PerCluster {
		w.truth.broken("%d moves are beyond the budget", all)
	}
}

func after(s, sep string) string {
	_, rest, _ := strings.Cut(s, sep)
	return rest
}

// address gives a host another address: its connection breaks, its agent connects
// anew, and neither SSH nor another node finds it where it was.
func (w *world) address(host string, another bool) {
	if !another {
		w.undo("address " + host)
		return
	}
	h := w.Hosts[host]
	h.SetUnreachable(errors.New("no route to host"))
	w.fault("address "+host, func() {
		w.reachable(host)
		h.SetUnreachable(nil)
	})
	if conn := h.Conn(); h.Alive() {
		w.net.hit("address")
		conn.Break()
		w.later(time.Second, conn.Resume)
	}
}
