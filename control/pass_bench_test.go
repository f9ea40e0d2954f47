package control

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/wire"
)

// BenchmarkPass1000 is a pass of the control plane over 1,000 nodes with 20
// containers each, of 20,000 services or of 2,000 with ten replicas. A tenth of the
// services are stateful, a fifth have rules of placement and half have requirements
// of their own beside those for all services and nodes. The 20,000 services also as 4,000
// stacks of five, of which a tenth keeps data and a fifth has rules.
//
//	metrics   everything is due, and all nodes have sent metrics since the pass before
//	waiting   the same, while a thousand instances wait for a place in a full cluster
//	violated  the same, while a service's requirement is violated and nothing mends it
//	sample    what a node's metrics cost: they are taken in, and a pass follows
//	report    the same of a node's report of what runs
//	change    a service has another image, which is sent to its node
//	compare   what is wanted is compared with what was: it keeps nobody waiting
//	apply     all that the loop does for that command, the pass and the view included,
//	          but for writing to the store
//	view      what readers get, which is made apart from passes
func BenchmarkPass1000(b *testing.B) {
	for _, bb := range []struct {
		name               string
		services, replicas int
		stack              int // services in each; 0 for none
	}{{"services", 20_000, 1, 0}, {"replicas", 2_000, 10, 0}, {"stacks", 20_000, 1, 5}} {
		b.Run(bb.name, func(b *testing.B) {
			f := newFleet(b, stacked(fleetWanted(1000, bb.services, bb.replicas), bb.stack))
			f.benchmark(b, "metrics", func() { f.sampled(); f.due() }, f.pass)
			f.benchmark(b, "sample", func() {}, func() { f.sample("n7"); f.pass() })
			f.benchmark(b, "report", func() {}, func() { f.report("n7"); f.pass() })
			f.benchmark(b, "change", func() {
				f.reported()
				f.want(f.changed())
			}, f.pass)
			var w otto.Wanted
			var index *plan.Index
			f.benchmark(b, "compare", func() { w = f.changed() }, func() {
				plan.Diff(f.p.desired.Wanted, w)
				index = plan.NewIndex(w, f.p.index())
			})
			f.benchmark(b, "apply", func() {
				f.reported()
				f.sampled()
				w = f.changed()
				index = plan.NewIndex(w, f.p.index())
			}, func() {
				if err := f.p.want(f.p.ctx, w, index); err != nil {
					b.Fatal(err)
				}
			})
			f.benchmark(b, "view", f.reported, f.p.publishView)
			wanted := f.p.desired.Wanted
			f.fill(1000)
			f.benchmark(b, "waiting", func() { f.sampled(); f.due() }, f.pass)
			f.empty(wanted)
			f.busy = true
			for range 60 { // until it is violated
				f.sampled()
				f.due()
				f.pass()
			}
			if !f.p.calls() {
				b.Fatal("nothing is violated")
			}
			f.benchmark(b, "violated", func() { f.sampled(); f.due() }, f.pass)
		})
	}
}

// fill has all memory reserved, drains nodes that then nothing can leave, and wants more
// services, until this many instances wait.
func (f *fleet) fill(waiting int) {
	w := f.p.desired.Wanted
	w.Services = slices.Clone(w.Services)
	each := int64(8<<30) / 20
	for i := range w.Services {
		w.Services[i].Reserve.MemoryBytes = each
	}
	for i := range 100 {
		s := otto.Service{Name: fmt.Sprintf("more%d", i), Replicas: 1, Reserve: otto.Resources{MemoryBytes: each}}
		if i%10 == 0 {
			s.Reserve = otto.Resources{}
			s.Placement.Require = []otto.Expression{{Label: "zone", Op: otto.OpEqual, Values: []string{"z9"}}}
		}
		w.Services = append(w.Services, s)
	}
	f.want(w)
	f.p.desired.Intents = map[string]otto.Intent{}
	for drained := range slices.Chunk(w.Nodes, 10) {
		f.p.desired.Intents = maps.Clone(f.p.desired.Intents)
		for _, n := range drained {
			f.p.desired.Intents[n.ID] = otto.Intent{Draining: true}
		}
		if f.settle(); len(f.p.waiting) >= waiting {
			return
		}
	}
	f.tb.Fatal(fmt.Sprintf("%d instances wait", len(f.p.waiting)))
}

