package control_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// required is a requirement below a limit, with the defaults.
func required(metric string, limit float64, action string) otto.Requirement {
	r := otto.Requirement{Metric: metric, Aggregate: otto.AggregateLast, Operator: "<", Limit: limit, For: 20 * time.Second, Action: action, Severity: otto.SeverityWarning}
	m, _ := otto.FindMetric(metric)
	r.Unit = m.Unit
	r.Clear = r.DefaultClear()
	return r
}

// busy has a node measure a CPU.
func busy(percent float64) func(*otto.NodeSample, []otto.ContainerSample) {
	return func(n *otto.NodeSample, _ []otto.ContainerSample) { n.CPUPercent = percent }
}

// verdict is the first one on the first service.
func verdict(v *otto.Cluster) otto.Verdict {
	if len(v.Services[0].Verdicts) == 0 {
		return otto.Verdict{}
	}
	return v.Services[0].Verdicts[0]
}

func inState(state otto.RequirementState) func(*otto.Cluster) bool {
	return func(v *otto.Cluster) bool { return verdict(v).State == state }
}

// told are the kinds of events on requirements so far.
func told(c *ottotest.Cluster) (kinds []string) {
	list, _ := c.Plane.Events(0)
	for _, e := range list {
		if strings.HasPrefix(e.Kind, "requirement-") || e.Kind == "notify-failed" {
			kinds = append(kinds, e.Kind)
		}
	}
	return kinds
}

func TestRequirementIsJudgedWhereTheServiceRuns(t *testing.T) {
	web := movable("web", "a")
	web.Requirements = []otto.Requirement{required("node.cpu", 80, otto.ActionEvent)}
	const long = 20*time.Second + 300*time.Millisecond // between two looks at all
	web.Requirements[0].For = long
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		c.Wait(10*time.Second, "ok", inState(otto.RequirementOK))
		c.Hosts["b"].Measure(busy(99)) // where it does not run
		c.Hosts["a"].Measure(busy(95))
		began := time.Now()
		over := verdict(c.Wait(10*time.Second, "pending", inState(otto.RequirementPending))).Since
		v := verdict(c.Wait(time.Minute, "violated", inState(otto.RequirementViolated)))
		if lasted := v.Violated.Sub(over); lasted < long || lasted > long+10*time.Millisecond {
			t.Errorf("violated %s after it was over its limit", lasted)
		}
		if took := time.Since(began); took < 20*time.Second || took > 28*time.Second {
			t.Errorf("violated after %s, 20 s and at most one interval are right", took)
		}
		if v.Instance != "web" || v.Node != "a" || *v.Value != 95 || *v.Margin != -15 || !v.Acts() {
			t.Errorf("got %+v", v)
		}
		if want := "node.cpu is 95% and should be < 80%"; v.Reason != want {
			t.Errorf("because %q, want %q", v.Reason, want)
		}
		c.Hosts["a"].Measure(busy(10))
		c.Wait(10*time.Second, "clearing", inState(otto.RequirementClearing))
		c.Wait(30*time.Second, "ok again", inState(otto.RequirementOK))
		if diff := cmp.Diff([]string{"requirement-violated", "requirement-met"}, told(c)); diff != "" {
			t.Error(diff)
		}
		if on := c.Running("web"); !slices.Equal(on, []string{"a"}) {
			t.Errorf("it runs on %v: an event is all that was asked for", on)
		}
	})
}

