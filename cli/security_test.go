package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/control"
	"github.com/otto-edge/otto/control/store"
	"github.com/otto-edge/otto/mqtt"
	"github.com/otto-edge/otto/mqtt/mqtttest"
	"github.com/otto-edge/otto/wire"
)

// guarded is a control plane with our broker, as production wires it, and two
// nodes that are enrolled but have no agents.
type guarded struct {
	dir      stateDir
	addr     string
	password string // of the control plane
	plane    *control.Plane

	installed func(node string)
	kick      func(user string, but []byte)

	mu       sync.Mutex
	enrolled map[string]wire.Enrolment
}

// Ensure implements control.Reach.
func (g *guarded) Ensure(_ context.Context, n otto.Node, e wire.Enrolment, _ otto.Bringing) ([]string, error) {
	g.mu.Lock()
	g.enrolled[n.ID] = e
	g.mu.Unlock()
	if g.installed != nil {
		g.installed(n.ID)
	}
	return nil, nil
}

func (g *guarded) Stop(context.Context, otto.Node, wire.Authority) error            { return nil }
func (g *guarded) Uninstall(context.Context, otto.Node, wire.Authority, bool) error { return nil }

// Alive and Address implement control.Reach.
func (g *guarded) Alive(context.Context, otto.Node) otto.Sign {
	return otto.Sign{Reply: otto.ReplyProgram, Free: true}
}
func (g *guarded) Through(context.Context, otto.Node, otto.Node) error { return nil }

func (g *guarded) Address(otto.Node) string { return "" }

func (g *guarded) enrolment(node string) (wire.Enrolment, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e, ok := g.enrolled[node]
	return e, ok
}

func guard(t *testing.T, viewer, viewerPassword string) *guarded {
	t.Helper()
	return guardAs(t, identity{viewer: viewer, viewerPassword: viewerPassword})
}

// identity is what an authorizer knows of people.
type identity struct {
	viewer, viewerPassword string
	local                  bool
	plain                  config.Plain
	clusterID              string            // drawn if empty
	stored                 map[string]any    // documents of a state that is there already
	installed              func(node string) // returns when the node's agent is installed
}