// empty undoes fill.
func (f *fleet) empty(was otto.Wanted) {
	f.p.desired.Intents = nil
	f.want(was)
	f.settle()
	if len(f.p.waiting) > 0 {
		f.tb.Fatal(fmt.Sprintf("%d instances wait", len(f.p.waiting)))
	}
}

// settle is what comes of a change.
func (f *fleet) settle() {
	f.p.dirty = true
	for range 3 {
		f.reported()
		f.sampled()
		f.due()
		f.pass()
	}
}

// fleet is a control plane with nodes that do as they are told.
type fleet struct {
	tb   interface{ Fatal(args ...any) }
	p    *Plane
	busy bool // a service takes more than it may
	// failing says that instances are reported to fail.
	failing bool
	now     time.Time
	seq     uint64
	told    map[string][]byte // the last assignment of each node
}

// Publish implements Conn.
func (f *fleet) Publish(_ context.Context, topic string, _ byte, _ bool, payload []byte) error {
	if id, kind, ok := wire.ParseNodeTopic(topic); ok && kind == wire.KindAssignment {
		f.told[id] = payload
	}
	return nil
}

// Subscribe implements Conn.
func (*fleet) Subscribe(string, func(string, []byte)) {}

// Get implements Store.
func (*fleet) Get(context.Context, string, any) (bool, error) { return false, nil }

// Put implements Store.
func (*fleet) Put(context.Context, string, any) error { return nil }

// Ensure implements Reach.
func (*fleet) Ensure(context.Context, otto.Node, wire.Enrolment, otto.Bringing) ([]string, error) {
	return nil, nil
}

// Stop implements Reach.
func (*fleet) Stop(context.Context, otto.Node, wire.Authority) error { return nil }

// Uninstall implements Reach.
func (*fleet) Uninstall(context.Context, otto.Node, wire.Authority, bool) error { return nil }

// Alive implements Reach.
func (*fleet) Alive(context.Context, otto.Node) otto.Sign {
	return otto.Sign{Reply: otto.ReplyProgram, Free: true}
}

// Through implements Reach.
func (*fleet) Through(context.Context, otto.Node, otto.Node) error { return nil }

// Address implements Reach.
func (*fleet) Address(otto.Node) string { return "" }

// newFleet returns one with everything placed, running and measured.
func newFleet(tb testing.TB, w otto.Wanted) *fleet {
	f, end := startFleet(tb, w)
	tb.Cleanup(end)
	return f
}

func startFleet(tb interface{ Fatal(args ...any) }, w otto.Wanted) (f *fleet, end func()) {
	f = &fleet{tb: tb, now: time.Now(), told: map[string][]byte{}}
	ctx, cancel := context.WithCancel(context.Background())
	p, err := New(ctx, Options{
		Name: "bench", Create: true, Store: f, Conn: f, Reach: f, Log: slog.New(slog.DiscardHandler),
		Broker: Broker{Ours: true},
	})
	if err != nil {
		tb.Fatal(err)
	}
	f.p, p.ctx = p, ctx
	f.want(w)
	for _, n := range p.desired.Wanted.Nodes {
		p.nodes[n.ID] = newNode(n)
	}
	p.started, p.watching, p.dirty = time.Now().Add(-time.Hour), time.Now().Add(-time.Hour), true
	for range 4 { // ready, placed, started, measured
		f.reported()
		f.sampled()
		f.due()
		f.pass()
	}
	f.reported()
	for range 70 { // until nodes count as stable
		f.sampled()
		f.pass()
	}
	running := 0 // a node may have none, where few stacks are spread over all of them
	for _, n := range p.nodes {
		if n.state != otto.NodeReady {
			tb.Fatal(fmt.Sprintf("node %s is %s", n.ID, n.state))
		}
		running += len(n.report.Instances)
	}
	if running < len(w.Services) {
		tb.Fatal(fmt.Sprintf("of %d services %d instances run", len(w.Services), running))
	}
	f.drain()
	return f, func() {
		cancel()
		close(p.ended)
		p.background.Wait()
	}
}