func TestSilentNodeViolatesNothing(t *testing.T) {
	web := movable("web", "a")
	web.Failover = otto.FailoverStay
	web.Requirements = []otto.Requirement{required("node.cpu", 80, otto.ActionEvent)}
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		c.Hosts["a"].Measure(busy(95))
		c.Wait(10*time.Second, "pending", inState(otto.RequirementPending))
		c.Cut("a")
		c.Wait(time.Minute, "unknown", inState(otto.RequirementUnknown))
		for end := time.Now().Add(time.Hour); time.Now().Before(end); time.Sleep(time.Second) {
			if v := verdict(c.Plane.Cluster()); v.State != otto.RequirementUnknown || v.Value != nil {
				t.Fatalf("without data: %+v", v)
			}
		}
		c.Heal("a")
		healed := time.Now()
		c.Wait(2*time.Minute, "violated by new data", inState(otto.RequirementViolated))
		if took := time.Since(healed); took < 20*time.Second {
			t.Errorf("violated %s after the node was back", took)
		}
	})
}

func TestNodesAndTheWholeClusterHaveRequirements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web", "db")
		c.StartPlane()
		defer c.Close()
		w := wanted(service("web", "a"), service("db", "b"))
		w.Nodes[0].Requirements = []otto.Requirement{required("node.cpu", 80, otto.ActionCordon)}
		w.Requirements = []otto.Requirement{
			required("node.heartbeat", 5, otto.ActionEvent), required("node.clock", 1, otto.ActionEvent), required("cpu", 90, otto.ActionEvent), required("memory", 50, otto.ActionEvent),
		}
		apply(t, c, w)
		v := c.Wait(time.Minute, "all judged", func(v *otto.Cluster) bool {
			for _, n := range v.Nodes {
				for _, verdict := range n.Verdicts {
					if verdict.State != otto.RequirementOK {
						return false
					}
				}
			}
			memory := func(s otto.ServiceStatus) bool {
				return len(s.Verdicts) == 2 && s.Verdicts[1].State == otto.RequirementOK
			}
			return len(v.Nodes[1].Verdicts) == 2 && memory(v.Services[0]) && memory(v.Services[1])
		})
		if n := len(v.Nodes[0].Verdicts); n != 3 {
			t.Errorf("%d verdicts on a, want its own and two of all nodes", n)
		}
		if v := v.Services[0].Verdicts[0]; v.State != otto.RequirementUnknown {
			t.Errorf("the share of a node with an unknown number of cores is %v", *v.Value)
		}
	})
}

