package bench

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/mqtt"
	"github.com/otto-edge/otto/wire"
)

// simulated says what an agent says, of containers that run as soon as they are wanted.
type simulated struct {
	wire.Enrolment
	client *mqtt.Client
	leased func(wire.Lease) // nil: leases are not looked at
	phase  time.Duration    // of its second
	begun  time.Time

	mu         sync.Mutex
	assignment otto.Assignment
	seq        uint64
	changed    chan struct{} // has an element after an assignment
}

func newSimulated(e wire.Enrolment, number int) *simulated {
	n := &simulated{Enrolment: e, phase: time.Duration(number%1000) * time.Millisecond, begun: time.Now(), changed: make(chan struct{}, 1)}
	over, err := e.TLS.Config()
	if err != nil {
		panic(err) // the control plane has drawn it
	}
	n.client = mqtt.NewClient(mqtt.ClientOptions{
		Brokers: e.Brokers, TLS: over, ClientID: e.ClientID, Username: e.Username, Password: e.Password,
		Will:      &mqtt.Message{Topic: wire.NodeTopic(e.NodeID, wire.KindStatus), QoS: 1, Retain: true, Payload: must(wire.Encode(n.status(false)))},
		OnConnect: func(uint64) { n.publish(wire.KindStatus, 1, true, must(wire.Encode(n.status(true)))); n.wake() },
	})
	n.client.Subscribe(wire.NodeTopic(e.NodeID, wire.KindAssignment), n.assigned)
	n.client.Subscribe(wire.NodeTopic(e.NodeID, wire.KindLease), func(_ string, b []byte) {
		if l, err := wire.OpenLease(n.ControlKey, n.ClusterID, n.NodeID, b); err == nil && n.leased != nil {
			n.leased(l)
		}
	})
	n.client.Subscribe(wire.NodeTopic(e.NodeID, wire.KindQuestion), func(string, []byte) {})
	n.client.Subscribe(wire.TopicControlStatus, func(string, []byte) {})
	return n
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err) // of our own values: cannot happen
	}
	return b
}

func (n *simulated) boot() string { return "boot-" + n.NodeID }

func (n *simulated) status(online bool) wire.Status {
	return wire.Status{NodeID: n.NodeID, Online: online, BootID: n.boot(), Session: 1, Facts: otto.NodeFacts{
		Hostname: n.NodeID, OS: "Debian GNU/Linux 12", Arch: "arm64", CPUs: 4, MemoryBytes: 8 << 30, Engine: otto.Engine{Name: "Docker", Version: "27.0"},
	}}
}

func (n *simulated) wake() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

func (n *simulated) assigned(_ string, payload []byte) {
	a, err := wire.OpenAssignment(n.ControlKey, n.ClusterID, n.NodeID, payload)
	if err != nil {
		return
	}
	n.mu.Lock()
	n.assignment = a
	n.mu.Unlock()
	n.wake()
}

// run is the node's life.
func (n *simulated) run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- n.client.Run(ctx) }()
	for {
		next := time.Now().Truncate(time.Second).Add(time.Second + n.phase)
		select {
		case <-ctx.Done():
			return <-done
		case <-n.changed:
			n.report()
		case <-time.After(time.Until(next)):
			n.measure()
		}
	}
}

func (n *simulated) publish(kind wire.Kind, qos byte, retain bool, payload []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = n.client.Publish(ctx, wire.NodeTopic(n.NodeID, kind), qos, retain, payload) // it is said again
}

func (n *simulated) now() (otto.Assignment, uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seq++
	return n.assignment, n.seq
}

func (n *simulated) report() {
	a, seq := n.now()
	r := wire.Report{NodeID: n.NodeID, BootID: n.boot(), Seq: seq, Revision: a.Revision, Warrant: a.Warrant, Settled: true, Volumes: []string{}, Instances: []otto.InstanceStatus{}}
	for _, i := range a.Instances {
		r.Volumes = append(r.Volumes, i.Spec.Volumes()...)
		r.Instances = append(r.Instances, otto.InstanceStatus{
			Name: i.Name, Service: i.Service, State: otto.InstanceRunning, Image: i.Spec.Image, ContainerID: containerID(i.Name),
			SpecHash: i.Spec.Hash(), Started: n.begun, Restart: i.Restart,
		})
	}
	n.publish(wire.KindInstances, 1, true, must(wire.Encode(r)))
}

func containerID(name string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(name))) }

// measure is what an agent says each second.
func (n *simulated) measure() {
	a, seq := n.now()
	now := time.Now()
	wave := float64(seq % 10)
	n.publish(wire.KindHeartbeat, 0, false, must(wire.Encode(wire.Heartbeat{BootID: n.boot(), Seq: seq, UpMS: now.Sub(n.begun).Milliseconds(), Machine: n.NodeID})))
	n.publish(wire.KindNodeMetrics, 0, false, must(wire.EncodeNodeSample(n.NodeID, otto.NodeSample{
		Time: now, CPUPercent: 40 + wave, MemoryUsed: 3 << 30, MemoryTotal: 8 << 30, DiskUsed: 20 << 30, DiskTotal: 60 << 30,
		NetSent: seq * 1000, NetRecv: seq * 2000, Uptime: now.Sub(n.begun).Seconds(), Load: &otto.Load{One: 1, Five: 1, Fifteen: 1},
	})))
	list := make([]otto.ContainerSample, len(a.Instances))
	for k, i := range a.Instances {
		list[k] = otto.ContainerSample{
			ID: containerID(i.Name), Name: i.Name, CPUPercent: 2 + wave/3, MemoryUsed: 60<<20 + seq<<10, MemoryLimit: 8 << 30,
			NetRecv: seq * 100, NetSent: seq * 100, BlockRead: 4 << 20, BlockWrite: seq * 10,
		}
	}
	n.publish(wire.KindContainerMetrics, 0, false, must(wire.EncodeContainerSamples(n.NodeID, now, list)))
}