func fleetWanted(nodes, services, replicas int) otto.Wanted {
	below := func(metric, aggregate string, over time.Duration, action string) otto.Requirement {
		return otto.Requirement{Metric: metric, Aggregate: aggregate, Over: over, Operator: "<", Limit: 80, Clear: 72, Unit: "%", For: 10 * time.Second, Action: action}
	}
	w := otto.Wanted{Interval: time.Second, Requirements: []otto.Requirement{
		below("node.cpu", "avg", 30*time.Second, otto.ActionMigrate), below("memory", "last", 0, otto.ActionEvent),
	}}
	w.Health.Heartbeat = time.Second
	w.Decisions.Mode = otto.DecideAdvise // so that what is violated stays so
	for i := range nodes {
		w.Nodes = append(w.Nodes, otto.Node{ID: fmt.Sprintf("n%d", i), Host: fmt.Sprintf("h%d", i), Labels: map[string]string{"zone": fmt.Sprint("z", i%5)}})
	}
	for i := range services {
		s := otto.Service{
			Name: fmt.Sprintf("s%d", i), Replicas: replicas,
			Spec: otto.ContainerSpec{Image: "registry/app:1", Environment: map[string]string{"A": "1", "B": "2"}, Ports: []otto.Port{{Container: 80, Protocol: "tcp"}}},
		}
		switch {
		case i%10 == 0 && replicas == 1:
			s.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: s.Name, Target: "/data"}}
		case i%5 == 1:
			s.Placement.Require = []otto.Expression{{Label: "zone", Op: otto.OpNotEqual, Values: []string{"z4"}}}
		}
		if i%2 == 1 {
			s.Requirements = []otto.Requirement{below("cpu", "p95", 30*time.Second, otto.ActionMigrate)}
		}
		w.Services = append(w.Services, s)
	}
	return w
}

// stacked is what is wanted with each so many services as a stack. What one of ten services
// has, and one of five, has one of ten stacks, and one of five.
func stacked(w otto.Wanted, each int) otto.Wanted {
	if each == 0 {
		return w
	}
	for i := range w.Services {
		s, stack := &w.Services[i], i/each
		s.Unit = fmt.Sprint("k", stack)
		s.Name = s.Unit + "/" + s.Name
		s.Spec.Mounts, s.Placement.Require = nil, nil
		switch {
		case stack%10 == 0 && i%each == 0:
			s.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: s.Name, Target: "/data"}}
		case stack%5 == 1:
			s.Placement.Require = []otto.Expression{{Label: "zone", Op: otto.OpNotEqual, Values: []string{"z4"}}}
		}
	}
	return w
}

// pass is what the loop does after what it was told.
func (f *fleet) pass() {
	f.drain()
	f.p.pass(f.now)
}

// drain does what was posted to the loop.
func (f *fleet) drain() {
	for {
		select {
		case do := <-f.p.inbox:
			do()
		default:
			return
		}
	}
}

// due makes the next pass look at everything.
func (f *fleet) due() {
	f.p.again, f.p.required.evaluated, f.p.decisions.at = time.Time{}, time.Time{}, time.Time{}
}

// want makes w wanted, as Plane.want does, without a pass.
func (f *fleet) want(w otto.Wanted) {
	index := plan.NewIndex(w, f.p.index())
	f.p.desired = f.p.desired.with(w, f.p.index(), index)
	f.p.indexed, f.p.dirty = index, true
}

// changed is what is wanted with another image of one service.
func (f *fleet) changed() otto.Wanted {
	w := f.p.desired.Wanted
	w.Services = append([]otto.Service{}, w.Services...)
	f.seq++
	w.Services[len(w.Services)/2].Spec.Image = fmt.Sprintf("registry/app:%d", f.seq+1)
	return w
}

