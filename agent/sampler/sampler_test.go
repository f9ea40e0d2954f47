package sampler

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/otto-edge/otto"
)

// Containers of the recorded trees in testdata. v1 was recorded on Debian 12
// with engine 20.10, v2 has the layout of Raspberry Pi OS and the systemd driver.
var (
	limited   = otto.RunningContainer{ID: "6f1d3c0e9b7a", Name: "limited", Pid: 2201}
	barePi    = otto.RunningContainer{ID: "b2c4e6a8d0f1", Name: "controllers-off", Pid: 2202}
	unlimited = otto.RunningContainer{ID: "c0ffee00c0ff", Name: "unlimited", Pid: 2203}
	recorded  = otto.RunningContainer{ID: "4b10511a175e", Name: "recorded", Pid: 1201}
	edge      = otto.RunningContainer{ID: "dddd0000dddd", Name: "cgroup-parent", Pid: 1202}
)

const memTotal = 3885396 << 10 // of /proc/meminfo

var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func TestContainersAreReadAsDockerStatsCounts(t *testing.T) {
	for _, tc := range []struct {
		root string
		in   otto.RunningContainer
		want otto.ContainerSample
	}{
		{"v2", limited, otto.ContainerSample{
			MemoryUsed: 52428800 - 10485760, MemoryLimit: 268435456,
			NetRecv: 70007, NetSent: 30003, BlockRead: 4097000, BlockWrite: 10192,
		}},
		{"v2", barePi, otto.ContainerSample{MemoryLimit: memTotal, NetRecv: 70007, NetSent: 30003}},
		{"v2", unlimited, otto.ContainerSample{MemoryUsed: 1048576, MemoryLimit: memTotal, NetRecv: 70007, NetSent: 30003}},
		{"v1", recorded, otto.ContainerSample{
			MemoryUsed: 2699264 - 1982464, MemoryLimit: 67108864,
			NetRecv: 1446, BlockRead: 1196032, BlockWrite: 2097152,
		}},
		{"v1", edge, otto.ContainerSample{MemoryUsed: 4096, MemoryLimit: memTotal, BlockRead: 77, BlockWrite: 33}},
	} {
		t.Run(tc.in.Name, func(t *testing.T) {
			s := New(Options{Root: filepath.Join("testdata", tc.root)})
			defer s.Close()
			tc.want.ID, tc.want.Name = tc.in.ID, tc.in.Name
			for range 2 { // the second time from open files
				got := s.Containers(start, []otto.RunningContainer{tc.in})
				if diff := cmp.Diff([]otto.ContainerSample{tc.want}, got); diff != "" {
					t.Fatal(diff)
				}
			}
		})
	}
}

// TestContainersThatTheirLimitsHinder is about both layouts of the kernel's files.
func TestContainersThatTheirLimitsHinder(t *testing.T) {
	for _, tc := range []struct {
		root                string
		in                  otto.RunningContainer
		quota, kill, memory string // the files that tell
	}{
		{"v2", limited, "sys/fs/cgroup/*/*6f1d*/cpu.stat", "sys/fs/cgroup/*/*6f1d*/memory.events", "sys/fs/cgroup/*/*6f1d*/memory.current"},
		{"v1", recorded, "sys/fs/cgroup/cpu/docker/4b10*/cpu.stat", "sys/fs/cgroup/memory/docker/4b10*/memory.oom_control", "sys/fs/cgroup/memory/docker/4b10*/memory.usage_in_bytes"},
	} {
		t.Run(tc.root, func(t *testing.T) {
			root := copyTree(t, filepath.Join("testdata", tc.root))
			s := New(Options{Root: root})
			defer s.Close()
			read := func() otto.ContainerSample { return s.Containers(start, []otto.RunningContainer{tc.in})[0] }
			quota := func(periods, throttled int) {
				writeFile(t, one(t, root, tc.quota), fmt.Sprintf("usage_usec 5\nnr_periods %d\nnr_throttled %d\nthrottled_usec 9\n", periods, throttled))
			}
			share := func() float64 {
				t.Helper()
				got := read().Throttled
				if got == nil {
					t.Fatal("no share of time, though it has a limit")
				}
				return *got
			}
			quota(0, 0)
			if got := read().Throttled; got != nil {
				t.Errorf("without a limit: %v", *got)
			}
			quota(100, 50)
			if got := share(); got != 0 {
				t.Errorf("in the first reading: %v", got)
			}
			quota(140, 60)
			if got := share(); got != 25 {
				t.Errorf("10 periods of 40: %v", got)
			}
			if got := share(); got != 0 {
				t.Errorf("without another period: %v", got)
			}
			quota(1, 1)
			if got := share(); got != 0 {
				t.Errorf("counters that began anew: %v", got)
			}
			if got := read().OOMKills; got != 0 {
				t.Errorf("%d kills before any", got)
			}
			writeFile(t, one(t, root, tc.kill), "oom 4\noom_kill 3\noom_group_kill 1\n")
			writeFile(t, one(t, root, tc.memory), "4096\n") // it was of some use
			if got := read().OOMKills; got != 3 {
				t.Errorf("%d kills, want 3", got)
			}
		})
	}
}

