package control_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// demanding is a service that requires a calm node.
func demanding(action string) otto.Service {
	s := movable("web", "a")
	s.Requirements = []otto.Requirement{required("node.cpu", 70, action)}
	s.Requirements[0].For = 10 * time.Second
	return s
}

// cpuIs has nodes measure a CPU, and the containers take a tenth of a core.
func cpuIs(c *ottotest.Cluster, percent map[string]float64) {
	for id, p := range percent {
		c.Hosts[id].Measure(func(n *otto.NodeSample, list []otto.ContainerSample) {
			n.CPUPercent = p
			for i := range list {
				list[i].CPUPercent, list[i].MemoryUsed = 10, 10<<20
			}
		})
	}
}

// happened are the events of these kinds, with their messages.
func happened(c *ottotest.Cluster, kinds ...string) (messages []string) {
	list, _ := c.Plane.Events(0)
	for _, e := range list {
		if slices.Contains(kinds, e.Kind) {
			messages = append(messages, e.Message)
		}
	}
	return messages
}

// alone waits until an instance runs on one host, and on no other, and what is said of that
// has arrived.
func alone(t *testing.T, c *ottotest.Cluster, instance, host string, within time.Duration) {
	t.Helper()
	c.Wait(within, instance+" alone on "+host, func(*otto.Cluster) bool {
		return slices.Equal(c.Running(instance), []string{host})
	})
	synctest.Wait()
}

func TestServiceMovesToTheNodeThatIsCalm(t *testing.T) {
	inThree(t, []otto.Service{demanding(otto.ActionMigrate)}, func(t *testing.T, c *ottotest.Cluster) {
		cpuIs(c, map[string]float64{"a": 5, "b": 80, "c": 5})
		time.Sleep(10 * time.Second)
		stop := c.NeverAway("web")
		began := time.Now()
		cpuIs(c, map[string]float64{"a": 95})
		c.Wait(time.Minute, "on its way", func(*otto.Cluster) bool { return slices.Contains(c.Running("web"), "c") })
		if took := time.Since(began); took > 13*time.Second {
			t.Errorf("it began after %s: 10 s, an interval and 2 s are right", took)
		}
		alone(t, c, "web", "c", 10*time.Second)
		stop()
		begun, done := happened(c, "service-moving"), happened(c, "service-moved")
		if len(begun) != 1 || !strings.HasPrefix(begun[0], "web goes from a to c: node.cpu is 95% and should be < 70% (required: node.cpu < 70% for 10s -> migrate); "+
			"foreseen there for web: node.cpu < 70% for 10s -> migrate, ") || !strings.Contains(begun[0], "foreseen outage: 0s; it costs ") {
			t.Errorf("it was told as %q", begun)
		}
		if len(done) != 1 || !strings.HasPrefix(done[0], "web has moved from a to c in ") || !strings.Contains(done[0], "outage: 0s (required: node.cpu < 70%") {
			t.Errorf("its end was told as %q", done)
		}
		c.Wait(2*time.Minute, "found to have helped", func(*otto.Cluster) bool { return len(happened(c, "decision-helped")) == 1 })

		cpuIs(c, map[string]float64{"a": 5, "b": 5}) // the load ends, and nothing flaps
		time.Sleep(time.Hour)
		if moves := happened(c, "service-moving"); len(moves) != 1 || !slices.Equal(c.Running("web"), []string{"c"}) {
			t.Errorf("afterwards it is on %v: %q", c.Running("web"), moves)
		}
	})
}

