package control_test

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
	"github.com/otto-edge/otto/wire"
)

// hostile are payloads that nobody of ours sends.
func hostile(boot string) map[string][]byte {
	return map[string][]byte{
		"not JSON":      []byte("\x00\x01\xff<html>"),
		"invalid UTF-8": []byte("{\"boot_id\":\"\xff\xfe\",\"node_id\":\"a\xc0\xaf\",\"seq\":1}"),
		"null":          []byte("null"),
		"another type":  []byte(`[{"node_id":{}}]`),
		"deep":          bytes.Repeat([]byte("["), 200_000),
		"deep objects": append(
			bytes.Repeat([]byte(`{"instances":[`), 20_000),
			bytes.Repeat([]byte("]}"), 20_000)...),
		"numbers out of range": []byte(`{"boot_id":"x","node_id":"a","seq":1e999,"up_ms":-1e300,"cpu_percent":1e308}`),
		"of another node": []byte(
			`{"node_id":"b","boot_id":"x","seq":1,"instances":[],"timestamp":"0000-00-00T00:00:00Z"}`,
		),
		"the end of all time": []byte(
			`{"node_id":"a","boot_id":"x","timestamp":"9999-12-31T23:59:59Z","online":true,"facts":{},"events":[{"seq":18446744073709551615,"up_ms":-9223372036854775808}]}`,
		),
		"a will of this boot": fmt.Appendf(nil, `{"node_id":"a","online":false,"boot_id":%q}`, boot),
		"large":               []byte(`{"node_id":"a","boot_id":"` + strings.Repeat("x", 250<<10) + `"}`),
	}
}

// TestHostilePayloadsDoNoHarm sends them on every topic of a node and of the control
// plane, many times, as somebody may on a broker that lets him.
func TestHostilePayloadsDoNoHarm(t *testing.T) {
	inThree(
		t,
		[]otto.Service{movable("web", "a"), disposable("db", "a"), service("home", "b")},
		func(t *testing.T, c *ottotest.Cluster) {
			before := map[string][]otto.Container{}
			for name, h := range c.Hosts {
				before[name] = h.Runtime.List()
			}
			topics := []string{
				wire.TopicControlStatus,
				wire.TopicEvents,
				"otto/nodes/a",
				"otto/nodes/../b/status",
				"otto/nodes/nobody/heartbeat",
			}
			for _, k := range []wire.Kind{
				wire.KindHeartbeat, wire.KindStatus, wire.KindInstances, wire.KindNodeMetrics, wire.KindContainerMetrics,
				wire.KindEvents, wire.KindAnswer, wire.KindAssignment, wire.KindLease, wire.KindQuestion,
			} {
				topics = append(topics, wire.NodeTopic("a", k))
			}
			for range 3 {
				for name, payload := range hostile("a-boot-1") {
					for _, topic := range topics {
						if name == "a will of this boot" && topic == wire.NodeTopic("a", wire.KindInstances) {
							continue // there it is a report, which is believed: only permissions keep it away
						}
						c.Bus.Inject(topic, false, payload)
						if _, kind, ok := wire.ParseNodeTopic(topic); ok {
							c.Say("a", kind, false, payload)
						}
					}
					time.Sleep(100 * time.Millisecond)
					if c.Plane.Cluster() == nil {
						t.Fatal(name)
					}
				}
			}
			for range 50 { // a flood
				for i := range 200 {
					c.Bus.Inject(topics[i%len(topics)], false, []byte("{"))
				}
				time.Sleep(20 * time.Millisecond)
			}
			time.Sleep(20 * time.Second)
			c.WaitUp(20 * time.Second)
			for name, h := range c.Hosts {
				if now := h.Runtime.List(); !reflect.DeepEqual(before[name], now) {
					t.Errorf("the containers of %s were %v and are %v", name, before[name], now)
				}
			}
			if k := kinds(c.Plane, "service-moved", "service-stand-in", "node-lost", "deposed"); len(k) > 0 {
				t.Errorf("it had an effect: %v", k)
			}
		},
	)
}

// TestHostileNodeNeitherForgesNorEmptiesTheJournal has a node tell of more events than the
// journal holds, of kinds that are the control plane's, and with what moves a cursor.
func TestHostileNodeNeitherForgesNorEmptiesTheJournal(t *testing.T) {
	inThree(t, []otto.Service{movable("web", "a"), service("home", "b")}, func(t *testing.T, c *ottotest.Cluster) {
		before, _ := c.Plane.Events(0)
		boot := "a-boot-1"
		var seq int
		for range 400 {
			var list []string
			for range 30 {
				for _, kind := range []string{"\\u001b[31mnode-removed", "node-lost", "service-failed", "instance-died", "instance-DIED", "engine-back"} {
					seq++
					list = append(
						list,
						fmt.Sprintf(`{"seq":%d,"up_ms":%d,"kind":"%s","service":"x y","message":"%s\u001b[2J"}`, seq,
							-seq, kind, strings.Repeat("x", 500)),
					)
				}
			}
			c.Say("a", wire.KindEvents, false,
				fmt.Appendf(nil, `{"node_id":"a","boot_id":%q,"events":[%s]}`, boot, strings.Join(list, ",")))
			time.Sleep(50 * time.Millisecond)
		}
		after, _ := c.Plane.Events(0)
		if len(after) < len(before) || !slices.Equal(before, after[:len(before)]) {
			t.Error("what was in the journal is lost")
		}
		told := 0
		for _, e := range after[len(before):] {
			switch e.Kind {
			case "instance-died", "engine-back":
				told++
			case "events-missed":
			default:
				t.Errorf("it has made %+v", e)
			}
			if strings.Contains(e.Message, "\x1b") || len(e.Message) > 500 || e.Service != "" ||
				e.Time.After(time.Now().Add(time.Minute)) {
				t.Errorf("%+v", e)
			}
		}
		if told < 64 || told > 200 {
			t.Errorf("%d of its events are kept", told)
		}
	})
}
