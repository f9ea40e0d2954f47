package service

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestUnitFile(t *testing.T) {
	const dir = `/home/a "b" 100% $x/.local/share/otto/home`
	for _, u := range []unit{{cluster: "home"}, {cluster: "home", user: true}} {
		golden := filepath.Join("testdata", "system.service")
		if u.user {
			golden = filepath.Join("testdata", "user.service")
		}
		got := u.text(dir+"/agents/0123456789abcdef/otto-agent", dir, "/home/a")
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if diff := cmp.Diff(string(want), got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", golden, err, diff)
		}
	}
}

func TestSystemdAcceptsTheUnitFile(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here")
	}
	file := filepath.Join(t.TempDir(), "otto-agent-home.service")
	u := unit{cluster: "home"}
	if err := os.WriteFile(file, []byte(u.text("/bin/true", "/tmp/100% $x", "/root")), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestUserManagerMustHaveTheUsersGroups(t *testing.T) {
	const status = "Name:\tsystemd\nGid:\t1000\t1000\t1000\t1000\nGroups:\t4 24 1000 \n"
	for _, tt := range []struct {
		groups []int
		want   bool
	}{
		{[]int{1000, 4}, true},
		{nil, true},
		{[]int{1000, 998}, false},
	} {
		if got := hasGroups(status, tt.groups); got != tt.want {
			t.Errorf("hasGroups(%v) = %v", tt.groups, got)
		}
	}
}
