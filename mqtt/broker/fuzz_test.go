package broker_test

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/otto-edge/otto/mqtt"
	"github.com/otto-edge/otto/mqtt/broker"
	"github.com/otto-edge/otto/mqtt/mqtttest"
)

// FuzzBrokerSurvivesGarbage sends bytes to the broker's port as anybody in the
// network may, before login. A panic in the broker ends the test's process.
func FuzzBrokerSurvivesGarbage(f *testing.F) {
	tg := mqtttest.Target{Username: "owner", Password: "secret"}
	var valid bytes.Buffer
	_ = mqtttest.ConnectPacket(tg, "fuzz", &mqtt.Message{Topic: "home/x", Payload: []byte("will")}).Write(&valid)
	subscribe := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	subscribe.MessageID, subscribe.Topics, subscribe.Qoss = 1, []string{"home/#"}, []byte{1}
	whole := bytes.NewBuffer(bytes.Clone(valid.Bytes()))
	_ = subscribe.Write(whole)

	f.Add(valid.Bytes())
	f.Add(valid.Bytes()[:valid.Len()/2])
	f.Add(whole.Bytes())
	f.Add([]byte("\x10\x00"))
	f.Add([]byte("\x10\xff\xff\xff\x7f"))
	f.Add([]byte("\x10\xff\xff\xff\xff\xff"))
	f.Add([]byte("\x30\x03\x00\x01a"))
	f.Add([]byte("\x82\x02\x00\x01"))
	f.Add([]byte("\xe0\x00"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte("CONNECT {}\r\nPING\r\n"))
	f.Add([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc"))

	b := mqtttest.StartBroker(f, broker.Options{})
	tg.Addr = b.Addr()
	f.Fuzz(func(t *testing.T, garbage []byte) {
		conn, err := net.Dial("tcp", tg.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Millisecond))
		_, _ = conn.Write(garbage)
		_, _ = conn.Read(make([]byte, 64))
		if err := mqtt.Probe(t.Context(), tg.Addr, nil, tg.Username, tg.Password); err != nil {
			t.Errorf("the broker is no longer well: %v", err)
		}
	})
}