func TestContainerOnTheNodesNetworkHasNoTrafficOfItsOwn(t *testing.T) {
	s := New(Options{Root: "testdata/v2"})
	defer s.Close()
	host := limited
	host.HostNetwork = true
	got := s.Containers(start, []otto.RunningContainer{host})
	if len(got) != 1 || got[0].NetRecv != 0 || got[0].NetSent != 0 {
		t.Errorf("got %+v, want one sample without traffic", got)
	}
}

func TestCPUIsOfOneCoreSinceTheLastReading(t *testing.T) {
	root := copyTree(t, "testdata/v2")
	s := New(Options{Root: root})
	defer s.Close()
	read := func(at time.Duration) float64 {
		return s.Containers(start.Add(at), []otto.RunningContainer{limited})[0].CPUPercent
	}
	usage := func(usec int) {
		writeFile(t, one(t, root, "sys/fs/cgroup/*/*6f1d*/cpu.stat"), fmt.Sprintf("usage_usec %d\n", usec))
	}

	if got := read(0); got != 0 {
		t.Errorf("first reading: %v, want 0", got)
	}
	usage(1_500_000 + 3_000_000)
	if got := read(2 * time.Second); got != 150 {
		t.Errorf("3 s of CPU in 2 s: %v, want 150", got)
	}
	if got := read(2 * time.Second); got != 150 {
		t.Errorf("at the same moment: %v, want the former 150", got)
	}
	usage(10)
	if got := read(4 * time.Second); got != 0 {
		t.Errorf("counter going back: %v, want 0", got)
	}
}

func TestFileCacheIsReadAgainWhenItMayHaveChanged(t *testing.T) {
	root := copyTree(t, "testdata/v2")
	s := New(Options{Root: root})
	defer s.Close()
	write := func(name, content string) { writeFile(t, one(t, root, "sys/fs/cgroup/*/*6f1d*/"+name), content) }
	used := func() uint64 { return s.Containers(start, []otto.RunningContainer{limited})[0].MemoryUsed }
	write("memory.current", "1000")
	write("memory.stat", "inactive_file 100")
	if got := used(); got != 900 {
		t.Fatalf("%d bytes are used", got)
	}
	write("memory.stat", "inactive_file 300")
	for range cacheSweeps - 1 {
		if got := used(); got != 900 {
			t.Fatalf("memory.stat was read again although nothing has changed: %d", got)
		}
	}
	if got := used(); got != 700 {
		t.Errorf("after %d sweeps %d bytes are used", cacheSweeps, got)
	}
	write("memory.stat", "inactive_file 500")
	write("memory.current", "1001")
	if got := used(); got != 501 {
		t.Errorf("after a change %d bytes are used", got)
	}
}

func TestRestartedContainerIsReadFromItsNewProcess(t *testing.T) {
	s := New(Options{Root: "testdata/v2"})
	defer s.Close()
	s.Containers(start, []otto.RunningContainer{limited})
	restarted := limited
	restarted.Pid = unlimited.Pid
	got := s.Containers(start, []otto.RunningContainer{restarted})
	if len(got) != 1 || got[0].MemoryUsed != 1048576 {
		t.Errorf("got %+v, want the memory of the new process", got)
	}
}

func TestEndedContainersAreLeftOutAndTheirFilesClosed(t *testing.T) {
	s := New(Options{Root: "testdata/v2"})
	budget := s.files.budget
	ended := otto.RunningContainer{ID: "e", Pid: 99999}
	if got := s.Containers(start, []otto.RunningContainer{limited, ended}); len(got) != 1 {
		t.Errorf("got %d samples, want only that of the running one", len(got))
	}
	if s.files.budget == budget {
		t.Error("no file is kept open")
	}
	s.Containers(start, nil)
	if s.files.budget != budget || len(s.containers) != 0 {
		t.Errorf("%d files are still open, of %d containers", budget-s.files.budget, len(s.containers))
	}
}

