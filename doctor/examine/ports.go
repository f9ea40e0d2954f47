package examine

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// plainEnginePort is where engines take orders without TLS.
const plainEnginePort = "2375"

// openEngine are the addresses beyond this machine at which an engine takes
// orders from anybody.
func (m machine) openEngine() (open []string) {
	for _, l := range m.listeners("/proc/net") {
		host, port, _ := net.SplitHostPort(l.address)
		if port == plainEnginePort && !net.ParseIP(host).IsLoopback() {
			open = append(open, l.address)
		}
	}
	return open
}

// Listening are the TCP addresses that a process listens at, host:port each. It
// has none where there is no /proc.
func Listening(root string, pid int) []string {
	m := machine(root)
	inodes := map[string]bool{}
	dir := fmt.Sprintf("/proc/%d", pid)
	for _, path := range m.glob(dir + "/fd/*") {
		if to, err := os.Readlink(path); err == nil {
			if inode, ok := strings.CutPrefix(to, "socket:["); ok {
				inodes[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	var list []string
	for _, l := range m.listeners(filepath.Join(dir, "net")) {
		if inodes[l.inode] {
			list = append(list, l.address)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

type listener struct{ address, inode string }

func (m machine) listeners(dir string) (list []listener) {
	for _, name := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile(m.path(filepath.Join(dir, name)))
		if err == nil {
			list = append(list, parseListeners(string(b))...)
		}
	}
	return list
}

// parseListeners reads /proc/net/tcp and tcp6, described in proc_net(5), for
// what is in state LISTEN.
func parseListeners(table string) (list []listener) {
	const listen = "0A"
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != listen {
			continue
		}
		if address, ok := parseAddress(f[1]); ok {
			list = append(list, listener{address, f[9]})
		}
	}
	return list
}

// parseAddress reads an address in hex, in which each word of four bytes is
// little-endian, and its port, which is not.
func parseAddress(s string) (string, bool) {
	addr, port, ok := strings.Cut(s, ":")
	ip, err := hex.DecodeString(addr)
	n, perr := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || perr != nil || len(ip) != net.IPv4len && len(ip) != net.IPv6len {
		return "", false
	}
	for word := range slices.Chunk(ip, 4) {
		slices.Reverse(word)
	}
	return net.JoinHostPort(net.IP(ip).String(), strconv.FormatUint(n, 10)), true
}
