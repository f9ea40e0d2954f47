package broker

import (
	"log/slog"
	"math"
	"strings"

	comqtt "github.com/wind-c/comqtt/v2/mqtt"
	"github.com/wind-c/comqtt/v2/mqtt/packets"
)

// newEngine is the MQTT broker proper. It has no listener, keeps nothing on disk and
// knows no sessions: the gate hands it connections. Its loop of chores is not started,
// as it has none here: nothing expires, and nobody reads its statistics.
func newEngine(nodes int, c *complaints) (*comqtt.Server, error) {
	const century = 100 * 365 * 24 * 60 * 60 // seconds: what is retained does not expire
	s := comqtt.New(&comqtt.Options{
		Capabilities: &comqtt.Capabilities{
			MaximumMessageExpiryInterval: century,
			MaximumClientWritesPending:   int32(pendingMessages(nodes)),
			ReceiveMaximum:               1024,
			MaximumQos:                   1,
			RetainAvailable:              1,
			WildcardSubAvailable:         1,
			SubIDAvailable:               1,
			MinimumProtocolVersion:       version31,
		},
		SysTopicResendInterval: math.MaxInt32,
		Logger:                 slog.New(slog.DiscardHandler), // it logs what clients send
	})
	return s, s.AddHook(&hook{complaints: c, engine: s, nodes: nodes}, nil)
}

// pendingMessages is how many may wait for a client: who subscribes to all that is
// retained of all nodes gets it at once.
func pendingMessages(nodes int) int { return 1024 + 4*nodes }

// nobodyReads is a topic that nobody may publish or subscribe to; a wildcard does not
// stand for it.
const nobodyReads = "$"

// hook lets the broker's engine do what the gate has granted.
type hook struct {
	comqtt.HookBase
	complaints *complaints
	engine     *comqtt.Server
	nodes      int
}

// ID implements comqtt.Hook, as do all methods below.
func (h *hook) ID() string { return "gate" }

func (h *hook) Provides(b byte) bool {
	switch b {
	case comqtt.OnConnectAuthenticate, comqtt.OnConnect, comqtt.OnPacketRead, comqtt.OnACLCheck,
		comqtt.OnSubscribe, comqtt.OnPublish, comqtt.OnPublishDropped, comqtt.OnPacketSent, comqtt.OnWill:
		return true
	}
	return false
}

func guestOf(cl *comqtt.Client) *guest {
	g, _ := cl.Net.Conn.(*guest)
	return g
}

func (h *hook) OnConnectAuthenticate(cl *comqtt.Client, _ packets.Packet) bool {
	return guestOf(cl) != nil // the gate has checked it
}

func (h *hook) OnConnect(cl *comqtt.Client, _ packets.Packet) error {
	cl.Properties.Props.SessionExpiryInterval = 0
	return nil
}

// OnPacketRead leads what is published on the broker's own topics to one that nobody may
// publish to: the engine would not answer at all.
func (h *hook) OnPacketRead(cl *comqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Type != packets.Publish || pk.TopicName == "" {
		return pk, nil
	}
	if strings.ContainsAny(pk.TopicName, "+#") {
		guestOf(cl).end(errMalformed)
		return pk, packets.ErrRejectPacket
	}
	if pk.TopicName[0] == '$' {
		pk.TopicName = nobodyReads
	}
	return pk, nil
}

// OnWill sends a will nowhere if the client is there again on another connection.
func (h *hook) OnWill(cl *comqtt.Client, will comqtt.Will) (comqtt.Will, error) {
	if g := guestOf(cl); g != nil && g.replaced() {
		return comqtt.Will{TopicName: nobodyReads}, nil
	}
	return will, nil
}

// OnACLCheck is about subscriptions and deliveries. What is published is checked in
// OnPublish: a refusal here would end the connection.
func (h *hook) OnACLCheck(cl *comqtt.Client, filter string, write bool) bool {
	g := guestOf(cl)
	if g == nil || write {
		return write
	}
	if g.over() {
		return false
	}
	if g.can.maySubscribe(filter) {
		return true
	}
	h.complaints.add("a client subscribes to what it may not read", "user", g.user, "from", g.source)
	return false
}

// OnSubscribe delivers with QoS 0: what is retained is said again on every connect,
// and a client that is slow to acknowledge must not hold who publishes.
func (h *hook) OnSubscribe(cl *comqtt.Client, pk packets.Packet) packets.Packet {
	g := guestOf(cl)
	if cl.State.Subscriptions.Len()+len(pk.Filters) > g.limits.subscriptions {
		g.end(errGreedy)
		pk.Filters = nil
	}
	for i := range pk.Filters {
		pk.Filters[i].Qos = 0
		if len(pk.Filters[i].Filter) > g.limits.filter {
			pk.Filters[i].Filter = "" // is refused
		}
	}
	return pk
}

// OnPublish drops what is not allowed. MQTT 3 cannot say that to the client.
func (h *hook) OnPublish(cl *comqtt.Client, pk packets.Packet) (packets.Packet, error) {
	g := guestOf(cl)
	if g == nil {
		return pk, nil
	}
	switch {
	case !g.can.mayPublish(pk.TopicName):
		h.complaints.add("a client publishes where it may not", "user", g.user, "from", g.source)
	case len(pk.Payload) > g.limits.payload:
		h.complaints.add("a client publishes more than it may", "user", g.user, "from", g.source, "bytes",
			len(pk.Payload))
	default:
		pk.FixedHeader.Retain = pk.FixedHeader.Retain && g.limits.retain
		pk.Properties.MessageExpiryInterval = 0
		h.queue(pk)
		return pk, nil
	}
	if pk.ProtocolVersion == version5 && pk.FixedHeader.Qos > 0 {
		return pk, packets.ErrNotAuthorized
	}
	return pk, packets.CodeSuccessIgnore
}

// messageOverhead is about what a message that waits takes beside its payload, in bytes.
const messageOverhead = 1 << 10

// queue counts a message for all that it is about to wait for. The engine bounds how many do,
// and has a copy for each: of large ones for clients that do not read that is hundreds of
// megabytes. Who has too much waiting loses the connection.
func (h *hook) queue(pk packets.Packet) {
	size := int64(len(pk.Payload) + messageOverhead)
	for id := range h.engine.Topics.Subscribers(pk.TopicName).Subscriptions {
		cl, there := h.engine.Clients.Get(id)
		if !there {
			continue
		}
		g := guestOf(cl)
		if g == nil || g.limits.waiting == 0 {
			continue
		}
		most := g.limits.waiting + int64(h.nodes)*messageOverhead
		if now := g.waiting.Add(size); now > most && now > size {
			g.end(errSlow)
		}
	}
}

// OnPacketSent counts what does not wait any more. What was retained was never counted.
func (h *hook) OnPacketSent(cl *comqtt.Client, pk packets.Packet, _ []byte) {
	if g := guestOf(cl); g != nil && pk.FixedHeader.Type == packets.Publish {
		if g.waiting.Add(-int64(len(pk.Payload)+messageOverhead)) < 0 {
			g.waiting.Store(0)
		}
	}
}

// OnPublishDropped ends a connection that has missed a message: when it comes back it
// gets all that is retained.
func (h *hook) OnPublishDropped(cl *comqtt.Client, _ packets.Packet) {
	if g := guestOf(cl); g != nil {
		g.end(errSlow)
	}
}
