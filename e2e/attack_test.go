package e2e_test

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
	"github.com/otto-edge/otto/mqtt"
	"github.com/otto-edge/otto/mqtt/mqtttest"
	"github.com/otto-edge/otto/wire"
)

// TestAttackersChangeNothing has a stranger, and somebody with the key of a node, do to the
// broker what they can think of, each for at most half of the time of a core, while a
// cluster works: for half a minute, or as long as OTTO_SOAK says. Nothing is restarted, a
// power cut moves what may move, and memory, disk and log stay within bounds.
func TestAttackersChangeNothing(t *testing.T) {
	l, c := threeHosts(t)
	lasts, long := soak(t)
	if !long {
		lasts = 30 * time.Second
	}
	state := filepath.Join(c.Dir, ".otto")
	size := func() (n int64) {
		_ = filepath.WalkDir(state, func(_ string, d os.DirEntry, err error) error {
			if err == nil {
				if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
					n += info.Size()
				}
			}
			return nil
		})
		return n
	}
	enrolment, err := wire.DecodeEnrolment([]byte(l.Host("n3").SSH("cat .local/share/otto/failover/agent.json")))
	if err != nil {
		t.Fatal(err)
	}
	over, err := enrolment.TLS.Config()
	if err != nil {
		t.Fatal(err)
	}
	stranger := mqtttest.Target{Addr: "10.77.0.1:1883"}
	insider := mqtttest.Target{Addr: stranger.Addr, TLS: over, Username: enrolment.Username}
	before, began, disk := places(l), time.Now(), size()

	stop, most := make(chan struct{}), watchMemory(t, c)
	t.Logf("before: %d MB", most()>>20)
	var attackers sync.WaitGroup
	var done atomic.Int64
	end := sync.OnceFunc(func() { close(stop); attackers.Wait() })
	t.Cleanup(end)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i, a := range []attacker{{target: stranger}, {target: insider, node: "n3"}} {
		a.draw = mathrand.New(mathrand.NewPCG(seed, uint64(i)))
		attackers.Go(func() { a.run(stop, &done) })
	}
	for end := began.Add(lasts); time.Now().Before(end); time.Sleep(5 * time.Second) {
		t.Logf("%s: %d MB", time.Since(began).Round(time.Second), most()>>20)
	}

	unmoved(t, l, before)
	if v := c.Status(); v.Nodes[0].State != otto.NodeReady || v.Nodes[1].State != otto.NodeReady {
		t.Errorf("n1 is %s, n2 %s", v.Nodes[0].State, v.Nodes[1].State)
	}
	cut := time.Now()
	l.Host("n1").Kill()
	answeredBy(t, 30*time.Second, l.Host("n2"), l.Host("n3")) // 2 s are promised, of a machine that has nothing else to do
	t.Logf("failover under attack: %s", time.Since(cut).Round(10*time.Millisecond))
	end()
	t.Logf("%d attacks in %s; control plane %d MB at most; %d KB more on disk", done.Load(),
		time.Since(began).Round(time.Second), most()>>20, (size()-disk)>>10)
	if n := done.Load(); n < 100 {
		t.Errorf("only %d attacks", n)
	}
	if m := most(); m > 200<<20 {
		t.Errorf("the control plane had %d MB", m>>20)
	}
	if grown := size() - disk; grown > 20<<20 {
		t.Errorf("its state has grown by %d MB", grown>>20)
	}

	l.Host("n1").Boot()
	lab.Until(t, "all is up again", func() bool { return allUp(c) })
	kept := places(l)
	killControlPlane(t, c)
	c.Start()
	lab.Until(t, "all is up after a restart", func() bool { return allUp(c) })
	unmoved(t, l, kept)
}

// watchMemory is how much memory the processes of the control plane have had at most.
func watchMemory(t *testing.T, c *lab.Cluster) (most func() int64) {
	t.Helper()
	peak := regexp.MustCompile(`VmHWM:\s*(\d+) kB`)
	pids := controlPlane(t, c)
	var highest int64
	return func() int64 {
		for _, pid := range pids {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			if m := peak.FindSubmatch(b); m != nil {
				n, _ := strconv.ParseInt(string(m[1]), 10, 64)
				highest = max(highest, n<<10)
			}
		}
		return highest
	}
}

// attacker is somebody with something to log in with.
type attacker struct {
	target mqtttest.Target
	node   string // whose credentials these are; empty for a stranger
	draw   *mathrand.Rand
	held   []net.Conn // that say nothing more
}

// run attacks until stop is closed, half of the time.
func (a *attacker) run(stop chan struct{}, done *atomic.Int64) {
	ways := []func(){a.sessions, a.mute, a.garbage, a.will, a.flood, a.deaf, a.forge}
	for {
		select {
		case <-stop:
			for _, conn := range a.held {
				_ = conn.Close()
			}
			return
		default:
		}
		began := time.Now()
		ways[a.draw.IntN(len(ways))]()
		done.Add(1)
		time.Sleep(max(time.Since(began), 5*time.Millisecond))
		for len(a.held) > 500 {
			_ = a.held[0].Close()
			a.held = a.held[1:]
		}
	}
}

