package sampler

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestNumber(t *testing.T) {
	for in, want := range map[string]uint64{"0": 0, "52428800\n": 52428800, "7 8": 7} {
		if got, ok := number([]byte(in)); !ok || got != want {
			t.Errorf("number(%q) = %d, %v; want %d", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "max\n", "-1", " 5"} {
		if got, ok := number([]byte(in)); ok {
			t.Errorf("number(%q) = %d, want none", in, got)
		}
	}
}

func TestDecimal(t *testing.T) {
	for _, in := range []string{"0.00", "12.5", "86400.25 1", "3"} {
		want, err := strconv.ParseFloat(strings.Fields(in)[0], 64)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := decimal([]byte(in)); !ok || got < want-1e-9 || got > want+1e-9 {
			t.Errorf("decimal(%q) = %v, %v; want %v", in, got, ok, want)
		}
	}
}

func TestFieldIsAWholeWordAtALinesBeginning(t *testing.T) {
	const stat = "inactive_file_x 1\ntotal inactive_file 2\ninactive_file 3\n"
	if got, ok := field([]byte(stat), "inactive_file"); !ok || got != 3 {
		t.Errorf("got %d, %v; want 3", got, ok)
	}
}

// seed gives every file of testdata to a fuzz test.
func TestAllowedCores(t *testing.T) {
	for in, want := range map[string][]int{
		"Name:\totto-agent\nCpus_allowed:\tff\nCpus_allowed_list:\t0-2,5\n": {0, 1, 2, 5},
		"Cpus_allowed_list:\t7\nMems_allowed:\t1":                           {7},
		"Cpus_allowed_list:\t1022-99999999999":                              {1022, 1023},
		"Cpus_allowed_list:\t3-1,x,-2":                                      nil,
		"":                                                                  nil,
	} {
		set := allowedCores([]byte(in))
		for _, n := range want {
			if !set.IsSet(n) {
				t.Errorf("%q: core %d is not allowed", in, n)
			}
		}
		if set.Count() != len(want) {
			t.Errorf("%q: %d cores, want %v", in, set.Count(), want)
		}
	}
}

func seed(f *testing.F) {
	err := filepath.WalkDir("testdata", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "fuzz") {
			return err
		}
		b, err := os.ReadFile(path)
		f.Add(b)
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
}

func FuzzKernelFiles(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		ioStat(b)
		blkio(b)
		netDev(b)
		if p, _ := pressure(b); p < 0 {
			t.Errorf("pressure %v", p)
		}
		if d, _ := decimal(b); d < 0 {
			t.Errorf("decimal %v", d)
		}
		loadAverage(b)
		memoryLimit(b, 1<<30)
		allowedCores(b)
		cpuUsage(b, true)
		cpuUsage(b, false)
	})
}

func FuzzNumber(f *testing.F) {
	f.Add(uint64(0))
	f.Add(^uint64(0))
	f.Fuzz(func(t *testing.T, n uint64) {
		if got, ok := number(strconv.AppendUint(nil, n, 10)); !ok || got != n {
			t.Errorf("got %d, %v; want %d", got, ok, n)
		}
	})
}

func FuzzCgroups(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range parseMounts(string(b)) {
			if m.point == "" || m.root == "" {
				t.Errorf("mount %+v", m)
			}
		}
		at := mount{point: "/cg", root: "/"}
		for _, m := range parseMemberships(string(b)) {
			if dir := at.dir(m.path); dir != "/cg" && !strings.HasPrefix(dir, "/cg/") {
				t.Errorf("%q leads out of the mount: %s", m.path, dir)
			}
		}
	})
}