func (f *fleet) ingest(id string, kind wire.Kind, b []byte, err error) {
	if err != nil {
		f.tb.Fatal(err)
	}
	f.p.ingest(wire.NodeTopic(id, kind), b, f.now)
}

// reported has the nodes report that were told something since, or never did.
func (f *fleet) reported() {
	for id, n := range f.p.nodes {
		if n.report == nil || n.report.Revision != n.revision {
			f.report(id)
		}
	}
}

func (f *fleet) report(id string) {
	n := f.p.nodes[id]
	f.seq++
	boot := "boot-" + id
	if n.heard.IsZero() {
		b, err := wire.Encode(wire.Status{NodeID: id, Online: true, BootID: boot, Facts: otto.NodeFacts{CPUs: 4, MemoryBytes: 8 << 30, Arch: "arm64", Hostname: id}})
		f.ingest(id, wire.KindStatus, b, err)
	}
	f.beat(id)
	r := wire.Report{NodeID: id, BootID: boot, Seq: f.seq, Settled: true, Warrant: f.p.warrant, Volumes: []string{}, Instances: []otto.InstanceStatus{}}
	if told := f.told[id]; told != nil {
		a, err := wire.OpenAssignment(f.p.identity.publicKey(), f.p.identity.ClusterID, id, told)
		if err != nil {
			f.tb.Fatal(err)
		}
		r.Revision = a.Revision
		state := otto.InstanceRunning
		if f.failing {
			state = otto.InstanceFailed
		}
		for _, i := range a.Instances {
			r.Volumes = append(r.Volumes, i.Spec.Volumes()...)
			r.Instances = append(r.Instances, otto.InstanceStatus{
				Name: i.Name, Service: i.Service, State: state, Image: i.Spec.Image, ContainerID: container(i.Name),
				SpecHash: i.Spec.Hash(), Started: f.p.started,
			})
		}
	}
	b, err := wire.Encode(r)
	f.ingest(id, wire.KindInstances, b, err)
}

func container(instance string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(instance))) }

func (f *fleet) beat(id string) {
	b, err := wire.Encode(wire.Heartbeat{BootID: "boot-" + id, Seq: f.seq, UpMS: int64(f.seq)})
	f.ingest(id, wire.KindHeartbeat, b, err)
}

// sampled has all nodes send their metrics, a second after the last ones or later.
func (f *fleet) sampled() {
	f.now = latest(f.now.Add(time.Second), time.Now())
	for id := range f.p.nodes {
		f.sample(id)
	}
}

func (f *fleet) sample(id string) {
	f.beat(id)
	f.seq++
	b, err := wire.EncodeNodeSample(id, otto.NodeSample{
		Time: f.now, CPUPercent: 30 + float64(f.seq%7), MemoryUsed: 2 << 30, MemoryTotal: 8 << 30, DiskUsed: 1 << 34, DiskTotal: 1 << 36, Uptime: 1000,
	})
	f.ingest(id, wire.KindNodeMetrics, b, err)
	var list []otto.ContainerSample
	if r := f.p.nodes[id].report; r != nil {
		for _, i := range r.Instances {
			c := otto.ContainerSample{ID: i.ContainerID, Name: i.Name, CPUPercent: 5 + float64(f.seq%5), MemoryUsed: 50 << 20, MemoryLimit: 8 << 30}
			if f.busy && (i.Service == "s1" || i.Service == "k0/s1") {
				c.CPUPercent = 380
			}
			list = append(list, c)
		}
	}
	b, err = wire.EncodeContainerSamples(id, f.now, list)
	f.ingest(id, wire.KindContainerMetrics, b, err)
}

// benchmark measures do, without what has to be done before each time: by the wall,
// and in ms of CPU, which says more where others use the machine too.
func (f *fleet) benchmark(b *testing.B, name string, before, do func()) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		var cpu time.Duration
		for b.Loop() {
			b.StopTimer()
			before()
			f.drain()
			began := used(b)
			b.StartTimer()
			do()
			cpu += used(b) - began
		}
		b.ReportMetric(cpu.Seconds()*1000/float64(b.N), "cpu-ms/op")
	})
}

// used is the CPU time of this process, its garbage collection included.
func used(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
