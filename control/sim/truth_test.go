package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// truth is what really happens, whatever control plane and agents believe. It is
// told of each container at the moment when it begins or ends to run.
type truth struct {
	mu       sync.Mutex
	began    time.Time
	running  map[string][]string  // containers that run, by instance: host and id
	since    map[string]time.Time // when the last one of an instance began to run
	starts   int
	wrong    []string // promises that were broken
	told     []string // everything that happened, for a person to read
	services map[string]otto.Service
	dark     map[string]bool  // hosts without power
	data     map[string]place // where instances that keep their data ran first, and it is
	excused  map[string]bool  // containers, by host and id, that run while another one was started in the known gap
}

// place is where data is: a volume on a host, which has a label of its own.
type place struct{ host, label string }

func newTruth() *truth {
	return &truth{
		began: time.Now(), running: map[string][]string{}, since: map[string]time.Time{}, services: menu(), dark: map[string]bool{}, data: map[string]place{},
		excused: map[string]bool{},
	}
}

// tell notes something that happened.
func (t *truth) tell(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.note(fmt.Sprintf(format, args...))
}

func (t *truth) note(what string) {
	line := fmt.Sprintf("%-14s %s", time.Since(t.began), what)
	t.told = append(t.told, line)
}

// broken notes a promise that was not kept.
func (t *truth) broken(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.breach(fmt.Sprintf(format, args...))
}

func (t *truth) breach(what string) {
	t.note("BROKEN: " + what)
	t.wrong = append(t.wrong, fmt.Sprintf("%s: %s", time.Since(t.began), what))
}

// observe takes in that a container has begun or ended to run, and reports whether that
// breaks a promise because of a gap that is known: by what runs on one of some hosts, lost,
// or by what runs since such a start on a host where the agent still stands.
func (t *truth) observe(host string, c ottotest.Observed, lost, stand []string) (gap bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	me := host + " " + c.ID[56:]
	runs := c.State == otto.ContainerRunning
	if c.Theirs {
		if !runs && !t.dark[host] {
			t.breach("a container that is not Otto's was stopped on " + host)
		}
		return false
	}
	list := slices.DeleteFunc(slices.Clone(t.running[c.Instance]), func(o string) bool { return o == me })
	if runs {
		list = append(list, me)
		t.since[c.Instance] = time.Now()
		if c.Instance != "guest" {
			t.starts++
		}
	}
	t.running[c.Instance] = list
	if !runs {
		delete(t.excused, me)
	}
	t.note(fmt.Sprintf("%s %s on %s", c.Instance, c.State, me))
	s, known := t.services[c.Service]
	switch {
	case runs && !known:
		t.breach(fmt.Sprintf("%s was started, which nobody has asked for", c.Instance))
	case runs && s.Stateful() && len(list) > 1 && !slices.ContainsFunc(list[:len(list)-1], func(o string) bool {
		on, _, _ := strings.Cut(o, " ")
		return !slices.Contains(lost, on) && !(t.excused[o] && slices.Contains(stand, on))
	}):
		for _, o := range list[:len(list)-1] {
			t.excused[o] = true
		}
		t.note("KNOWN GAP: " + c.Instance + " runs twice: " + strings.Join(list, " and "))
		return true
	case runs && s.Stateful() && len(list) > 1:
		t.breach(fmt.Sprintf("%s runs twice: %s", c.Instance, strings.Join(list, " and ")))
	case runs && len(s.Spec.Mounts) > 0 && s.Data != otto.DataDisposable:
		t.startedWith(c.Instance, place{host, c.Volumes[s.Name]})
	}
	return false
}

// startedWith takes in with which data an instance was started.
func (t *truth) startedWith(instance string, is place) {
	was, known := t.data[instance]
	switch {
	case !known:
		t.data[instance] = is
	case instance == "kept" && was.host != is.host:
		t.breach(fmt.Sprintf("kept was started on %s, and its data is on %s", is.host, was.host))
	case was.label == "":
		t.data[instance] = is
	case was.label != is.label:
		t.breach(fmt.Sprintf("%s was started on %s with other data than before: %q, not %q", instance, is.host, is.label, was.label))
	}
}

// anew takes in that a person says that an instance may begin with other data, and
// returns with which it has run.
func (t *truth) anew(instance string) (was place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was, known := t.data[instance]
	if known {
		t.data[instance] = place{host: was.host}
	}
	return was
}

// notAnew takes in that this was refused.
func (t *truth) notAnew(instance string, was place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if is, known := t.data[instance]; known && is.label == "" {
		t.data[instance] = was
	}
}

// has reports whether an instance ran with the volume of a label.
func (t *truth) has(instance, label string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.data[instance].label == label
}

// home is the host where an instance's data is; empty if it has never run.
func (t *truth) home(instance string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.data[instance].host
}

// power notes that a host has power, or has none.
func (t *truth) power(host string, on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dark[host] = !on
}

// hostsOf are the hosts where an instance runs.
func (t *truth) hostsOf(instance string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []string
	for _, c := range t.running[instance] {
		host, _, _ := strings.Cut(c, " ")
		list = append(list, host)
	}
	slices.Sort(list)
	return list
}

// unwanted says which other instances than these run.
func (t *truth) unwanted(wanted map[string]bool) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(t.running)) {
		if list := t.running[name]; len(list) > 0 && !wanted[name] {
			return fmt.Sprintf("%s runs on %v and is not wanted", name, list)
		}
	}
	return ""
}

// up is how long the newest container of an instance has run, or would have.
func (t *truth) up(instance string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Since(t.since[instance])
}

// count is how many containers have been started so far, without those of the
// guest, which goes home when it thinks that it is time.
func (t *truth) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.starts
}