// dial connects, and encrypts if it is to.
func (a *attacker) dial() net.Conn {
	conn, err := net.DialTimeout("tcp", a.target.Addr, time.Second)
	if err != nil {
		return nil
	}
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	if a.target.TLS != nil {
		return tls.Client(conn, a.target.TLS)
	}
	return conn
}

// login is a session, or nil.
func (a *attacker) login(clean bool, will *mqtt.Message) net.Conn {
	conn := a.dial()
	if conn == nil {
		return nil
	}
	p := mqtttest.ConnectPacket(a.target, "x"+rand.Text(), will)
	p.CleanSession = clean
	if p.Write(conn) != nil {
		_ = conn.Close()
		return nil
	}
	_, _ = packets.ReadPacket(conn)
	return conn
}

// sessions are to be kept, with long subscriptions.
func (a *attacker) sessions() {
	conn := a.login(false, nil)
	if conn == nil {
		return
	}
	defer conn.Close()
	for i := range 4 {
		p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
		p.MessageID, p.Qoss = uint16(i+1), []byte{1}
		p.Topics = []string{strings.Repeat("x", 1+a.draw.IntN(55_000)) + "/#"}
		if p.Write(conn) != nil {
			return
		}
	}
}

// mute connects and says nothing, or half of what it has to.
func (a *attacker) mute() {
	conn, err := net.DialTimeout("tcp", a.target.Addr, time.Second)
	if err != nil {
		return
	}
	_, _ = conn.Write([]byte{0x10, 0xff, 0xff}[:a.draw.IntN(4)])
	a.held = append(a.held, conn)
}

func (a *attacker) garbage() {
	conn := a.dial()
	if conn == nil {
		return
	}
	defer conn.Close()
	b := make([]byte, a.draw.IntN(20_000))
	_, _ = rand.Read(b)
	_, _ = conn.Write(b)
}

// will is one in the name of others.
func (a *attacker) will() {
	victim := []string{"n1", "n2"}[a.draw.IntN(2)]
	conn := a.login(true, &mqtt.Message{
		Topic: wire.NodeTopic(victim, wire.KindStatus), Payload: []byte(`{"node_id":"` + victim + `","online":false}`), Retain: true,
	})
	if conn != nil {
		_ = conn.Close()
	}
}

// flood publishes to wherever it may not, and may.
func (a *attacker) flood() {
	conn := a.login(true, nil)
	if conn == nil {
		return
	}
	defer conn.Close()
	topics := []string{"otto/control/status", "shop/queue", "otto/nodes/n1/assignment", strings.Repeat("/", 60_000)}
	for _, k := range wire.ReportKinds() {
		topics = append(topics, wire.NodeTopic("n1", k))
		if a.node != "" {
			topics = append(topics, wire.NodeTopic(a.node, k))
		}
	}
	for range 200 {
		p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
		p.TopicName, p.Retain, p.Payload = topics[a.draw.IntN(len(topics))], a.draw.IntN(2) == 0, make([]byte, a.draw.IntN(20_000))
		if p.Write(conn) != nil {
			return
		}
	}
}

// deaf subscribes to all, and reads nothing.
func (a *attacker) deaf() {
	conn := a.login(true, nil)
	if conn == nil {
		return
	}
	p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	p.MessageID, p.Topics, p.Qoss = 1, []string{"#", "otto/nodes/+/metrics/#"}, []byte{1, 1}
	_ = p.Write(conn)
	a.held = append(a.held, conn)
}

// forge says of its node what is not so: of two hundred events that each break a line, and
// with a report that has what others have. A stranger says so of n1.
func (a *attacker) forge() {
	node := a.node
	if node == "" {
		node = "n1"
	}
	conn := a.login(true, nil)
	if conn == nil {
		return
	}
	defer conn.Close()
	events := wire.NodeEvents{NodeID: node, BootID: rand.Text()}
	for i := range 200 {
		events.Events = append(events.Events, wire.NodeEvent{Seq: uint64(i + 1), Kind: "\x1b[31mnode-removed", Message: strings.Repeat("\n", 1000)})
	}
	report := wire.Report{NodeID: node, BootID: rand.Text(), Seq: 1, Volumes: []string{"data", "pet"}, Instances: []otto.InstanceStatus{}}
	for kind, v := range map[wire.Kind]any{wire.KindEvents: events, wire.KindInstances: report} {
		b, err := wire.Encode(v)
		if err != nil {
			return
		}
		p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
		p.TopicName, p.Retain, p.Payload = wire.NodeTopic(node, kind), true, b
		if p.Write(conn) != nil {
			return
		}
	}
}
