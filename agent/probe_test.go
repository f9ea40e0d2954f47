package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/knock"
)

// TestVerdict gives one outcome after another, each at the time the verdict asks for.
func TestVerdict(t *testing.T) {
	probe := otto.Probe{TCP: 80}.WithDefaults()
	patient := probe
	patient.StartPeriod = time.Minute
	for name, tt := range map[string]struct {
		probe    otto.Probe
		outcomes []bool // whether each passes; the last one goes on
		want     string
		after    time.Duration // when that is said first, at most
	}{
		"it is up at once":                     {probe, []bool{true}, healthy, 0},
		"it takes a moment to come up":         {probe, []bool{false, false, true}, healthy, 2 * time.Second},
		"it never comes up":                    {probe, []bool{false}, unhealthy, 30 * time.Second},
		"it has time to start":                 {patient, []bool{false}, unhealthy, 90 * time.Second},
		"after it has passed, no start period": {patient, []bool{true, false}, unhealthy, 30 * time.Second},
		"two failures are not three":           {probe, []bool{true, false, false, true, false, false, true}, healthy, 0},
		"one success makes it well":            {probe, []bool{true, false, false, false, true}, healthy, 40 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Unix(0, 0)
			now, changed := began, began
			v := newVerdict(tt.probe, began)
			for i := range 200 {
				failed := "connection refused"
				if tt.outcomes[min(i, len(tt.outcomes)-1)] {
					failed = ""
				}
				if v.take(failed, now) {
					changed = now
				}
				now = now.Add(v.next(now))
			}
			if v.health != tt.want || changed.Sub(began) > tt.after {
				t.Errorf("%s after %s, want %s after %s", v.health, changed.Sub(began), tt.want, tt.after)
			}
			if said := "probe tcp :80: connection refused, 3 times"; v.health == unhealthy && v.ailment != said ||
				v.health == healthy && v.ailment != "" {
				t.Errorf("it says %q", v.ailment)
			}
		})
	}
}

