package broker

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCovers(t *testing.T) {
	tests := []struct {
		granted, wanted string
		want            bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a", false},
		{"a/b", "a/b/c", false},
		{"a/b", "a/+", false},
		{"a/+", "a/b", true},
		{"a/+", "a/+", true},
		{"a/+", "a/#", false},
		{"a/+", "a", false},
		{"a/#", "a", true},
		{"a/#", "a/b/c", true},
		{"a/#", "a/+/#", true},
		{"a/#", "#", false},
		{"a/#", "+/b", false},
		{"a/#", "+", false},
		{"a/+/c/#", "a/+/c", true},
		{"a/+/c/#", "a/b/c/d", true},
		{"a/+/c/#", "a/+/d", false},
		{"a/+/c/#", "a/#", false},
		{"a", "", false},
		{"a", "$a", false},
	}
	for _, tt := range tests {
		if got := covers(tt.granted, tt.wanted); got != tt.want {
			t.Errorf("covers(%q, %q) = %t", tt.granted, tt.wanted, got)
		}
	}
	for _, f := range []string{"", "#", "+", "+/a", "$SYS/a", "a//b", "a/#/b", "a/b#", "a\n/b"} {
		if grantable(f) {
			t.Errorf("%q can be granted", f)
		}
	}
}

func TestFullPlacesAreTakenFromWhoHasMost(t *testing.T) {
	source := func(s string) netip.Prefix { return netip.MustParsePrefix(s + "/32") }
	p := newPlaces[int](3)
	many, other := source("10.0.0.1"), source("10.0.0.2")
	for i := range 3 {
		if _, full := p.add(many, i); full {
			t.Fatal("full too early")
		}
	}
	if got, full := p.add(other, 10); !full || got != 0 {
		t.Errorf("for a newcomer %d goes", got)
	}
	if got, full := p.add(many, 3); !full || got != 1 {
		t.Errorf("for one more of many %d goes", got)
	}
	p.remove(many, 2)
	p.remove(many, 2)
	if _, full := p.add(other, 11); full {
		t.Error("a place given back is not free")
	}
	single := newPlaces[int](1)
	single.add(many, 1)
	if got, full := single.add(other, 2); !full || got != 1 {
		t.Errorf("of two with one each, %d goes", got)
	}
}

func TestSourceOf(t *testing.T) {
	for addr, want := range map[string]string{
		"10.0.0.1:5":              "10.0.0.1/32",
		"[::ffff:10.0.0.1]:5":     "10.0.0.1/32",
		"[2001:db8:1:2:3::4]:5":   "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::]:5": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:5":        "fe80::/64",
	} {
		got := sourceOf(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
		if got.String() != want {
			t.Errorf("%s counts as %s, want %s", addr, got, want)
		}
	}
}

func TestBucketFillsUpAgain(t *testing.T) {
	now := time.Unix(0, 0)
	b := bucket{rate: rate{perSecond: 10, burst: 20}}
	for _, tt := range []struct {
		after time.Duration
		take  int
		want  time.Duration
	}{{0, 20, 0}, {0, 10, time.Second}, {time.Second, 0, 0}, {2 * time.Second, 25, 500 * time.Millisecond}} {
		now = now.Add(tt.after)
		if got := b.take(tt.take, now); got != tt.want {
			t.Errorf("%+v: wait %v", tt, got)
		}
	}
}

func TestConnectIsBounded(t *testing.T) {
	long := strings.Repeat("x", 300)
	tests := map[string]string{
		"not MQTT":              "\x10\x0c\x00\x04HTTP\x04\x02\x00\x3c\x00\x00",
		"reserved flag":         "\x10\x0c\x00\x04MQTT\x04\x03\x00\x3c\x00\x00",
		"rest behind it":        "\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x00x",
		"too short":             "\x10\x0b\x00\x04MQTT\x04\x02\x00\x3c\x00",
		"long client id":        "\x10\xb8\x02\x00\x04MQTT\x04\x02\x00\x3c\x01\x2c" + long,
		"will without a topic":  "\x10\x10\x00\x04MQTT\x04\x06\x00\x3c\x00\x00\x00\x00\x00\x00",
		"client id with a zero": "\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01\x00",
		"unknown property":      "\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x02\x7e\x01\x00\x00",
		"huge":                  "\x10\xff\xff\xff\x7f",
		"endless length":        "\x10\xff\xff\xff\xff\xff",
		"another packet":        "\x30\x03\x00\x01a",
	}
	for name, packet := range tests {
		if _, err := readConnect(bufio.NewReader(strings.NewReader(packet))); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var r *refusal
	if _, err := readConnect(
		bufio.NewReader(strings.NewReader("\x10\x0c\x00\x04MQTT\x06\x02\x00\x3c\x00\x00")),
	); !errors.As(err, &r) ||
		r.v3 != 1 {
		t.Errorf("MQTT 6: %v", err)
	}
}

// FuzzConnect decodes anything. What it takes, it encodes so that it decodes to the same,
// but for the credentials.
func FuzzConnect(f *testing.F) {
	f.Add([]byte("\x00\x04MQTT\x04\xc2\x00\x3c\x00\x0ccommlib-node\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a"))
	f.Add(
		[]byte(
			"\x00\x04MQTT\x05\xee\x00\x3c\x05\x27\x00\x00\x10\x00\x00\x01a\x00\x00\x01t\x00\x02hi\x00\x01u\x00\x01p",
		),
	)
	f.Add(
		[]byte(
			"\x00\x04MQTT\x05\x02\x00\x3c\x13\x11\x00\x00\x00\x0a\x21\x00\x14\x26\x00\x01k\x00\x01v\x15\x00\x01m\x00\x00",
		),
	)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeConnect(b)
		if err != nil {
			return
		}
		again, err := readConnect(bufio.NewReader(bytes.NewReader(c.encode(c.clientID))))
		if err != nil {
			t.Fatal(err)
		}
		c.username, c.password = "", ""
		if d := cmp.Diff(c, again, cmp.AllowUnexported(connect{}, will{})); d != "" {
			t.Error(d)
		}
	})
}

// FuzzFrames finds the same packets and the same fault however the bytes come in pieces.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x30\x03\x00\x01a\xc0\x00\x82\x06\x00\x01\x00\x01a\x00"), 3)
	f.Add([]byte("\x34\x03\x00\x01a"), 1)
	f.Add([]byte("\xc0\x00\xe0\x00\x30\xff\xff\xff\xff"), 4)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		whole := frames{largest: 1000}
		packets, err := whole.follow(b)
		parts := frames{largest: 1000}
		cut = max(0, min(cut, len(b)))
		first, errParts := parts.follow(b[:cut])
		if errParts == nil {
			var second int
			second, errParts = parts.follow(b[cut:])
			first += second
		}
		if first != packets || (err == nil) != (errParts == nil) {
			t.Errorf("whole: %d packets, %v; in parts: %d, %v", packets, err, first, errParts)
		}
	})
}