func TestSilenceAndClocksOfNodesAreJudged(t *testing.T) {
	inThree(t, nil, func(t *testing.T, c *ottotest.Cluster) {
		w := three()
		w.Requirements = []otto.Requirement{required("node.heartbeat", 5, otto.ActionEvent), required("node.clock", 1, otto.ActionEvent)}
		apply(t, c, w)
		// states are those of silence and clock, on a, b and c.
		states := func(want ...otto.RequirementState) func(*otto.Cluster) bool {
			return func(v *otto.Cluster) bool {
				var got []otto.RequirementState
				for _, n := range v.Nodes {
					for _, of := range n.Verdicts {
						got = append(got, of.State)
					}
				}
				return slices.Equal(want, got)
			}
		}
		const ok, violated, unknown = otto.RequirementOK, otto.RequirementViolated, otto.RequirementUnknown
		c.Wait(time.Minute, "all are well", states(ok, ok, ok, ok, ok, ok))
		c.Hosts["a"].SetSkew(-3 * time.Second)
		cut := time.Now()
		c.Cut("c")
		v := c.Wait(time.Minute, "a's clock and c's silence", states(ok, violated, ok, ok, violated, unknown))
		silent := time.Since(cut).Seconds()
		if clock := *v.Nodes[0].Verdicts[1].Value; clock < 2.9 || clock > 3.1 {
			t.Errorf("a clock that is 3 s late is off by %v", clock)
		}
		if heard := *v.Nodes[2].Verdicts[0].Value; heard < silent-1 || heard > silent+1 || silent < 25 {
			t.Errorf("after %v s of silence it was heard %v s ago", silent, heard)
		}
		if heard := *v.Nodes[0].Verdicts[0].Value; heard > 1 {
			t.Errorf("one that speaks was heard %v s ago", heard)
		}
		c.Hosts["a"].SetSkew(0)
		c.Heal("c")
		c.Wait(time.Minute, "all are well again", states(ok, ok, ok, ok, ok, ok))
		if diff := cmp.Diff([]string{"requirement-violated", "requirement-violated", "requirement-met", "requirement-met"}, told(c)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestCPUWithoutALimitIsAShareOfTheNode(t *testing.T) {
	web, db := movable("web", "a"), movable("db", "a")
	web.Requirements = []otto.Requirement{required("cpu", 20, otto.ActionEvent)}
	db.Requirements, db.Spec.Resources.CPU = web.Requirements, 2
	prepare := func(_ *testing.T, c *ottotest.Cluster) { c.Hosts["a"].CPUs = 4 }
	inThreeWith(t, []otto.Service{web, db}, prepare, func(t *testing.T, c *ottotest.Cluster) {
		c.Hosts["a"].Measure(func(_ *otto.NodeSample, list []otto.ContainerSample) {
			for i := range list {
				list[i].CPUPercent = 100 // one core
			}
		})
		v := c.Wait(time.Minute, "violated", inState(otto.RequirementViolated))
		if web, db := *v.Services[0].Verdicts[0].Value, *v.Services[1].Verdicts[0].Value; web != 25 || db != 50 {
			t.Errorf("one core is %v%% of the node's four, and %v%% of a limit of two", web, db)
		}
	})
}

func TestRestartsAreCounted(t *testing.T) {
	web := movable("web", "a")
	r := required("restarts", 3, otto.ActionEvent)
	r.Aggregate, r.Over, r.For = otto.AggregateCount, 10*time.Minute, 0
	web.Requirements = []otto.Requirement{r}
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		for i := range 3 {
			c.Wait(10*time.Second, "ok", inState(otto.RequirementOK))
			if got := *verdict(c.Plane.Cluster()).Value; got != float64(i) {
				t.Errorf("after %d restarts: %v", i, got)
			}
			c.Hosts["a"].Runtime.Exit("web", 1)
			time.Sleep(12 * time.Second)
		}
		c.Wait(time.Minute, "violated", func(v *otto.Cluster) bool { return verdict(v).Standing() })
	})
}

// TestOOMKillsAreCounted has the agent start anew in between, with which its own
// count begins anew.
func TestOOMKillsAreCounted(t *testing.T) {
	web := movable("web", "a")
	r := required("oom_kills", 3, otto.ActionEvent)
	r.Aggregate, r.Over, r.For = otto.AggregateCount, 10*time.Minute, 0
	web.Requirements = []otto.Requirement{r}
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		for i := range 3 {
			c.Wait(10*time.Second, "ok", inState(otto.RequirementOK))
			if got := *verdict(c.Plane.Cluster()).Value; got != float64(i) {
				t.Errorf("after %d kills: %v", i, got)
			}
			c.Hosts["a"].Runtime.RunOut("web")
			time.Sleep(12 * time.Second)
			if i == 1 {
				c.KillAgent("a")
				if err := c.StartAgent("a"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(12 * time.Second)
			}
		}
		c.Wait(time.Minute, "violated", func(v *otto.Cluster) bool { return verdict(v).Standing() })
	})
}

func TestApplicationsPublishWhatIsRequired(t *testing.T) {
	web := movable("web", "a")
	web.Requirements = []otto.Requirement{required("mqtt:shop/queue#.length", 100, otto.ActionNotify)}
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		if diff := cmp.Diff([]string{"shop/queue"}, c.Plane.MetricTopics()); diff != "" {
			t.Fatal(diff)
		}
		heard := make(chan string, 10)
		listener := c.Bus.Client("listener")
		listener.Subscribe("otto/requirements/#", func(topic string, payload []byte) { heard <- topic + " " + string(payload) })
		go func() { _ = listener.Run(t.Context()) }()
		say := func(payload string, times int) {
			for range times {
				c.Bus.Inject("shop/queue", false, []byte(payload))
				time.Sleep(time.Second)
			}
		}
		say(`{"length": 5}`, 5)
		c.Wait(5*time.Second, "ok", inState(otto.RequirementOK))
		c.Bus.Inject("shop/queue", false, []byte(strings.Repeat("x", 70<<10)))
		say(`{"depth": 500}`, 3)
		say("not JSON", 3)
		if v := verdict(c.Plane.Cluster()); v.State != otto.RequirementOK || *v.Value != 5 {
			t.Errorf("by messages without the number: %+v", v)
		}
		say(`{"length": 500}`, 25)
		c.Wait(5*time.Second, "violated", inState(otto.RequirementViolated))
		message := <-heard
		topic, payload, _ := strings.Cut(message, " ")
		var got otto.Verdict
		if err := json.Unmarshal([]byte(payload), &got); err != nil || topic != "otto/requirements/services/web" || got.State != otto.RequirementViolated || *got.Value != 500 {
			t.Errorf("got %s, %v", message, err)
		}
		c.Wait(2*time.Minute, "unknown without messages", inState(otto.RequirementUnknown))
	})
}