func TestLook(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	mux := http.NewServeMux()
	mux.HandleFunc("/fine", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") })
	mux.HandleFunc("/query", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("full") != "1" {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	mux.HandleFunc("/login",
		func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/broken", http.StatusFound) })
	mux.HandleFunc("/broken",
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/rude", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	server := httptest.NewServer(mux)
	up := portOf(t, server.Listener)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := portOf(t, closed)
	_ = closed.Close()
	page := func(path string) otto.Probe { return otto.Probe{HTTP: &otto.HTTPProbe{Port: up, Path: path}} }
	c := &converger{Agent: &Agent{Options: Options{Try: knock.Try}}}
	for _, tt := range []struct {
		probe otto.Probe
		want  string
	}{
		{page("/fine"), ""},
		{page("/query?full=1"), ""},
		{page("/login"), ""}, // a redirect is an answer, and not followed
		{page("/broken"), "status 503"},
		{page(""), "status 404"},
		{page("/slow"), "no answer within 300ms"},
		{page("/rude"), "it closes the connection without an answer"},
		{otto.Probe{HTTP: &otto.HTTPProbe{Port: down}}, "connection refused"},
		{otto.Probe{TCP: up}, ""},
		{otto.Probe{TCP: down}, "connection refused"},
	} {
		tt.probe.Timeout = time.Minute
		if strings.HasPrefix(tt.want, "no answer") {
			tt.probe.Timeout = 300 * time.Millisecond
		}
		p := &prober{Probe: tt.probe, address: "127.0.0.1"}
		if got, err := c.look(t.Context(), p); got != tt.want || err != nil {
			t.Errorf("%s: %q, %v, want %q", tt.probe, got, err, tt.want)
		}
	}
	server.Close()
	goleak.VerifyNone(t, ignore)
}

// TestContainerWithoutAnAddressIsNotProbedOnItsNode: something else may listen there.
func TestContainerWithoutAnAddressIsNotProbedOnItsNode(t *testing.T) {
	others, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer others.Close()
	c := &converger{Agent: &Agent{Options: Options{Try: knock.Try}}}
	failed, err := c.look(t.Context(), &prober{Probe: otto.Probe{TCP: portOf(t, others)}.WithDefaults()})
	if failed != "the container has no address" || err != nil {
		t.Errorf("failed %q, %v", failed, err)
	}
}

// TestMachineWithoutAnAddressIsNotWatchedHere: the broker is known as the end of a tunnel
// only, so nobody knows how to reach its machine, and least of all at our own ports.
func TestMachineWithoutAnAddressIsNotWatchedHere(t *testing.T) {
	watches := []otto.Watch{{Instance: "here", Address: ":8080"}, {Instance: "there", Address: "10.1.2.3:80"}}
	a := &Agent{Options: Options{Log: slog.New(slog.DiscardHandler)}}
	for brokers, want := range map[string]string{"127.0.0.1:18830": "[there 10.1.2.3:80]", "10.0.0.1:1883": "[here 10.0.0.1:8080 there 10.1.2.3:80]"} {
		a.Enrolment.Brokers = []string{brokers}
		var got []string
		for _, w := range a.reachable(watches) {
			got = append(got, w.Instance, w.Address)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("with a broker at %s: %v, want %s", brokers, got, want)
		}
	}
}

// TestProbeThatCannotBeDoneProvesNothing: neither that a container works, nor that it
// does not.
func TestProbeThatCannotBeDoneProvesNothing(t *testing.T) {
	probe := otto.Probe{TCP: 80}.WithDefaults()
	none := errors.New("too many open files")
	for name, tt := range map[string]struct {
		found string // p passes, f fails, x cannot be done
		want  string
	}{
		"once":                          {"pxxp", healthy},
		"for longer":                    {"pxxx", unknown},
		"and well again":                {"pxxxxxp", healthy},
		"and failing, not for long yet": {"pxxxff", unknown},
		"and failing":                   {"pxxxfff", unhealthy},
		"of what fails":                 {"pfffxxxx", unhealthy},
		"while it starts":               {"xxxx", starting},
		"and it never has":              {"xxxxxxxxxxxxxx", unknown},
	} {
		now := time.Unix(0, 0)
		v := newVerdict(probe, now)
		for _, found := range tt.found {
			switch found {
			case 'p':
				v.take("", now)
			case 'f':
				v.take("connection refused", now)
			default:
				v.miss(none, now)
			}
			now = now.Add(v.next(now))
		}
		if v.health != tt.want ||
			v.health == unknown && v.ailment != "probe tcp :80 cannot be done: too many open files" {
			t.Errorf("%s: %s: %s, want %s", name, v.health, v.ailment, tt.want)
		}
	}
}

// TestGraverHealthHolds: a container has its own check and a probe.
func TestGraverHealthHolds(t *testing.T) {
	inst := otto.Instance{Name: "web", Spec: otto.ContainerSpec{Image: "web"}, Probe: &otto.Probe{TCP: 80}}
	for _, tt := range [][3]string{ // own check, probe, both
		{"", healthy, healthy},
		{healthy, starting, starting},
		{starting, healthy, starting},
		{healthy, unhealthy, unhealthy},
		{unhealthy, healthy, unhealthy},
		{healthy, unknown, unknown},
		{starting, unknown, unknown},
		{starting, unhealthy, unhealthy},
	} {
		ctr := otto.Container{
			ID:       "1",
			Instance: "web",
			SpecHash: inst.Spec.Hash(),
			State:    otto.ContainerRunning,
			Health:   tt[0],
			Address:  "10.1.2.3",
		}
		c := &converger{
			Agent: &Agent{}, assignment: &otto.Assignment{Instances: []otto.Instance{inst}},
			probes: map[string]*prober{"web": {container: "1", finding: finding{health: tt[1]}}},
		}
		if got := c.examined(ctr).Health; got != tt[2] {
			t.Errorf("%q and %q: %q", tt[0], tt[1], got)
		}
	}
}

// TestEngineThatCannotTellIsNoFailure: a sick engine says nothing about a container.
func TestEngineThatCannotTellIsNoFailure(t *testing.T) {
	c := &converger{Agent: &Agent{Options: Options{Runtime: deaf{}}}}
	p := &prober{Probe: otto.Probe{Exec: []string{"true"}}.WithDefaults()}
	if failed, err := c.look(t.Context(), p); failed != "" || err == nil {
		t.Errorf("failed %q, %v", failed, err)
	}
}

// deaf is an engine that does not answer.
type deaf struct{ Runtime }

func (deaf) Logs(context.Context, string, int) ([]string, error) { return nil, io.ErrUnexpectedEOF }

func (deaf) Exec(context.Context, string, []string) (string, error) { return "", io.ErrUnexpectedEOF }

func portOf(t *testing.T, l net.Listener) uint16 {
	t.Helper()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(n)
}

func TestRestartPolicyOfTheUnhealthy(t *testing.T) {
	for policy, want := range map[string][]bool{ // after none, two and three starts
		"":             {true, true, true},
		"always":       {true, true, true},
		"on-failure":   {true, true, true},
		"on-failure:3": {true, true, false},
		"no":           {false, false, false},
	} {
		for i, count := range []int{0, 2, 3} {
			inst := otto.Instance{Name: "web", Spec: otto.ContainerSpec{Image: "web", Restart: policy}}
			ctr := otto.Container{
				Name:     "web",
				SpecHash: inst.Spec.Hash(),
				State:    otto.ContainerRunning,
				Health:   unhealthy,
				Ailment:  "no answer",
				Address:  "10.1.2.3",
			}
			s := situation{want: &inst, containers: []otto.Container{ctr}, attempt: attempt{count: count}}
			if got := next(s, time.Now()).do == doRestart; got != want[i] {
				t.Errorf("restart %q, %d starts: restarted: %t", policy, count, got)
			}
			if st := status(s, doNothing, false, time.Now()); st.State != otto.InstanceUnhealthy ||
				st.Error != "no answer" {
				t.Errorf("restart %q: reported %s: %s", policy, st.State, st.Error)
			}
			s.blocked = "no lease"
			if st := next(s, time.Now()); st.do != doNothing || want[i] && st.reason != "no lease" {
				t.Errorf("restart %q although it may not be started: %+v", policy, st)
			}
		}
	}
}