// TestWhatLeavesANodeIsNotSentBackSoSoon drains the node that a service has moved to.
func TestWhatLeavesANodeIsNotSentBackSoSoon(t *testing.T) {
	inThree(t, []otto.Service{demanding(otto.ActionMigrate)}, func(t *testing.T, c *ottotest.Cluster) {
		cpuIs(c, map[string]float64{"a": 95, "b": 50, "c": 5})
		c.Wait(2*time.Minute, "moved", func(*otto.Cluster) bool { return len(happened(c, "service-moved")) == 1 })
		cpuIs(c, map[string]float64{"a": 5})
		time.Sleep(2 * time.Minute)
		e, err := c.Plane.ExplainService(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		refused := e.Service.Instances[0].Refusals
		if len(refused) != 1 || refused[0].Node != "a" || refused[0].Filter != "ban" || !strings.Contains(refused[0].Reason, "has left it lately") {
			t.Errorf("refused by %+v", refused)
		}
		if err := c.Plane.Intend(t.Context(), "c", otto.Intent{Cordoned: true, Draining: true}); err != nil {
			t.Fatal(err)
		}
		alone(t, c, "web", "b", time.Minute)
	})
}

func TestLoadThatFollowsEverywhereEndsTheMoves(t *testing.T) {
	t.Parallel() // it takes long
	inThree(t, []otto.Service{demanding(otto.ActionMigrate)}, func(t *testing.T, c *ottotest.Cluster) {
		cpuIs(c, map[string]float64{"a": 95, "b": 5, "c": 5})
		for end := time.Now().Add(time.Hour); time.Now().Before(end); time.Sleep(time.Second) {
			for _, host := range c.Running("web") { // wherever it goes it is busy, and stays so
				cpuIs(c, map[string]float64{host: 95})
			}
		}
		moves := happened(c, "service-moving")
		if len(moves) != 2 {
			t.Errorf("%d moves, and there are two nodes to try: %q", len(moves), moves)
		}
		if useless := happened(c, "decision-useless"); len(useless) != 2 {
			t.Errorf("that they did not help is told as %q", useless)
		}
		stuck := happened(c, "decision-stuck")
		if len(stuck) != 1 || !strings.Contains(stuck[0], "it would be no better anywhere: a: its node.cpu would be") {
			t.Errorf("that nothing can be done is told as %q", stuck)
		}
		was := c.Running("web")
		cpuIs(c, map[string]float64{"a": 5, "b": 5, "c": 5})
		time.Sleep(time.Hour)
		if now := c.Running("web"); !slices.Equal(was, now) || len(happened(c, "service-moving")) != 2 {
			t.Errorf("when it was over it went from %v to %v", was, now)
		}
	})
}

// TestThatNothingHelpsIsToldOnce has two services take most of a node by turns, while
// neither has a better place.
func TestThatNothingHelpsIsToldOnce(t *testing.T) {
	inThree(t, []otto.Service{movable("web", "a"), movable("db", "a")}, func(t *testing.T, c *ottotest.Cluster) {
		next := three(movable("web", "a"), movable("db", "a"))
		next.Requirements = []otto.Requirement{required("node.cpu", 70, otto.ActionMigrate)}
		if _, err := c.Plane.Apply(t.Context(), next, c.Plane.Cluster().Revision, false); err != nil {
			t.Fatal(err)
		}
		cpuIs(c, map[string]float64{"b": 65, "c": 65})
		busy := map[string]float64{"web": 90, "db": 40}
		for range 30 {
			busy["web"], busy["db"] = busy["db"], busy["web"]
			now := maps.Clone(busy)
			c.Hosts["a"].Measure(func(n *otto.NodeSample, list []otto.ContainerSample) {
				n.CPUPercent = 95
				for i := range list {
					list[i].CPUPercent = now[list[i].Name]
				}
			})
			time.Sleep(20 * time.Second)
		}
		if stuck := happened(c, "decision-stuck"); len(stuck) != 1 {
			t.Errorf("it is told %d times: %q", len(stuck), stuck)
		}
	})
}

func TestAdviceWaitsForAPerson(t *testing.T) {
	web := demanding(otto.ActionMigrate)
	web.Decisions = otto.DecideAdvise
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		cpuIs(c, map[string]float64{"a": 95, "b": 50, "c": 5})
		c.Wait(time.Minute, "advised", func(*otto.Cluster) bool { return len(happened(c, "decision-advised")) == 1 })
		time.Sleep(10 * time.Minute)
		if on := c.Running("web"); !slices.Equal(on, []string{"a"}) || len(happened(c, "decision-advised")) != 1 {
			t.Fatalf("it is on %v, advised %q", on, happened(c, "decision-advised"))
		}
		e, err := c.Plane.ExplainService(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		x := e.Service.Instances[0]
		if len(x.Verdicts) != 1 || len(x.Decisions) != 1 || x.Decisions[0].Outcome != otto.OutcomeAdvise || x.Decisions[0].To != "c" {
			t.Errorf("explained as %+v, %+v", x.Verdicts, x.Decisions)
		}
		if n, err := c.Plane.ExplainNode(t.Context(), "a"); err != nil || len(n.Node.Decisions) != 1 {
			t.Errorf("of its node: %+v, %v", n.Node.Decisions, err)
		}
		d, err := c.Plane.Move(otto.WithBy(t.Context(), "me"), "web", "", true)
		if err != nil || d.To != "c" {
			t.Fatalf("%+v, %v", d, err)
		}
		alone(t, c, "web", "c", 20*time.Second)
		if _, err := c.Plane.Move(t.Context(), "web", "", true); err == nil || !strings.Contains(err.Error(), "no move of web is advised now") {
			t.Errorf("again: %v", err)
		}
	})
}