func TestFewFileDescriptorsChangeNoFigure(t *testing.T) {
	all := []otto.RunningContainer{limited, barePi, unlimited}
	ample, scarce := New(Options{Root: "testdata/v2"}), New(Options{Root: "testdata/v2"})
	defer ample.Close()
	defer scarce.Close()
	scarce.files.budget = 2
	want, got := ample.Containers(start, all), scarce.Containers(start, all)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	open := 0
	for _, c := range scarce.containers {
		for _, f := range []file{c.cpu, c.memory, c.memoryStat, c.memoryLimit, c.io, c.net} {
			if f.open {
				open++
			}
		}
	}
	if open != 2 {
		t.Errorf("%d files are kept open, want 2", open)
	}
}

func TestNode(t *testing.T) {
	root := copyTree(t, "testdata/v2")
	s := New(Options{Root: root})
	defer s.Close()
	got, err := s.Node(start)
	if err != nil {
		t.Fatal(err)
	}
	want := otto.NodeSample{
		Time:       start,
		MemoryUsed: 1000000 << 10, MemoryTotal: memTotal,
		NetSent: 5243080, NetRecv: 10485860,
		Load:        &otto.Load{One: 0.52, Five: 0.31, Fifteen: 0.25},
		Temperature: new(48.312),
		Pressure:    &otto.Pressure{CPU: 12.5, IO: 3.07},
		Uptime:      86400.25,
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(otto.NodeSample{}, "DiskUsed", "DiskTotal"), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		t.Error(diff)
	}
	if got.DiskTotal == 0 || got.DiskUsed > got.DiskTotal {
		t.Errorf("disk %d of %d bytes", got.DiskUsed, got.DiskTotal)
	}

	stat := filepath.Join(root, "proc/stat") // each core: 100 ticks busy, 300 idle
	writeFile(t, stat, strings.ReplaceAll(readFile(t, stat), " 512 3 256 20000 75 ", " 600 3 268 20200 175 "))
	if got, err = s.Node(start.Add(time.Second)); err != nil || got.CPUPercent != 25 {
		t.Errorf("CPU %v, %v; want 25", got.CPUPercent, err)
	}
}

// TestOnlyTheNodesOwnCoresCount has four cores, of which two are busy.
func TestOnlyTheNodesOwnCoresCount(t *testing.T) {
	for name, tt := range map[string]struct {
		status string // of this process
		want   float64
	}{
		"a busy one":                      {"Cpus_allowed_list:\t1\n", 100},
		"an idle one":                     {"Cpus_allowed_list:\t2\n", 0},
		"one of each":                     {"Cpus_allowed_list:\t1-2\n", 50},
		"all":                             {"Cpus_allowed_list:\t0-3\n", 50},
		"not known":                       {"", 50},
		"numbered otherwise, as by LXCFS": {"Cpus_allowed_list:\t8-11\n", 50},
	} {
		t.Run(name, func(t *testing.T) {
			root := copyTree(t, "testdata/v2")
			if tt.status != "" {
				writeFile(t, filepath.Join(root, "proc/self/status"), tt.status)
			}
			cores := func(busy, idle int) string {
				const rest = " 0 0 0 0 0 0\n"
				mine, other := fmt.Sprintf(" %d 0 0 1000", busy), fmt.Sprintf(" 100 0 0 %d", idle)
				return "cpu 0 0 0 0" + rest + "cpu0" + mine + rest + "cpu1" + mine + rest + "cpu2" + other + rest + "cpu3" + other + rest
			}
			stat := filepath.Join(root, "proc/stat")
			writeFile(t, stat, cores(100, 1000))
			s := New(Options{Root: root})
			defer s.Close()
			if _, err := s.Node(start); err != nil {
				t.Fatal(err)
			}
			writeFile(t, stat, cores(200, 1100))
			got, err := s.Node(start.Add(time.Second))
			if err != nil || got.CPUPercent != tt.want {
				t.Errorf("CPU %v, %v; want %v", got.CPUPercent, err, tt.want)
			}
		})
	}
}