func guardAs(t *testing.T, who identity) *guarded {
	t.Helper()
	ctx := t.Context()
	log := slog.New(slog.DiscardHandler)
	g := &guarded{enrolled: map[string]wire.Enrolment{}, password: "of the control plane", installed: who.installed}
	g.dir = stateDir(t.TempDir())
	served, err := openStore(ctx, g.dir, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = served.Close() })
	nc, err := served.Conn()
	if err != nil {
		t.Fatal(err)
	}
	kept, err := store.Open(ctx, nc, true)
	if err != nil {
		t.Fatal(err)
	}
	for key, document := range who.stored {
		if err := kept.Put(ctx, key, document); err != nil {
			t.Fatal(err)
		}
	}
	conn := &lateConn{}
	plane, err := control.New(ctx, control.Options{
		Name:    "guarded",
		Store:   kept,
		Create:  who.stored == nil,
		KnownID: who.clusterID,
		Conn:    conn,
		Reach:   g,
		Log:     log,
		Broker:  control.Broker{Ours: true},
		Kick:    served.Disconnect,
		Refused: func() []otto.Refused { return refused(served.Complaints()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	g.plane, g.kick = plane, served.Disconnect
	auth := &authorizer{
		plane:          plane,
		log:            log,
		password:       g.password,
		viewer:         who.viewer,
		viewerPassword: who.viewerPassword,
		local:          who.local,
	}
	settings := controlFile{MQTT: config.MQTT{Plain: who.plain}}
	if err := serveMQTT(ctx, served, g.dir, settings, brokerPlan{listen: "127.0.0.1:0"}, auth); err != nil {
		t.Fatal(err)
	}
	g.addr = served.Addr()
	options, err := clientOptions(plane, settings.MQTT, brokerPlan{listen: g.addr, dial: g.addr}, g.password)
	if err != nil {
		t.Fatal(err)
	}
	conn.Client = mqtt.NewClient(options)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = conn.Run(ctx) })
	running.Go(func() { _ = plane.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	queue := otto.Requirement{
		Metric:    "mqtt:shop/queue",
		Aggregate: otto.AggregateLast,
		Operator:  "<",
		Limit:     9,
		Action:    otto.ActionEvent,
	}
	w := otto.Wanted{
		Nodes: []otto.Node{{ID: "n1", Host: "n1", Requirements: []otto.Requirement{queue}}, {ID: "n2", Host: "n2"}},
	}
	if _, err := plane.Apply(t.Context(), w, 0, false); err != nil {
		t.Fatal(err)
	}
	for _, n := range w.Nodes {
		mqtttest.WaitUntil(t, n.ID+" is enrolled", func() bool { _, ok := g.enrolment(n.ID); return ok })
	}
	return g
}

// target is the broker with somebody's credentials.
func (g *guarded) target(who string) mqtttest.Target {
	switch e, ok := g.enrolment(who); {
	case ok:
		return mqtttest.Target{Addr: g.addr, TLS: configOf(e.TLS), Username: e.Username, Password: e.Password}
	case who == "control":
		return mqtttest.Target{
			Addr:     g.addr,
			TLS:      configOf(g.plane.BrokerTLS()),
			Username: controlUser,
			Password: g.password,
		}
	case who == "viewer":
		return mqtttest.Target{Addr: g.addr, Username: "viewer", Password: "may look"}
	}
	return mqtttest.Target{Addr: g.addr}
}

func configOf(t *wire.TLS) *tls.Config {
	c, err := t.Config()
	if err != nil {
		panic(err)
	}
	return c
}

// topics are all that there are, for two nodes, one service, and an application
// of which one number is required.
func topics() []string {
	list := []string{
		wire.TopicControlStatus,
		wire.TopicEvents,
		wire.ServiceTopic("web"),
		wire.RequirementTopic("web", ""),
		wire.RequirementTopic("", "n1"),
		"shop/queue",
		"shop/other",
	}
	for _, node := range []string{"n1", "n2"} {
		for _, k := range append(wire.ReportKinds(), wire.OrderKinds()...) {
			list = append(list, wire.NodeTopic(node, k))
		}
	}
	slices.Sort(list)
	return list
}

// TestWhoMayPublishAndReadWhat tries every topic for everybody, and looks at
// what arrives: an acknowledgement is no permission.
func TestWhoMayPublishAndReadWhat(t *testing.T) {
	reports := func(node string) []string {
		return []string{
			"otto/nodes/" + node + "/answer",
			"otto/nodes/" + node + "/events",
			"otto/nodes/" + node + "/heartbeat",
			"otto/nodes/" + node + "/instances",
			"otto/nodes/" + node + "/metrics/containers",
			"otto/nodes/" + node + "/metrics/node",
			"otto/nodes/" + node + "/status",
		}
	}
	orders := func(node string) []string {
		return []string{
			"otto/control/status",
			"otto/nodes/" + node + "/assignment",
			"otto/nodes/" + node + "/lease",
			"otto/nodes/" + node + "/question",
		}
	}
	metrics := []string{
		"otto/nodes/n1/metrics/containers", "otto/nodes/n1/metrics/node",
		"otto/nodes/n2/metrics/containers", "otto/nodes/n2/metrics/node",
	}
	public := slices.Concat([]string{"otto/control/status", "otto/events"}, reports("n1")[1:], reports("n2")[1:],
		[]string{"otto/requirements/nodes/n1", "otto/requirements/services/web", "otto/services/web"})
	queue := []string{"shop/queue"}
	ours := slices.DeleteFunc(topics(), func(t string) bool { return !strings.HasPrefix(t, "otto/") })
	tests := []struct {
		who           string
		viewer        bool // mqtt.username is set
		local         bool // the broker listens on loopback alone
		publish, read []string
		mark          string // a topic that this one may read
	}{
		{who: "n1", publish: reports("n1"), read: orders("n1"), mark: "otto/control/status"},
		{who: "n2", publish: reports("n2"), read: orders("n2"), mark: "otto/control/status"},
		{who: "anybody", read: metrics, mark: metrics[0]},
		{who: "anybody", local: true, publish: queue, read: metrics, mark: metrics[0]},
		{who: "viewer", viewer: true, publish: queue, read: public, mark: metrics[0]},
		{who: "n1", viewer: true, publish: reports("n1"), read: orders("n1"), mark: "otto/control/status"},
		{who: "control", publish: ours, read: ours, mark: "otto/control/status"},
	}
	plain, viewed, local := guard(t, "", ""), guard(t, "viewer", "may look"), guardAs(t, identity{local: true})
	for _, tt := range tests {
		g := plain
		if tt.viewer {
			g = viewed
		}
		if tt.local {
			g = local
		}
		t.Run(fmt.Sprintf("%s viewer=%t local=%t", tt.who, tt.viewer, tt.local), func(t *testing.T) {
			control, seen := mqtttest.Subscribed(t, g.target("control").Options("observer"), "#")
			actor := mqtttest.Connected(t, g.target(tt.who).Options("actor"), nil)
			if diff := cmp.Diff(tt.publish, published(t, actor, control, seen)); diff != "" {
				t.Errorf("may publish (-want +got):\n%s", diff)
			}
			for _, filter := range append(topics(), "#", "+/#", "otto/#", "otto/nodes/#", "otto/nodes/+/assignment", "otto/+/+/assignment", "otto/nodes/n2/#") {
				var want []string
				for _, topic := range tt.read {
					if filter == topic {
						want = []string{topic}
					}
				}
				got := read(t, g.target(tt.who), control, filter, tt.mark)
				if plainTopic := slices.Contains(topics(), filter); plainTopic && !cmp.Equal(want, got) {
					t.Errorf("subscribed to %s, got %v, want %v", filter, got, want)
				}
				for _, topic := range got {
					if !slices.Contains(tt.read, topic) {
						t.Errorf("subscribed to %s, got a message on %s", filter, topic)
					}
				}
			}
		})
	}
}

// published are the topics on which what the actor publishes arrives.
func published(t *testing.T, actor, control *mqtttest.Running, seen mqtttest.Mailbox) (arrived []string) {
	t.Helper()
	for _, topic := range topics() {
		actor.Send(t, topic, 1, false, "from the actor")
	}
	// A message is acknowledged before it is delivered, the next one after that.
	actor.Send(t, "otto/mark", 1, false, "may not be published")
	control.Send(t, "otto/mark", 1, false, "end")
	for {
		got := mqtttest.Receive(t, seen)
		if got == "otto/mark end" {
			slices.Sort(arrived)
			return arrived
		}
		for _, topic := range topics() {
			if got == topic+" from the actor" {
				arrived = append(arrived, topic)
			}
		}
	}
}

// read are the topics whose messages a subscriber to filter gets. That all have
// come is known by one more on mark, which has a subscription of its own.
func read(t *testing.T, who mqtttest.Target, control *mqtttest.Running, filter, mark string) (arrived []string) {
	t.Helper()
	box := make(mqtttest.Mailbox, 1000)
	reader := mqtttest.Connected(t, who.Options("reader"), func(c *mqtt.Client) {
		if filter != mark {
			c.Subscribe(mark, box.Handle)
		}
		c.Subscribe(filter, box.Handle)
	})
	defer reader.Stop()
	for _, topic := range topics() {
		control.Send(t, topic, 1, false, "from control")
	}
	control.Send(t, mark, 1, false, "end")
	for {
		got := mqtttest.Receive(t, box)
		if got == mark+" end" {
			slices.Sort(arrived)
			return slices.Compact(arrived)
		}
		for _, topic := range topics() {
			if got == topic+" from control" && (topic != mark || filter == mark) {
				arrived = append(arrived, topic)
			}
		}
	}
}

func TestWrongCredentialsAreRefused(t *testing.T) {
	g := guard(t, "viewer", "may look")
	n1, _ := g.enrolment("n1")
	n2, _ := g.enrolment("n2")
	if n1.Password != "" {
		t.Fatal("a new node has a password")
	}
	keyless := configOf(g.plane.BrokerTLS())
	for _, tt := range []struct {
		name               string
		over               *tls.Config
		username, password string
	}{
		{"a node without TLS", nil, "n1", ""},
		{"a node without its key", keyless, "n1", ""},
		{"a node without its key, with its client id", keyless, "n1", n1.ClientID},
		{"a node with another's key", configOf(n2.TLS), "n1", ""},
		{"a node that is not enrolled", configOf(n1.TLS), "n3", ""},
		{"the control plane without a password", keyless, controlUser, ""},
		{"the control plane with a node's key", configOf(n1.TLS), controlUser, ""},
		{"the control plane without TLS", nil, controlUser, g.password},
		{"the viewer without a password", nil, "viewer", ""},
		{"the viewer with a node's key", configOf(n1.TLS), "viewer", ""},
		{"nobody, where there is a viewer", nil, "", ""},
		{"nobody with a node's key", configOf(n1.TLS), "", ""},
		{"a wildcard as a name", configOf(n1.TLS), "+", ""},
		{"a path as a name", configOf(n1.TLS), "n1/status", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := mqtt.Probe(t.Context(), g.addr, tt.over, tt.username,
				tt.password); !errors.Is(err, mqtt.ErrRefused) {
				t.Errorf("let in: %v", err)
			}
		})
	}
	if err := mqtt.Probe(t.Context(), g.addr, configOf(n1.TLS), "n1", ""); err != nil {
		t.Errorf("n1 is kept out: %v", err)
	}
}

// TestWhatTheBrokerRefusesIsSeen has somebody try passwords.
func TestWhatTheBrokerRefusesIsSeen(t *testing.T) {
	g := guard(t, "viewer", "may look")
	try := func(times int) {
		var all sync.WaitGroup
		for range times {
			all.Go(func() {
				if err := mqtt.Probe(t.Context(), g.addr, nil, "viewer", "wrong"); !errors.Is(err, mqtt.ErrRefused) {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	control := mqtttest.Connected(t, g.target("n1").Options("n1"), nil)
	seen := func(what string, is func(*otto.Cluster) bool) {
		mqtttest.WaitUntil(t, what, func() bool {
			control.Send(t, wire.NodeTopic("n1", wire.KindStatus), 1, false, "news") // makes a new view
			return is(g.plane.Cluster())
		})
	}
	try(5)
	seen("counted", func(c *otto.Cluster) bool {
		return len(c.Refused) == 1 && c.Refused[0].Total == 5 && c.Refused[0].From == "127.0.0.1" &&
			len(c.Warnings) == 0
	})
	try(100)
	seen("warned of", func(c *otto.Cluster) bool {
		return len(c.Warnings) == 1 &&
			strings.Contains(c.Warnings[0],
				"a client is not let in (105 times in the last ten minutes, last from 127.0.0.1)")
	})
}

func TestForgedWillDoesNotArrive(t *testing.T) {
	g := guard(t, "", "")
	control, seen := mqtttest.Subscribed(t, g.target("control").Options("observer"), "otto/nodes/+/status")
	for _, victim := range []string{"n1", "n2"} {
		will := &mqtt.Message{
			Topic:   wire.NodeTopic(victim, wire.KindStatus),
			Payload: []byte("will of n2 for " + victim),
		}
		_ = mqtttest.RawConnect(t, g.target("n2"), "n2-raw", will).Close()
	}
	// n2's own will shows that wills do arrive, and that the other had its time.
	seen.Want(t, "otto/nodes/n2/status will of n2 for n2")
	control.Send(t, "otto/nodes/n1/status", 1, false, "end")
	seen.Want(t, "otto/nodes/n1/status end")
}

func TestNameOfANodeIsNoClientID(t *testing.T) {
	g := guard(t, "", "")
	n1, _ := g.enrolment("n1")
	if len(n1.ClientID) < len("n1-")+32 {
		t.Fatalf("the client id has few secret bits: %d characters", len(n1.ClientID))
	}
	agent := mqtttest.Connected(t, g.target("n1").Options(n1.ClientID), nil)
	for _, who := range []string{"anybody", "n2"} {
		for _, id := range []string{"n1", "n1-", ""} {
			if id == "" { // the broker must choose one, or refuse
				_ = mqtt.Probe(t.Context(), g.addr, g.target(who).TLS, g.target(who).Username, g.target(who).Password)
				continue
			}
			_ = mqtttest.RawConnect(t, g.target(who), id, nil).Close()
		}
	}
	agent.Send(t, wire.NodeTopic("n1", wire.KindStatus), 1, false, "still here")
	select {
	case err := <-agent.Lost:
		t.Errorf("n1 was thrown out: %v", err)
	default:
	}
}

// TestApplicationMetricsArrive is the way of a number from an application through our
// broker to a verdict, also of a requirement that is added while the control plane is
// connected.
func TestApplicationMetricsArrive(t *testing.T) {
	g := guard(t, "viewer", "may look")
	app := mqtttest.Connected(t, g.target("viewer").Options("app"), nil)
	mqtttest.WaitUntil(t, "judged", func() bool {
		app.Send(t, "shop/queue", 1, false, "5")
		v := g.plane.Cluster().Nodes[0].Verdicts
		return len(v) == 1 && v[0].State == otto.RequirementOK && *v[0].Value == 5
	})
}