func TestPersonMovesAService(t *testing.T) {
	inThree(t, []otto.Service{movable("web", "a"), disposable("db", "a")}, func(t *testing.T, c *ottotest.Cluster) {
		stop := c.NeverAway("web")
		for _, service := range []string{"web", "db"} {
			if _, err := c.Plane.Move(t.Context(), service, "b", false); err != nil {
				t.Fatal(err)
			}
			alone(t, c, service, "b", 30*time.Second)
		}
		stop()
		c.WaitUp(10 * time.Second)
		if done := happened(c, "service-moved"); len(done) != 2 || !strings.Contains(done[0], "outage: 0s") || strings.Contains(done[1], "outage: 0s") {
			t.Errorf("told as %q", done)
		}
		for name, want := range map[string]string{"web": "on b already", "x": "no service"} {
			if _, err := c.Plane.Move(t.Context(), name, "b", false); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		time.Sleep(10 * time.Minute)
		if on := slices.Concat(c.Running("web"), c.Running("db")); !slices.Equal(on, []string{"b", "b"}) {
			t.Errorf("later they are on %v", on)
		}
	})
}

// TestMoveTellsWhatItFetchesAndLearnsHowLong takes the image away before each move.
func TestMoveTellsWhatItFetchesAndLearnsHowLong(t *testing.T) {
	db := disposable("db", "a")
	inThreeWith(t, []otto.Service{db}, func(_ *testing.T, c *ottotest.Cluster) {
		c.Hosts["b"].Runtime.Registry, c.Hosts["b"].Runtime.PullTime = true, 12*time.Second
	}, func(t *testing.T, c *ottotest.Cluster) {
		var outages []time.Duration
		for range 2 {
			c.Hosts["b"].Runtime.RemoveImage(db.Spec.Image)
			time.Sleep(10 * time.Minute) // until its agent has noticed
			there, err := c.Plane.Move(t.Context(), "db", "b", false)
			if err != nil || there.Bytes != ottotest.ImageBytes {
				t.Fatalf("%+v, %v", there, err)
			}
			outages = append(outages, there.Outage)
			alone(t, c, "db", "b", time.Minute)
			time.Sleep(time.Minute)
			back, err := c.Plane.Move(t.Context(), "db", "a", false)
			if err != nil || back.Bytes != 0 {
				t.Fatalf("%+v, %v", back, err)
			}
			alone(t, c, "db", "a", time.Minute)
			time.Sleep(time.Minute)
		}
		if outages[0] != 32*time.Second || outages[1] > 20*time.Second || outages[1] < 12*time.Second {
			t.Errorf("foreseen were outages of %s", outages)
		}
		if told := happened(c, "service-moving"); len(told) != 4 || !strings.HasSuffix(told[0], ", about 120 MiB to fetch") && !strings.Contains(told[0], ", about 120 MiB to fetch;") || strings.Contains(told[1], "fetch") {
			t.Errorf("told as %q", told)
		}
	})
}

func TestMoveThatFailsGoesBack(t *testing.T) {
	t.Parallel() // it takes long
	inThree(t, []otto.Service{demanding(otto.ActionMigrate)}, func(t *testing.T, c *ottotest.Cluster) {
		stop := c.NeverAway("web")
		defer stop()
		c.Hosts["b"].Runtime.AddForeign("web") // its name is taken there
		cpuIs(c, map[string]float64{"a": 95, "b": 5, "c": 99})
		c.Wait(5*time.Minute, "gone back", func(*otto.Cluster) bool { return len(happened(c, "service-move-failed")) == 1 })
		alone(t, c, "web", "a", 10*time.Second)
		c.WaitUp(10 * time.Second)
		time.Sleep(20 * time.Minute)
		if moves := happened(c, "service-moving"); len(moves) != 1 {
			t.Errorf("it has tried %d times: %q", len(moves), moves)
		}
	})
}

// TestMoveSurvivesTheControlPlane kills the control plane at each write of a move.
func TestMoveSurvivesTheControlPlane(t *testing.T) {
	t.Parallel() // it takes long
	for _, service := range []otto.Service{demanding(otto.ActionMigrate), func() otto.Service {
		s := disposable("web", "a")
		s.Requirements = demanding(otto.ActionMigrate).Requirements
		return s
	}()} {
		for after := time.Duration(0); after < 6*time.Second; after += 1100 * time.Millisecond {
			inThree(t, []otto.Service{service}, func(t *testing.T, c *ottotest.Cluster) {
				cpuIs(c, map[string]float64{"a": 95, "b": 5, "c": 99})
				c.Wait(2*time.Minute, "on its way", func(*otto.Cluster) bool { return len(happened(c, "service-moving")) == 1 })
				time.Sleep(after)
				c.KillPlane()
				c.StartPlane()
				alone(t, c, "web", "b", time.Minute)
				c.WaitUp(time.Minute)
				time.Sleep(3 * time.Minute)
				if on := c.Running("web"); !slices.Equal(on, []string{"b"}) {
					t.Errorf("killed after %s: it is on %v", after, on)
				}
			})
		}
	}
}

func TestTargetThatDiesIsLeft(t *testing.T) {
	inThree(t, []otto.Service{demanding(otto.ActionMigrate)}, func(t *testing.T, c *ottotest.Cluster) {
		stop := c.NeverAway("web")
		defer stop()
		c.Hosts["b"].Runtime.SetDown("it hangs")
		cpuIs(c, map[string]float64{"a": 95, "b": 5, "c": 99})
		time.Sleep(15 * time.Second)
		c.Hosts["b"].Runtime.SetDown("")
		c.Wait(2*time.Minute, "on its way", func(*otto.Cluster) bool { return len(happened(c, "service-moving")) == 1 })
		c.PowerOff("b")
		c.Wait(5*time.Minute, "told", func(*otto.Cluster) bool {
			return len(happened(c, "service-move-failed"))+len(happened(c, "service-moved")) == 1
		})
	})
}

func TestRestartComesBeforeAMoveAndIsJudged(t *testing.T) {
	web := movable("web", "a")
	r := required("mqtt:shop/queue#.length", 100, otto.ActionRestart)
	m := r
	m.Action = otto.ActionMigrate
	web.Requirements = []otto.Requirement{r, m}
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		cpuIs(c, map[string]float64{"a": 5, "b": 5, "c": 5})
		length := `{"length": 500}`
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Second):
					c.Bus.Inject("shop/queue", false, []byte(length))
				}
			}
		}()
		defer close(stop)
		before := c.Hosts["a"].Runtime.Starts("web")
		c.Wait(5*time.Minute, "restarted", func(*otto.Cluster) bool { return len(happened(c, "service-restarted")) == 1 })
		if n := c.Hosts["a"].Runtime.Starts("web") - before; n != 1 || !slices.Equal(c.Running("web"), []string{"a"}) {
			t.Errorf("started %d times, on %v", n, c.Running("web"))
		}
		c.WaitUp(10 * time.Second)
		c.Wait(10*time.Minute, "found useless", func(*otto.Cluster) bool { return len(happened(c, "decision-useless")) == 1 })
		c.Wait(20*time.Minute, "moved instead", func(*otto.Cluster) bool { return len(happened(c, "service-moved")) == 1 })
	})
}

