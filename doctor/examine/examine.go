// Package examine finds out what package doctor judges, about the machine that
// it runs on. It reads the kernel's files and measures the disk, and changes
// nothing: the file that it writes to measure has no name by the time it is
// written, so that not even a crash leaves it behind.
//
// A machine that is ill answers some questions and hangs on others. So all are
// asked at once, each has a deadline, and what is not answered by then is left
// out of the facts.
package examine

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/otto-edge/otto/doctor"
)

// Within is how long a Node takes at most, and engineWithin how long it waits for
// the engine, which hangs rather than fails.
const (
	Within       = 8 * time.Second
	engineWithin = 5 * time.Second
)

// Options say what to examine.
type Options struct {
	// Root is where /proc, /sys and /etc are found; empty means /.
	Root string
	Dir  string // where the disk is measured: a directory of Otto's own
	// Engine asks the container engine, and returns where it keeps its data.
	Engine func(context.Context) (e doctor.Engine, dataDir string)
	// Local says that the engine runs on this machine.
	Local bool
	// Brokers tries the addresses of the broker.
	Brokers func(context.Context) []doctor.Broker
	// PowerSave asks whether a wireless interface saves power; nil asks the kernel.
	PowerSave func(iface string) (on, known bool)
}

// Node examines this machine as a node.
func Node(ctx context.Context, o Options) doctor.Facts {
	ctx, cancel := context.WithTimeout(ctx, Within)
	defer cancel()
	if o.PowerSave == nil {
		o.PowerSave = powerSave
	}
	m := machine(o.Root)
	questions := []question{
		{"its kernel", func() answer {
			model, mem, power := m.model(), m.memoryCgroup(), m.throttled()
			return func(f *doctor.Facts) { f.Model, f.Memory, f.Throttled = model, mem, power }
		}},
		{"Wi-Fi", func() answer {
			list := m.wireless(o.PowerSave)
			return func(f *doctor.Facts) { f.Wireless = list }
		}},
		{"writing to its disk", func() answer {
			s := Sync(ctx, o.Dir)
			return func(f *doctor.Facts) { f.Sync = &s }
		}},
		{"the broker", func() answer {
			list := o.Brokers(ctx)
			return func(f *doctor.Facts) { f.Brokers = list }
		}},
		{"its engine", func() answer { return m.engine(ctx, o) }},
		{"free disk", func() answer {
			list := Disks(o.Dir)
			return func(f *doctor.Facts) { f.Disks = append(f.Disks, list...) }
		}},
	}
	f := doctor.Facts{Arch: runtime.GOARCH}
	ask(ctx, questions, &f)
	f.Disks = distinct(f.Disks)
	f.Time = time.Now()
	return f
}

// question is about one thing; its answer fills in the facts.
type question struct {
	about string
	ask   func() answer
}

type answer func(*doctor.Facts)

// ask asks all questions at once and takes the answers that come until ctx ends.
func ask(ctx context.Context, questions []question, f *doctor.Facts) {
	type numbered struct {
		i int
		answer
	}
	answers := make(chan numbered, len(questions))
	open := map[int]bool{}
	for i, q := range questions {
		open[i] = true
		go func() { answers <- numbered{i, q.ask()} }()
	}
	for len(open) > 0 {
		select {
		case a := <-answers:
			a.answer(f)
			delete(open, a.i)
		case <-ctx.Done():
			for _, i := range slices.Sorted(maps.Keys(open)) {
				f.Unanswered = append(f.Unanswered, questions[i].about)
			}
			return
		}
	}
}

func (m machine) engine(ctx context.Context, o Options) answer {
	ctx, cancel := context.WithTimeout(ctx, engineWithin)
	defer cancel()
	e, data := o.Engine(ctx)
	var disks []doctor.Disk
	if o.Local {
		if e.LogDriver != "" {
			e.LogLimit = m.logLimit(e.LogDriver)
		}
		e.Open = m.openEngine()
		disks = Disks(data)
	}
	return func(f *doctor.Facts) { f.Engine, f.Disks = &e, append(disks, f.Disks...) }
}

// machine is the directory in which /proc, /sys and /etc are.
type machine string

func (m machine) path(p string) string { return filepath.Join("/", string(m), p) }

// read is a small file's content without the white space around it.
func (m machine) read(p string) (string, bool) {
	b, err := os.ReadFile(m.path(p))
	return strings.TrimSpace(string(b)), err == nil
}

func (m machine) glob(pattern string) []string {
	found, _ := filepath.Glob(m.path(pattern)) // the pattern is good
	return found
}

// model is what a board calls itself, empty on a PC.
func (m machine) model() string {
	s, _ := m.read("/proc/device-tree/model")
	return strings.Trim(s, "\x00")
}

// memoryCgroup reports whether the kernel can limit memory, from the list of
// controllers of version 2, else of version 1; see cgroups(7).
func (m machine) memoryCgroup() *bool {
	if s, ok := m.read("/sys/fs/cgroup/cgroup.controllers"); ok {
		return has(strings.Fields(s), "memory")
	}
	s, ok := m.read("/proc/cgroups")
	if !ok {
		return nil
	}
	var on []string
	for line := range strings.Lines(s) {
		if f := strings.Fields(line); len(f) == 4 && f[3] == "1" {
			on = append(on, f[0])
		}
	}
	return has(on, "memory")
}

func has(list []string, s string) *bool {
	found := false
	for _, l := range list {
		found = found || l == s
	}
	return &found
}

// throttled is get_throttled of a Raspberry Pi: from its firmware's driver, else
// from the voltage sensor, whose alarm is that the voltage was too low since boot.
func (m machine) throttled() *uint32 {
	for _, pattern := range []string{"/sys/devices/platform/*/*firmware/get_throttled", "/sys/devices/platform/*firmware/get_throttled"} {
		for _, path := range m.glob(pattern) {
			b, err := os.ReadFile(path)
			n, perr := strconv.ParseUint(strings.TrimPrefix(string(bytes.TrimSpace(b)), "0x"), 16, 32)
			if err == nil && perr == nil {
				bits := uint32(n)
				return &bits
			}
		}
	}
	for _, path := range m.glob("/sys/class/hwmon/hwmon*") {
		name, err := os.ReadFile(filepath.Join(path, "name"))
		alarm, aerr := os.ReadFile(filepath.Join(path, "in0_lcrit_alarm"))
		if err != nil || aerr != nil || strings.TrimSpace(string(name)) != "rpi_volt" {
			continue
		}
		var bits uint32
		if strings.TrimSpace(string(alarm)) == "1" {
			bits = 1 << 16
		}
		return &bits
	}
	return nil
}

// wireless are the wireless interfaces that are up.
func (m machine) wireless(powerSave func(string) (bool, bool)) []doctor.Wireless {
	var list []doctor.Wireless
	for _, pattern := range []string{"/sys/class/net/*/phy80211", "/sys/class/net/*/wireless"} {
		for _, path := range m.glob(pattern) {
			dir := filepath.Dir(path)
			state, err := os.ReadFile(filepath.Join(dir, "operstate"))
			if err != nil || strings.TrimSpace(string(state)) != "up" {
				continue
			}
			w := doctor.Wireless{Name: filepath.Base(dir)}
			if on, known := powerSave(w.Name); known {
				w.PowerSave = &on
			}
			list = append(list, w)
		}
		if len(list) > 0 {
			break
		}
	}
	return list
}
