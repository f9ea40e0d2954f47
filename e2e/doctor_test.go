package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/otto-edge/otto/doctor"
	"github.com/otto-edge/otto/e2e/lab"
)

// troubles are what otto doctor finds that is not fine, each as "node check". Left
// out are logs, which no host of the lab bounds, and how fast the disk of the machine
// is that the lab is on.
func troubles(t *testing.T, c *lab.Cluster, nodes ...string) (list []string) {
	t.Helper()
	cmd := c.Command(t.Context(), append([]string{"doctor", "-o", "json"}, nodes...)...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	var findings []doctor.Finding
	if json.Unmarshal(out.Bytes(), &findings) != nil {
		t.Fatalf("%v: %s%s", err, out.String(), complaint.String())
	}
	for _, f := range findings {
		if f.Level != doctor.OK && f.Check != "logs" && (f.Node != "" || f.Check != "fsync") {
			list = append(list, strings.TrimSpace(f.Node+" "+f.Check))
			t.Logf("%s: %s: %s -> %s", list[len(list)-1], f.Level, f.What, f.Try)
		}
	}
	if bad := doctor.Count(findings, doctor.Problem) > 0; bad != (err != nil) {
		t.Errorf("with %v it ends with %v", list, err)
	}
	return list
}

func finds(t *testing.T, c *lab.Cluster, want ...string) {
	t.Helper()
	for _, w := range want {
		lab.Until(t, "doctor finds "+w, func() bool { return slices.Contains(troubles(t, c), w) })
	}
}

func TestDoctorFindsWhatIsBroken(t *testing.T) {
	l := lab.Up(t, 2)
	l.Images()
	l.Host("n1").Load("nginx:alpine")
	n1, n2 := l.Host("n1"), l.Host("n2")
	c := lab.NewCluster(t, fmt.Sprintf(`cluster: {name: sick}
mqtt: {host: %s, port: 21883, username: eve, password: hunter2-mqtt}
nodes:
  - {id: n1, host: %s, user: otto, identity_file: %s}
  - {id: n2, host: %s, user: otto, identity_file: %s}
services:
  - {name: web, image: "nginx:alpine", node: n1, env_file: web.env, environment: {KEY: hunter2-env}, labels: {auth: hunter2-label}}
  - {name: bad, image: "nginx:alpine", node: n1, command: ["--password=hunter2-arg", "-phunter2-short"], environment: {URL: "http://joe:hunter2-url@db/"}}
`, l.Gateway, n1.IP, l.Key, n2.IP, l.Key))
	c.Know(l)
	if err := os.WriteFile(filepath.Join(c.Dir, "web.env"), []byte("FILE=hunter2-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	// Before the start: the clock of n2 is wrong, as far as the probe can tell.
	n2.Script("/usr/local/bin/date", `echo 86400`)
	finds(t, c, "n2 clock")
	n2.Exec("rm", "/usr/local/bin/date")

	if out, err := c.Try("cluster", "start", "--timeout", "8s"); err == nil {
		t.Errorf("the service bad runs: %s", out)
	}
	lab.Until(t, "all is well", func() bool { return troubles(t, c) == nil })
	if left, _ := n1.TryExec("find", "/home/otto/.local/share/otto", "-name", "*fsync*"); left != "" {
		t.Errorf("it leaves %s", left)
	}
	noSecretInBundle(t, c, "nodes/n1/agent.log", "nodes/n1/assignment.json", "nodes/n2/facts.json", "control/goroutines.txt")

	n1.HangEngine()
	finds(t, c, "n1 engine")
	n1.ResumeEngine()
	n1.StopEngine()
	finds(t, c, "n1 engine")
	n1.StartEngine()
	n2.Fill()
	finds(t, c, "n2 disk", "n2 fsync")
	n2.Free()
	n2.Cut()
	finds(t, c, "n2 ssh", "n2 state")
	if files := noSecretInBundle(t, c); !strings.Contains(files["notes.txt"], "nodes/n2: n2 cannot be reached") {
		t.Errorf("notes: %s", files["notes.txt"])
	}
	n2.Heal()
	lab.Until(t, "all is well again", func() bool { return troubles(t, c) == nil })

	// Without a control plane nobody brings the agent back.
	killControlPlane(t, c)
	for _, pid := range n1.Processes("otto-agent") {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	finds(t, c, "control", "n1 agent")
	c.Try("cluster", "start", "--timeout", "8s")
	lab.Until(t, "all is well at last", func() bool { return troubles(t, c) == nil })
}

// killControlPlane ends the control plane and its supervisor the hard way.
func killControlPlane(t *testing.T, c *lab.Cluster) {
	t.Helper()
	out, _ := exec.CommandContext(t.Context(), "pgrep", "-f", c.Path+" control-plane").Output()
	pids := strings.Fields(string(out))
	if len(pids) == 0 {
		t.Fatal("no control plane runs")
	}
	for _, word := range pids {
		var pid int
		if _, err := fmt.Sscan(word, &pid); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// noSecretInBundle makes a bundle and returns its files.
func noSecretInBundle(t *testing.T, c *lab.Cluster, has ...string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "b.tar.gz")
	c.Run("debug", "bundle", path)
	if out, err := exec.CommandContext(t.Context(), "tar", "xzf", path, "-C", dir, "--strip-components", "1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == path {
			return err
		}
		b, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		files[rel] = string(b)
		if at := bytes.Index(b, []byte("hunter2")); at >= 0 {
			t.Errorf("%s has %s", rel, b[max(0, at-60):min(len(b), at+20)])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range has {
		if len(files[name]) == 0 {
			t.Errorf("no %s; there are %d files, and notes: %s", name, len(files), files["notes.txt"])
		}
	}
	return files
}
