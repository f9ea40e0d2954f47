package e2e_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/e2e/lab"
)

// TestNothingIsOpenThatNeedNotBe looks at a running cluster from outside: ports,
// files, logs and processes.
func TestNothingIsOpenThatNeedNotBe(t *testing.T) {
	l := lab.Up(t, 1)
	l.Images()
	h := l.Host("n1")
	h.Load("otto-echo:1")
	secrets := []string{"hunter2-of-the-service", "hunter2-of-the-viewer"}
	c := lab.NewCluster(t, fmt.Sprintf(`cluster: {name: guarded}
mqtt: {host: 10.77.0.1, username: viewer, password: %s}
nodes:
  - {id: pi, host: %s, user: otto, identity_file: %s}
services:
  - {name: echo, image: "otto-echo:1", environment: {PASSWORD: %s}}
`, secrets[1], h.IP, l.Key, secrets[0]))
	tapped := tapLinks(t)
	c.Run("cluster", "start", "--accept-new-host-keys", "--log-level", "debug")

	t.Run("ports", func(t *testing.T) {
		if diff := cmp.Diff([]string{"10.77.0.1:1883"}, listening(t, exec.Command("ss", "-lntupH"), `"otto"`)); diff != "" {
			t.Errorf("of the control plane (-want +got):\n%s", diff)
		}
		if open := listening(t, exec.Command("nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", h.Processes("otto-agent")[0]), "ss", "-lntupH"), `"otto-agent"`); open != nil {
			t.Errorf("of the agent: %v", open)
		}
	})
	t.Run("files", func(t *testing.T) {
		err := filepath.WalkDir(filepath.Join(c.Dir, ".otto"), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s is %v", path, info.Mode())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if open := h.SSH("find .local/share/otto -perm /077"); open != "" {
			t.Errorf("on the node, others may use:\n%s", open)
		}
	})
	t.Run("secrets", func(t *testing.T) {
		if got := h.Docker("inspect", "-f", "{{.Config.Env}}", "echo"); !strings.Contains(got, secrets[0]) {
			t.Fatalf("the service has no secret to be kept: %s", got)
		}
		control, err := os.ReadFile(filepath.Join(c.Dir, ".otto", "control.log"))
		if err != nil {
			t.Fatal(err)
		}
		enrolment := h.SSH("cat .local/share/otto/guarded/agent.json")
		key, id := between(enrolment, `BEGIN PRIVATE KEY-----\n`, `\n`), between(enrolment, `"client_id":"`, `"`)
		if len(key) < 32 || len(id) < 32 {
			t.Fatalf("no key or client id in the enrolment")
		}
		processes := h.Exec("sh", "-c", "for pid in $(pgrep otto-agent); do tr '\\0' '\\n' </proc/$pid/cmdline; tr '\\0' '\\n' </proc/$pid/environ; done")
		ours, err := exec.Command("sh", "-c", "for pid in $(pgrep -x otto); do tr '\\0' '\\n' </proc/$pid/cmdline; tr '\\0' '\\n' </proc/$pid/environ; done").Output()
		if err != nil || !strings.Contains(string(ours), "control-plane") {
			t.Fatalf("no process of the control plane: %v", err)
		}
		for place, text := range map[string]string{
			"control.log": string(control), "agent.log": h.SSH("cat .local/share/otto/guarded/agent.log"),
			"processes of the agent": processes, "processes of the control plane": string(ours),
		} {
			if text == "" {
				t.Errorf("%s is empty", place)
			}
			for _, secret := range append(secrets, key, id) {
				if strings.Contains(text, secret) {
					t.Errorf("%s has %s", place, secret)
				}
			}
		}
		w := tapped()
		if n := w.crossed(1883); n < 4_000 {
			t.Fatalf("captured %d bytes between node and broker", n)
		}
		for _, secret := range append(secrets, id, "MQTT", "otto/nodes", "otto-echo", "assignment") {
			for _, found := range w.find(secret) {
				t.Errorf("on the wire there is %s: %s", secret, found)
			}
		}
	})
}

// between is what is between two texts, the first time.
func between(s, before, after string) string {
	_, rest, _ := strings.Cut(s, before)
	found, _, _ := strings.Cut(rest, after)
	return found
}

// listening are the addresses that a program's processes listen on, as ss tells.
func listening(t *testing.T, ss *exec.Cmd, program string) (addresses []string) {
	t.Helper()
	out, err := ss.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); strings.Contains(line, program) && len(f) > 4 {
			addresses = append(addresses, f[4])
		}
	}
	slices.Sort(addresses)
	return addresses
}