func TestTemperatureMovesAndCordons(t *testing.T) {
	web := movable("web", "a")
	web.Requirements = []otto.Requirement{required("node.temperature", 75, otto.ActionMigrate)}
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		w := c.Plane.Cluster()
		next := three(web)
		for i := range next.Nodes {
			next.Nodes[i].Requirements = []otto.Requirement{required("node.temperature", 75, otto.ActionCordon)}
		}
		if _, err := c.Plane.Apply(t.Context(), next, w.Revision, false); err != nil {
			t.Fatal(err)
		}
		hot := func(id string, celsius float64) {
			c.Hosts[id].Measure(func(n *otto.NodeSample, list []otto.ContainerSample) {
				n.Temperature = &celsius
				for i := range list {
					list[i].CPUPercent = 10
				}
			})
		}
		hot("a", 82)
		hot("b", 50) // of c nothing is known, so it is no place to go to
		alone(t, c, "web", "b", 2*time.Minute)
		cordoned := func(want bool) func(*otto.Cluster) bool {
			return func(v *otto.Cluster) bool {
				return v.Nodes[0].Intent.Cordoned == want && (!want || v.Nodes[0].Intent.By == otto.ByOtto)
			}
		}
		c.Wait(time.Minute, "cordoned", cordoned(true))
		hot("a", 50)
		c.Wait(2*time.Minute, "uncordoned", cordoned(false))
		time.Sleep(time.Hour)
		if n := len(happened(c, "node-cordoned")); n != 1 {
			t.Errorf("cordoned %d times", n)
		}
	})
}

