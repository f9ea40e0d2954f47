package e2e_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// wiretap keeps all that crosses the links of this machine: those of the lab's hosts, whoever
// talks to whom, and the loopback.
type wiretap struct {
	flows   map[flow][]byte
	packets int
	lost    uint32 // packets that came too fast
}

// flow is one direction between two ends, as one link has seen it.
type flow struct {
	link     string
	protocol byte // of IP; 0 for what is not IP
	from, to netip.AddrPort
}

func (f flow) String() string { return fmt.Sprintf("%s: %v to %v", f.link, f.from, f.to) }

// tapLinks listens until what it returns is called.
func tapLinks(t *testing.T) func() *wiretap {
	t.Helper()
	const all = uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(all))
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 256<<20)
	_ = unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan *wiretap, 1)
	go func() {
		w := &wiretap{flows: map[flow][]byte{}}
		names := map[int]string{}
		for packet := make([]byte, 1<<17); ; {
			flags := 0
			if ctx.Err() != nil {
				flags = unix.MSG_DONTWAIT
			}
			n, from, err := unix.Recvfrom(socket, packet, flags)
			if err != nil && flags != 0 {
				break // all that had come is read
			}
			at, ok := from.(*unix.SockaddrLinklayer)
			if err != nil || !ok {
				continue
			}
			if names[at.Ifindex] == "" { // a host that boots has another one
				if link, err := net.InterfaceByIndex(at.Ifindex); err == nil {
					names[at.Ifindex] = link.Name
				}
			}
			if names[at.Ifindex] == "lo" && at.Pkttype == unix.PACKET_OUTGOING {
				continue // it comes in as well
			}
			w.packets++
			key, payload := dissect(packet[:n])
			key.link = names[at.Ifindex]
			w.flows[key] = append(w.flows[key], payload...)
		}
		if stats, err := unix.GetsockoptTpacketStats(socket, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			w.lost = stats.Drops
		}
		_ = unix.Close(socket)
		done <- w
	}()
	stop := sync.OnceValue(func() *wiretap { cancel(); return <-done })
	t.Cleanup(func() { stop() })
	return stop
}

// dissect is whose a packet is and what it carries: of TCP and UDP that alone, so that what
// is cut into segments is found, and all of it otherwise.
func dissect(packet []byte) (f flow, payload []byte) {
	var from, to netip.Addr
	rest := packet
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4 && int(packet[0]&15)*4 <= len(packet):
		f.protocol = packet[9]
		from, to = netip.AddrFrom4([4]byte(packet[12:16])), netip.AddrFrom4([4]byte(packet[16:20]))
		rest = packet[int(packet[0]&15)*4:]
	case len(packet) >= 40 && packet[0]>>4 == 6:
		f.protocol = packet[6]
		from, to = netip.AddrFrom16([16]byte(packet[8:24])), netip.AddrFrom16([16]byte(packet[24:40]))
		rest = packet[40:]
	default:
		return f, packet
	}
	head := 0
	switch {
	case f.protocol == unix.IPPROTO_TCP && len(rest) >= 20:
		head = int(rest[12]>>4) * 4
	case f.protocol == unix.IPPROTO_UDP && len(rest) >= 8:
		head = 8
	}
	if head == 0 || head > len(rest) {
		f.from, f.to = netip.AddrPortFrom(from, 0), netip.AddrPortFrom(to, 0)
		return f, packet
	}
	f.from = netip.AddrPortFrom(from, binary.BigEndian.Uint16(rest))
	f.to = netip.AddrPortFrom(to, binary.BigEndian.Uint16(rest[2:]))
	return f, rest[head:]
}

// find is where a text has crossed a link, as it is or as people encode it.
func (w *wiretap) find(text string) (found []string) {
	for how, needle := range spellings(text) {
		for f, b := range w.flows {
			if at := bytes.Index(b, needle); at >= 0 {
				found = append(found, fmt.Sprintf("%v: %q (%s)", f, b[max(0, at-40):min(len(b), at+len(needle)+40)], how))
			}
		}
	}
	return found
}

// crossed is how many bytes have been seen of a port of TCP.
func (w *wiretap) crossed(port uint16) (n int) {
	for f, b := range w.flows {
		if f.protocol == unix.IPPROTO_TCP && (f.from.Port() == port || f.to.Port() == port) {
			n += len(b)
		}
	}
	return n
}

// spellings are a text as it is, in hexadecimal, and in base64 wherever it begins in what
// was encoded.
func spellings(text string) map[string][]byte {
	all := map[string][]byte{"plain": []byte(text), "hex": []byte(hex.EncodeToString([]byte(text)))}
	for before := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, before), text...))
		first := (before*8 + 5) / 6 // the first character that is of the text alone
		last := (before + len(text)) * 8 / 6
		all[fmt.Sprintf("base64, %d before", before)] = []byte(encoded[first:last])
	}
	return all
}

func TestTextIsFoundHoweverItIsEncoded(t *testing.T) {
	for _, text := range []string{"hunter2", "hunter22", "hunter222", "a longer text, with spaces"} {
		for n := range 7 {
			content := append(bytes.Repeat([]byte("\xff~"), n), "x "+text+" y"...)
			for name, b := range map[string][]byte{
				"plain":  content,
				"hex":    []byte(hex.EncodeToString(content)),
				"base64": []byte(base64.StdEncoding.EncodeToString(content)),
			} {
				w := &wiretap{flows: map[flow][]byte{{link: "a"}: b}}
				if len(w.find(text)) == 0 {
					t.Errorf("%q is not found in %s, %d before", text, name, n)
				}
			}
			if w := (&wiretap{flows: map[flow][]byte{{}: content}}); len(w.find(text+"?")) > 0 {
				t.Errorf("%q is found where it is not", text)
			}
		}
	}
}
