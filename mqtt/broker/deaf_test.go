package broker_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/otto-edge/otto/mqtt/broker"
	"github.com/otto-edge/otto/mqtt/mqtttest"
)

// TestDeafReadersHoldLittleMemory has strangers subscribe and not read, and a node publish
// the largest messages that it may: what waits for them is bounded by its size, and who
// reads gets all of it.
func TestDeafReadersHoldLittleMemory(t *testing.T) {
	b := mqtttest.StartBroker(t, broker.Options{Authorize: func(l broker.Login) (broker.Permissions, bool) {
		if l.Username == "" {
			return broker.Permissions{Subscribe: []string{"home/sensor/#"}}, true
		}
		return mqtttest.HomeUsers(l)
	}})
	sensor := mqtttest.Connected(t, mqtttest.SensorOf(b).Options("sensor"), nil)
	stranger := mqtttest.Target{Addr: b.Addr()}
	_, mail := mqtttest.Subscribed(t, stranger.Options("reader"), "home/sensor/#")
	for range 60 {
		conn := mqtttest.RawConnect(t, stranger, "", nil)
		p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
		p.MessageID, p.Topics, p.Qoss = 1, []string{"home/sensor/#"}, []byte{0}
		if err := p.Write(conn); err != nil {
			t.Fatal(err)
		}
		if _, err := packets.ReadPacket(conn); err != nil { // SUBACK, and nothing from then on
			t.Fatal(err)
		}
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	large := strings.Repeat("x", 100<<10)
	for range 60 {
		sensor.Send(t, "home/sensor/value", 1, false, large)
		mail.Want(t, "home/sensor/value "+large)
	}
	if grown := heap() - before; grown > 64<<20 {
		t.Errorf("%d MB wait for those who do not read", grown>>20)
	}
	sensor.Send(t, "home/sensor/value", 1, false, "still here")
	mail.Want(t, "home/sensor/value still here")
}