func TestViolationThatIsNoLongerRequiredIsSaidToBe(t *testing.T) {
	web := movable("web", "a")
	web.Requirements = []otto.Requirement{required("node.cpu", 80, otto.ActionEvent)}
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		c.Hosts["a"].Measure(busy(95))
		violated := verdict(c.Wait(time.Minute, "violated", inState(otto.RequirementViolated)))
		more := web
		more.Requirements = append(slices.Clone(web.Requirements), required("node.disk", 90, otto.ActionEvent))
		apply(t, c, three(more))
		if v := verdict(c.Wait(5*time.Second, "judged anew", func(v *otto.Cluster) bool { return len(v.Services[0].Verdicts) == 2 })); !v.Violated.Equal(violated.Violated) {
			t.Errorf("another requirement has changed this one: %+v", v)
		}
		apply(t, c, three(movable("web", "a")))
		if diff := cmp.Diff([]string{"requirement-violated", "requirement-dropped"}, told(c)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestViolationIsAsOldAfterARestart kills the control plane while a violation
// stands. It is not told again, is as old as it was told to be, and is acted upon no
// sooner than it has been measured for its time.
func TestViolationIsAsOldAfterARestart(t *testing.T) {
	web := movable("web", "a")
	web.Requirements = []otto.Requirement{required("node.cpu", 80, otto.ActionMigrate)}
	w := three(web)
	w.Decisions.Mode = otto.DecideAdvise
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, w)
		c.Hosts["a"].Measure(busy(95))
		before := verdict(c.Wait(time.Minute, "violated", inState(otto.RequirementViolated)))
		time.Sleep(10 * time.Minute)
		restart := func() {
			c.KillPlane()
			c.StartPlane()
		}
		restart()
		began := time.Now()
		if v := verdict(c.Wait(time.Minute, "pending again", inState(otto.RequirementPending))); !v.Standing() || v.Acts() {
			t.Errorf("before it is measured for its time: %+v", v)
		}
		after := verdict(c.Wait(time.Minute, "violated again", inState(otto.RequirementViolated)))
		if took := time.Since(began); took < 20*time.Second || !after.Violated.Equal(before.Violated) {
			t.Errorf("violated %s after the start, since %s and not %s", took, after.Violated, before.Violated)
		}
		if kinds := told(c); len(kinds) > 0 { // the journal is new
			t.Errorf("told again: %v", kinds)
		}
		c.Hosts["a"].Measure(busy(10))
		restart()
		c.Wait(time.Minute, "ok", inState(otto.RequirementOK))
		if diff := cmp.Diff([]string{"requirement-met"}, told(c)); diff != "" {
			t.Error(diff)
		}
		restart()
		time.Sleep(time.Minute)
		if v := verdict(c.Plane.Cluster()); v.Standing() || len(told(c)) > 0 {
			t.Errorf("after its end: %+v, %v", v, told(c))
		}
	})
}