func TestLatencyAndNodesMoveServicesToo(t *testing.T) {
	web := movable("web", "a")
	web.Probe = &otto.Probe{Exec: []string{"check"}, Interval: time.Second}
	web.Requirements = []otto.Requirement{required("latency", 0.1, otto.ActionMigrate)}
	db := movable("db", "b")
	inThree(t, []otto.Service{web, db}, func(t *testing.T, c *ottotest.Cluster) {
		c.Hosts["a"].Runtime.SetExecTime(300 * time.Millisecond)
		c.Wait(2*time.Minute, "moved", func(*otto.Cluster) bool { return len(happened(c, "service-moved")) == 1 })
		c.Wait(2*time.Minute, "helped", func(*otto.Cluster) bool { return len(happened(c, "decision-helped")) == 1 })
		to := c.Running("web")[0]

		next := three(web, db)
		for i := range next.Nodes {
			next.Nodes[i].Requirements = []otto.Requirement{required("node.cpu", 70, otto.ActionMigrate)}
		}
		apply(t, c, next)
		time.Sleep(10 * time.Minute) // the move has cooled down
		c.Hosts["b"].Measure(func(n *otto.NodeSample, list []otto.ContainerSample) {
			n.CPUPercent = 75
			for i := range list {
				list[i].CPUPercent = 50
			}
		})
		c.Wait(2*time.Minute, "relieved", func(*otto.Cluster) bool { return len(happened(c, "service-moved")) == 2 })
		if told := happened(c, "service-moving")[1]; !strings.Contains(told, " goes from b to ") || !strings.Contains(told, " takes ") || !strings.Contains(told, "foreseen there for ") {
			t.Errorf("web was on %s: %q", to, told)
		}
	})
}

// TestServiceGoesWhereTheClockIsRight has a clock that is off either way be no place to go to.
func TestServiceGoesWhereTheClockIsRight(t *testing.T) {
	web := movable("web", "a")
	web.Requirements = []otto.Requirement{required("node.clock", 1, otto.ActionMigrate), required("node.heartbeat", 5, otto.ActionMigrate)}
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		c.Hosts["a"].SetSkew(3 * time.Second)
		c.Hosts["b"].SetSkew(-2 * time.Second)
		alone(t, c, "web", "c", 2*time.Minute)
		if told := happened(c, "service-moving"); len(told) != 1 || !strings.Contains(told[0], "node.clock is 3s and should be < 1s") {
			t.Errorf("it was told as %q", told)
		}
	})
}

func TestNodeThatComesBackIsOnlyAdvised(t *testing.T) {
	t.Parallel() // it takes long
	inThree(t, []otto.Service{service("web", "")}, func(t *testing.T, c *ottotest.Cluster) {
		cpuIs(c, map[string]float64{"a": 60, "b": 60, "c": 2})
		c.PowerOff("c")
		time.Sleep(2 * time.Hour)
		was := c.Running("web")
		if err := c.PowerOn("c", true); err != nil {
			t.Fatal(err)
		}
		onlyAdvised(t, c, was)
	})
}

// onlyAdvised expects that it is told that web would be better on c, once, and that it
// stays where it was.
func onlyAdvised(t *testing.T, c *ottotest.Cluster, was []string) {
	t.Helper()
	c.Wait(5*time.Minute, "advised", func(*otto.Cluster) bool { return len(happened(c, "decision-advised")) == 1 })
	if told := happened(c, "decision-advised")[0]; !strings.HasPrefix(told, "web would be better on c: c has come") {
		t.Errorf("advised as %q", told)
	}
	time.Sleep(time.Hour)
	if n := len(happened(c, "service-moving", "decision-advised")); n != 1 || !slices.Equal(was, c.Running("web")) {
		t.Errorf("%d moves and advices, and it is on %v", n, c.Running("web"))
	}
}

func TestNodeThatJoinsIsOnlyAdvised(t *testing.T) {
	t.Parallel() // it takes long
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b", "c"}, "web")
		defer c.Close()
		c.StartPlane()
		web := service("web", "")
		apply(t, c, wanted(web))
		c.WaitUp(20 * time.Second)
		cpuIs(c, map[string]float64{"a": 60, "b": 60, "c": 2})
		time.Sleep(time.Hour)
		was := c.Running("web")
		apply(t, c, three(web))
		onlyAdvised(t, c, was)
	})
}
