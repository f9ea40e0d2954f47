package service

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", file).CombinedOutput()
	if err != nil {
		t.Logf("it does not judge files: %v", err) // before 250
		return
	}
	for line := range strings.Lines(string(out)) {
		for _, right := range []string{"CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_NET_ADMIN", "~@mount", "AF_PACKET"} {
			if strings.Contains(line, right) && strings.HasPrefix(strings.TrimSpace(line), "✗") {
				t.Errorf("the agent still has %s", line)
			}
		}
	}
}

// TestUnitKeepsWhatAnAgentNeeds names what must not be in a unit, whatever else is added:
// each of these hides mounts, processes or homes from the agent, or takes sudo away.
func TestUnitKeepsWhatAnAgentNeeds(t *testing.T) {
	mounts := []string{
		"NoNewPrivileges", "ProtectHome", "PrivateMounts", "ProtectProc", "ProcSubset", "PrivateTmp", "PrivateDevices",
		"ProtectSystem", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "ProtectHostname",
		"ProtectClock", "DeviceAllow", "DevicePolicy", "PrivateUsers", "PrivateNetwork", "ReadOnlyPaths", "InaccessiblePaths",
		"BindPaths", "TemporaryFileSystem", "MountFlags", "MountAPIVFS", "SystemCallArchitectures", "User=", "DynamicUser",
	}
	implied := []string{"Restrict", "LockPersonality", "SystemCall", "MemoryDeny", "CapabilityBoundingSet"}
	for _, u := range []unit{{cluster: "home"}, {cluster: "home", user: true}} {
		never := mounts
		if u.user { // they imply NoNewPrivileges there
			never = append(never, implied...)
		}
		text := u.text("/opt/otto-agent", "/home/a", "/home/a")
		for _, word := range never {
			if strings.Contains(text, "\n"+word) {
				t.Errorf("user %v: %s is in\n%s", u.user, word, text)
			}
		}
		if u.user {
			continue
		}
		for _, need := range []string{
			"CAP_KILL", "CAP_SYS_PTRACE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SETUID",
			"AF_UNIX", "AF_INET ", "AF_INET6", "AF_NETLINK",
		} {
			if !strings.Contains(text, need) {
				t.Errorf("%s is not in\n%s", need, text)
			}
		}
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