// TestNotifyRunsCommandsAndWebhooks is in real time: there are processes.
func TestNotifyRunsCommandsAndWebhooks(t *testing.T) {
	posted := make(chan otto.Verdict, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var v otto.Verdict
		if err := json.NewDecoder(r.Body).Decode(&v); err != nil || r.Method != http.MethodPost {
			t.Errorf("%s: %v", r.Method, err)
		}
		select {
		case posted <- v:
		default:
		}
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "verdict.json")
	r := required("node.cpu", 1, otto.ActionEvent) // 7 % are measured
	r.For = 0
	r.Notify = &otto.Notify{Webhook: server.URL, Command: []string{"tee", file}}
	web := service("web", "a")
	web.Requirements = []otto.Requirement{r}
	c := ottotest.NewCluster(t, []string{"a", "b"}, "web", "db")
	c.StartPlane()
	defer c.Close()
	w := wanted(web)
	w.Interval = 500 * time.Millisecond
	apply(t, c, w)
	if v := <-posted; v.Service != "web" || v.State != otto.RequirementViolated || v.Requirement.Notify != nil {
		t.Errorf("posted %+v", v)
	}
	c.Wait(20*time.Second, "written", func(*otto.Cluster) bool {
		b, err := os.ReadFile(file)
		return err == nil && json.Valid(b)
	})
}

func TestLatencyAndAvailabilityAreWhatProbesFind(t *testing.T) {
	web := probed(movable("web", "a"))
	web.Failover = otto.FailoverStay
	web.Probe.Interval = time.Second
	web.Probe.Timeout = time.Second
	slow := required("latency", 0.15, otto.ActionMigrate)
	slow.Aggregate, slow.Over = "p95", 30*time.Second
	there := otto.Requirement{
		Metric: "availability", Aggregate: "avg", Over: time.Minute, Operator: ">=", Limit: 90, Unit: "%", Clear: 91, For: 10 * time.Second, Action: otto.ActionEvent,
	}
	web.Requirements = []otto.Requirement{slow, there}
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		engine := c.Hosts["a"].Runtime
		c.Wait(time.Minute, "quick and there", func(v *otto.Cluster) bool {
			list := v.Services[0].Verdicts
			return list[0].State == otto.RequirementOK && list[1].State == otto.RequirementOK && *list[1].Value == 100
		})
		engine.SetExecTime(200 * time.Millisecond)
		v := verdict(c.Wait(2*time.Minute, "slow", inState(otto.RequirementViolated)))
		if *v.Value < 0.19 || *v.Value > 0.21 {
			t.Errorf("p95 is %v s, 0.2 is right", *v.Value)
		}
		engine.SetExecTime(10 * time.Millisecond)
		c.Wait(2*time.Minute, "quick again", inState(otto.RequirementOK))
		engine.SetSick("web", "no answer")
		v = c.Wait(3*time.Minute, "not there", func(v *otto.Cluster) bool { return v.Services[0].Verdicts[1].Acts() }).Services[0].Verdicts[1]
		if *v.Value >= 90 || *v.Margin >= 0 {
			t.Errorf("got %v %%", *v.Value)
		}
	})
}

func TestServiceThatIsDownIsNotAvailable(t *testing.T) {
	web := probed(movable("web", "a"))
	web.Failover = otto.FailoverStay
	web.Spec.Restart = "no"
	web.Requirements = []otto.Requirement{{
		Metric: "availability", Aggregate: "avg", Over: time.Minute, Operator: ">=", Limit: 50, Unit: "%", Clear: 55, For: 10 * time.Second, Action: otto.ActionEvent,
	}}
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		c.Wait(time.Minute, "there", inState(otto.RequirementOK))
		c.Hosts["a"].Runtime.Exit("web", 1)
		c.Wait(2*time.Minute, "not there", inState(otto.RequirementViolated))
	})
}