func TestThrottledNode(t *testing.T) {
	const (
		pi      = "sys/devices/platform/soc/soc:firmware/get_throttled"
		sensor  = "sys/class/hwmon/hwmon1/"
		cooling = "sys/class/thermal/cooling_device0/"
		core    = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
	)
	none, heat, voltage := &otto.Throttle{}, &otto.Throttle{Heat: true}, &otto.Throttle{Voltage: true}
	for name, tt := range map[string]struct {
		first, then map[string]string // contents of files
		want        *otto.Throttle
	}{
		"nothing tells":          {nil, nil, nil},
		"a Pi that is well":      {map[string]string{pi: "0\n"}, nil, none},
		"was throttled long ago": {map[string]string{pi: "e0000\n"}, nil, none},
		"too hot":                {map[string]string{pi: "60006\n"}, nil, heat},
		"soft limit":             {map[string]string{pi: "0x80008\n"}, nil, heat},
		"a weak supply":          {map[string]string{pi: "50005\n"}, nil, voltage},
		"a weak supply, and hot": {map[string]string{pi: "d000d\n"}, nil, &otto.Throttle{Heat: true, Voltage: true}},
		"the mainline's alarm":   {map[string]string{sensor + "name": "rpi_volt\n", sensor + "in0_lcrit_alarm": "1\n"}, nil, voltage},
		"an alarm of others":     {map[string]string{sensor + "name": "nct6775\n", sensor + "in0_lcrit_alarm": "1\n"}, nil, nil},
		"cooled by frequency":    {map[string]string{cooling + "type": "cpufreq-cpu0\n", cooling + "cur_state": "2\n"}, nil, heat},
		"cooled by a fan":        {map[string]string{cooling + "type": "pwm-fan\n", cooling + "cur_state": "2\n"}, nil, nil},
		"a PC that was too hot":  {map[string]string{core: "7\n"}, nil, none},
		"a PC that is too hot":   {map[string]string{core: "7\n"}, map[string]string{core: "8\n"}, heat},
		"a PC that was, again":   {map[string]string{core: "7\n"}, map[string]string{core: "7\n"}, none},
	} {
		t.Run(name, func(t *testing.T) {
			root := copyTree(t, "testdata/v1")
			write := func(files map[string]string) {
				for path, contents := range files {
					path = filepath.Join(root, path)
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						t.Fatal(err)
					}
					writeFile(t, path, contents)
				}
			}
			write(tt.first)
			s := New(Options{Root: root})
			defer s.Close()
			got, err := s.Node(start)
			if tt.then != nil && err == nil {
				write(tt.then)
				got, err = s.Node(start.Add(time.Second))
			}
			if diff := cmp.Diff(tt.want, got.Throttle); diff != "" || err != nil {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

func TestNodeWithoutExtrasIsStillRead(t *testing.T) {
	s := New(Options{Root: "testdata/v1"})
	defer s.Close()
	got, err := s.Node(start)
	if err != nil {
		t.Fatal(err)
	}
	if got.Load != nil || got.Temperature != nil || got.Pressure != nil || got.MemoryTotal != memTotal {
		t.Errorf("got %+v", got)
	}
}

func TestThisMachine(t *testing.T) {
	s := New(Options{})
	defer s.Close()
	got, err := s.Node(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if got.MemoryTotal == 0 || got.MemoryUsed == 0 || got.DiskTotal == 0 || got.Uptime == 0 {
		t.Errorf("got %+v", got)
	}
}

func TestCoresThatCameOrWentGiveNoRate(t *testing.T) {
	four, three := cpuTimes{cores: 4, busy: 10, total: 100}, cpuTimes{cores: 3, busy: 20, total: 200}
	if got := three.percentSince(four); got != 0 {
		t.Errorf("got %v, want 0", got)
	}
}

func TestLocate(t *testing.T) {
	const id = "/docker/abc"
	v1 := []mount{{point: "/cg/memory", root: "/", controllers: []string{"rw", "memory"}}}
	v2 := mount{point: "/cg", root: "/"}
	for name, tc := range map[string]struct {
		mounts []mount
		cgroup string
		dir    string
		v2     bool
	}{
		"v1":                    {v1, "4:memory:" + id + "\n", "/cg/memory/docker/abc", false},
		"hybrid keeps v1":       {append([]mount{v2}, v1...), "4:memory:" + id + "\n0::" + id + "\n", "/cg/memory/docker/abc", false},
		"hybrid with v2 memory": {[]mount{v2}, "9:pids:/x\n0::" + id + "\n", "/cg/docker/abc", true},
		"v2":                    {[]mount{v2}, "0::" + id, "/cg/docker/abc", true},
		"v2 seen from a namespace": {
			[]mount{{point: "/cg", root: "/lxc/pi"}}, "0::/lxc/pi/docker/abc\n", "/cg/docker/abc", true,
		},
		"nothing mounted": {nil, "0::/x\n", "", false},
		"climbing out":    {[]mount{v2}, "0::/../../etc\n", "/cg/etc", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir, isV2 := locate("memory", tc.mounts, parseMemberships(tc.cgroup))
			if dir != tc.dir || isV2 != tc.v2 {
				t.Errorf("got %q, v2 %v; want %q, v2 %v", dir, isV2, tc.dir, tc.v2)
			}
		})
	}
}

func copyTree(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func one(t *testing.T, root, pattern string) string {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(root, pattern))
	if len(found) != 1 {
		t.Fatalf("%s matches %d files", pattern, len(found))
	}
	return found[0]
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func writeFile(t *testing.T, path, contents string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(contents), 0o600); err != nil {
		t.Fatal(err)
	}
}
