package sampler

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// The parsers here allocate nothing and take anything: what they do not
// understand counts as absent.

// number reads the decimal digits that b begins with.
func number(b []byte) (n uint64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			break
		}
		n, ok = n*10+uint64(c-'0'), true
	}
	return n, ok
}

// hex reads the hexadecimal digits that b begins with, behind 0x or not.
func hex(b []byte) (n uint64, ok bool) {
	for _, c := range bytes.TrimPrefix(b, []byte("0x")) {
		digit := bytes.IndexByte([]byte("0123456789abcdef"), c|0x20)
		if digit < 0 {
			break
		}
		n, ok = n<<4|uint64(digit), true
	}
	return n, ok
}

// decimal reads a number such as 0.25 that b begins with.
func decimal(b []byte) (f float64, ok bool) {
	scale := 0.0 // of the next digit after the point
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9' && scale == 0:
			f, ok = f*10+float64(c-'0'), true
		case c >= '0' && c <= '9':
			f += scale * float64(c-'0')
			scale /= 10
		case c == '.' && ok && scale == 0:
			scale = 0.1
		default:
			return f, ok
		}
	}
	return f, ok
}

// line cuts the first line off b.
func line(b []byte) (first, rest []byte) {
	first, rest, _ = bytes.Cut(b, []byte{'\n'})
	return first, rest
}

// word cuts the first word off b.
func word(b []byte) (first, rest []byte) {
	b = bytes.TrimLeft(b, " \t")
	if i := bytes.IndexAny(b, " \t"); i >= 0 {
		return b[:i], b[i:]
	}
	return b, nil
}

// allowedCores are those of Cpus_allowed_list in a process's status, such as
// "0-2,5"; none if it does not say.
func allowedCores(b []byte) (set unix.CPUSet) {
	for len(b) > 0 {
		var l []byte
		l, b = line(b)
		list, ok := bytes.CutPrefix(l, []byte("Cpus_allowed_list:"))
		if !ok {
			continue
		}
		for part := range bytes.SplitSeq(bytes.TrimSpace(list), []byte{','}) {
			first, last, isRange := bytes.Cut(part, []byte{'-'})
			from, ok := number(first)
			to := from
			if isRange {
				to, _ = number(last)
			}
			for n := from; ok && n <= to && n < maxCores; n++ {
				set.Set(int(n))
			}
		}
	}
	return set
}

const maxCores = 1024 // that a unix.CPUSet holds

// field finds the number after a key at the beginning of a line, as in
// "usage_usec 1234".
func field(b []byte, key string) (uint64, bool) {
	for len(b) > 0 {
		var l []byte
		l, b = line(b)
		if name, value := word(l); string(name) == key {
			value, _ = word(value)
			return number(value)
		}
	}
	return 0, false
}

// ioStat sums the devices of cgroup v2's io.stat: "8:0 rbytes=1 wbytes=2 ...".
func ioStat(b []byte) (read, written uint64) {
	for len(b) > 0 {
		var l, w []byte
		l, b = line(b)
		for len(l) > 0 {
			w, l = word(l)
			key, value, _ := bytes.Cut(w, []byte{'='})
			n, _ := number(value)
			switch string(key) {
			case "rbytes":
				read += n
			case "wbytes":
				written += n
			}
		}
	}
	return read, written
}

// blkio sums the devices of cgroup v1's io_service_bytes: "8:0 Read 1".
func blkio(b []byte) (read, written uint64) {
	for len(b) > 0 {
		var l []byte
		l, b = line(b)
		_, l = word(l)
		op, l := word(l)
		value, _ := word(l)
		n, _ := number(value)
		switch string(op) {
		case "Read":
			read += n
		case "Write":
			written += n
		}
	}
	return read, written
}

// netDev sums the interfaces of /proc/net/dev but loopback.
func netDev(b []byte) (received, sent uint64) {
	for len(b) > 0 {
		var l, w []byte
		l, b = line(b)
		name, counters, ok := bytes.Cut(l, []byte{':'})
		if !ok || string(bytes.TrimSpace(name)) == "lo" {
			continue
		}
		for i := range 9 { // received bytes first, sent bytes ninth
			w, counters = word(counters)
			n, _ := number(w)
			switch i {
			case 0:
				received += n
			case 8:
				sent += n
			}
		}
	}
	return received, sent
}

// pressure finds "avg10" of the line "some" in a file of /proc/pressure.
func pressure(b []byte) (percent float64, ok bool) {
	for len(b) > 0 {
		var l []byte
		l, b = line(b)
		kind, l := word(l)
		if string(kind) != "some" {
			continue
		}
		avg, _ := word(l)
		if value, found := bytes.CutPrefix(avg, []byte("avg10=")); found {
			return decimal(value)
		}
	}
	return 0, false
}

// loadAverage reads the first three numbers of /proc/loadavg.
func loadAverage(b []byte) (load [3]float64, ok bool) {
	for i := range load {
		var w []byte
		w, b = word(b)
		if load[i], ok = decimal(w); !ok {
			return load, false
		}
	}
	return load, true
}
