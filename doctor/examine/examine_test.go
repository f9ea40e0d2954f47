package examine

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/doctor"
)

func ptr[T any](v T) *T { return &v }

// root makes a machine out of files.
func root(t *testing.T, files map[string]string) machine {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return machine(dir)
}

func TestMemoryCgroup(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  *bool
	}{
		{"version 2", map[string]string{"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n"}, ptr(true)},
		{"version 2 of a stock Pi", map[string]string{"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n", "proc/cgroups": "memory 0 1 1\n"}, ptr(false)},
		{"version 1", map[string]string{"proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t2\t1\t1\nmemory\t9\t70\t1\n"}, ptr(true)},
		{"version 1 of a stock Pi", map[string]string{"proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t2\t1\t1\nmemory\t0\t70\t0\n"}, ptr(false)},
		{"no cgroups", nil, nil},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, root(t, test.files).memoryCgroup()); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func TestThrottled(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  *uint32
	}{
		{"Raspberry Pi OS", map[string]string{"sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n"}, ptr(uint32(0x50005))},
		{"firmware beside the SoC", map[string]string{"sys/devices/platform/soc:firmware/get_throttled": "0\n"}, ptr(uint32(0))},
		{"with 0x", map[string]string{"sys/devices/platform/soc/soc:firmware/get_throttled": "0x80008"}, ptr(uint32(0x80008))},
		{"nonsense", map[string]string{"sys/devices/platform/soc/soc:firmware/get_throttled": "?"}, nil},
		{"mainline, alarm", map[string]string{"sys/class/hwmon/hwmon1/name": "rpi_volt\n", "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n"}, ptr(uint32(1 << 16))},
		{"mainline, fine", map[string]string{"sys/class/hwmon/hwmon1/name": "rpi_volt\n", "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n"}, ptr(uint32(0))},
		{"a PC", map[string]string{"sys/class/hwmon/hwmon1/name": "coretemp\n", "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n"}, nil},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, root(t, test.files).throttled()); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func TestWirelessInterfacesThatAreUp(t *testing.T) {
	m := root(t, map[string]string{
		"sys/class/net/eth0/operstate": "up\n",
		"sys/class/net/wlan0/phy80211": "", "sys/class/net/wlan0/operstate": "up\n",
		"sys/class/net/wlan1/phy80211": "", "sys/class/net/wlan1/operstate": "down\n",
		"sys/class/net/wlan2/phy80211": "", "sys/class/net/wlan2/operstate": "up\n",
	})
	got := m.wireless(func(iface string) (on, known bool) { return true, iface == "wlan0" })
	want := []doctor.Wireless{{Name: "wlan0", PowerSave: ptr(true)}, {Name: "wlan2"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPowerSaveOfWhatIsNotWirelessIsNotKnown(t *testing.T) {
	for _, iface := range []string{"lo", "not-there", "a-name-that-is-far-too-long"} {
		if on, known := powerSave(iface); on || known {
			t.Errorf("%s saves power", iface)
		}
	}
}

func TestLogLimit(t *testing.T) {
	dockerd := func(args string) map[string]string {
		return map[string]string{"proc/7/comm": "dockerd\n", "proc/7/cmdline": args, "proc/8/comm": "bash\n"}
	}
	and := func(m map[string]string, path, content string) map[string]string { m[path] = content; return m }
	tests := []struct {
		name, driver string
		files        map[string]string
		want         *bool
	}{
		{"local", "local", nil, ptr(true)},
		{"journald", "journald", nil, ptr(true)},
		{"another one", "fluentd", nil, nil},
		{"json-file alone", "json-file", nil, ptr(false)},
		{"daemon.json", "json-file", map[string]string{"etc/docker/daemon.json": `{"log-opts": {"max-size": "10m"}}`}, ptr(true)},
		{"daemon.json without a size", "json-file", map[string]string{"etc/docker/daemon.json": `{"log-opts": {"max-file": "3"}}`}, ptr(false)},
		{"broken daemon.json", "json-file", map[string]string{"etc/docker/daemon.json": `{`}, nil},
		{"command line", "json-file", dockerd("dockerd\x00--log-opt\x00max-size=5m\x00"), ptr(true)},
		{"command line with =", "json-file", dockerd("dockerd\x00--log-opt=max-size=5m\x00"), ptr(true)},
		{"another file", "json-file", and(dockerd("dockerd\x00--config-file=/d.json\x00"), "d.json", `{"log-opts": {"max-size": "10m"}}`), ptr(true)},
		{"two engines", "json-file", and(and(dockerd("dockerd\x00--log-opt=max-size=5m\x00"), "proc/9/comm", "dockerd"), "proc/9/cmdline", "dockerd\x00"), ptr(false)},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, root(t, test.files).logLimit(test.driver)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0947 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0000000000000000 100 0 0 10 0
   1: 0B004D0A:0947 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1 0000000000000000 100 0 0 10 0
   2: 0B004D0A:0947 0C004D0A:C350 01 00000000:00000000 00:00000000 00000000     0        0 333 1 0000000000000000 100 0 0 10 0
`

const tcp6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0947 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 444 1 0000000000000000 100 0 0 10 0
   1: 00000000000000000000000001000000:0947 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 555 1 0000000000000000 100 0 0 10 0
`

func TestEngineThatIsOpenToTheNetwork(t *testing.T) {
	m := root(t, map[string]string{"proc/net/tcp": tcp, "proc/net/tcp6": tcp6})
	if diff := cmp.Diff([]string{"10.77.0.11:2375", "[::]:2375"}, m.openEngine()); diff != "" {
		t.Error(diff)
	}
}

func TestListeningIsWhatTheProcessListensAt(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if got := Listening("", os.Getpid()); !slices.Contains(got, l.Addr().String()) {
		t.Errorf("it listens at %v, and %s is not among them", got, l.Addr())
	}
	l.Close()
	if got := Listening("", os.Getpid()); slices.Contains(got, l.Addr().String()) {
		t.Errorf("it still listens at %v", got)
	}
}

func FuzzListeners(f *testing.F) {
	f.Add(tcp)
	f.Add(tcp6)
	f.Fuzz(func(t *testing.T, table string) {
		for _, l := range parseListeners(table) {
			if host, _, err := net.SplitHostPort(l.address); err != nil || net.ParseIP(host) == nil {
				t.Errorf("%q", l.address)
			}
		}
	})
}

func TestSyncMeasuresAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := Sync(t.Context(), dir)
	if s.Problem != "" || s.Writes != syncWrites || s.P50 <= 0 || s.P99 < s.P50 {
		t.Errorf("%+v", s)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}

func TestSyncSaysWhyNothingCanBeWritten(t *testing.T) {
	s := Sync(t.Context(), filepath.Join(t.TempDir(), "gone"))
	if s.Problem != "no such file or directory" || s.Writes != 0 {
		t.Errorf("%+v", s)
	}
}

func TestRankIsTheNearest(t *testing.T) {
	var times []time.Duration
	for i := range 100 {
		times = append(times, time.Duration(i+1))
	}
	if rank(times, 99) != 99 || rank(times, 50) != 50 || rank(times[:1], 99) != 1 || rank(times[:10], 99) != 10 {
		t.Error(rank(times, 99), rank(times, 50), rank(times[:1], 99), rank(times[:10], 99))
	}
}

func TestDisksOfOneFileSystemAreOne(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	all := Disks(dir, "", filepath.Join(dir, "gone"), sub)
	if len(all) != 2 || all[0].Total == 0 || all[0].Free > all[0].Total {
		t.Fatalf("%+v", all)
	}
	if got := distinct(all); len(got) != 1 || got[0].Path != dir {
		t.Errorf("%+v", got)
	}
}

func TestQuestionThatHangsIsNamedAndTheOthersAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), Within)
		defer cancel()
		release := make(chan struct{})
		var f doctor.Facts
		ask(ctx, []question{
			{"the disk", func() answer { <-release; return func(f *doctor.Facts) { f.Model = "never" } }},
			{"the kernel", func() answer { return func(f *doctor.Facts) { f.Kernel = "6.1" } }},
		}, &f)
		if diff := cmp.Diff(doctor.Facts{Kernel: "6.1", Unanswered: []string{"the disk"}}, f); diff != "" {
			t.Error(diff)
		}
		close(release)
		synctest.Wait()
	})
}

func TestNodeIsExaminedAsAWhole(t *testing.T) {
	m := root(t, map[string]string{
		"proc/device-tree/model": "Raspberry Pi 4 Model B\x00", "proc/cgroups": "memory 1 1 1\n",
		"etc/docker/daemon.json": `{}`, "proc/net/tcp": tcp,
	})
	dir := t.TempDir()
	got := Node(t.Context(), Options{
		Root: string(m), Dir: dir, Local: true,
		Engine:  func(context.Context) (doctor.Engine, string) { return doctor.Engine{LogDriver: "json-file"}, dir },
		Brokers: func(context.Context) []doctor.Broker { return []doctor.Broker{{Address: "b:1"}} },
	})
	if got.Time.IsZero() || got.Sync == nil || len(got.Disks) != 1 {
		t.Errorf("%+v", got)
	}
	got.Time, got.Sync, got.Disks, got.Arch = time.Time{}, nil, nil, ""
	want := doctor.Facts{
		Model: "Raspberry Pi 4 Model B", Memory: ptr(true), Brokers: []doctor.Broker{{Address: "b:1"}},
		Engine: &doctor.Engine{LogDriver: "json-file", LogLimit: ptr(false), Open: []string{"10.77.0.11:2375"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
