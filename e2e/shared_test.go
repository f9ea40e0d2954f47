package e2e_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
	"github.com/otto-edge/otto/wire"
)

// sharedPassword is that of the account that all nodes share.
const sharedPassword = "shared-by-all"

// startShared runs Mosquitto for the lab with one account for Otto and the access list that
// docs/broker.md gives.
func startShared(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/broker.md")
	if err != nil {
		t.Fatal(err)
	}
	_, acl, _ := strings.Cut(string(page), "```acl\n")
	acl, _, ok := strings.Cut(acl, "```")
	if !ok {
		t.Fatal("docs/broker.md has no access list")
	}
	file := filepath.Join(dir, "mosquitto.conf")
	for path, content := range map[string]string{
		filepath.Join(dir, "acl"): acl,
		file: fmt.Sprintf("user root\nlistener 1884 10.77.0.1\nallow_anonymous false\npassword_file %[1]s/passwd\nacl_file %[1]s/acl\n"+
			"max_packet_size 300000\n", dir),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, user := range []string{"otto", "viewer"} {
		args := []string{"-b", filepath.Join(dir, "passwd"), user, sharedPassword}
		if i == 0 {
			args = append([]string{"-c"}, args...)
		}
		if out, err := exec.Command("mosquitto_passwd", args...).CombinedOutput(); err != nil {
			t.Fatalf("mosquitto_passwd: %v\n%s", err, out)
		}
	}
	broker := exec.Command("mosquitto", "-c", file)
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Process.Kill(); _ = broker.Wait() })
	lab.Until(t, "mosquitto listens", func() bool {
		conn, err := net.Dial("tcp", "10.77.0.1:1884")
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// sharedTap is somebody with that account, who reads everything into a file.
func sharedTap(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "tap")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	tap := exec.Command("mosquitto_sub", "-h", "10.77.0.1", "-p", "1884", "-u", "otto", "-P", sharedPassword, "-t", "#", "-v")
	tap.Stdout = out
	if err := tap.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tap.Process.Kill(); _ = tap.Wait(); out.Close() })
	return file
}

// TestSharedAccountReadsAndForgesNothing has somebody use the account that all nodes share at
// a Mosquitto with the access list of docs/broker.md. With OTTO_FORMER, the path of an otto
// of before, the cluster is started by that one and taken over as it runs.
func TestSharedAccountReadsAndForgesNothing(t *testing.T) {
	l := lab.Up(t, 2)
	l.Images()
	nodes := ""
	for _, name := range []string{"n1", "n2"} {
		l.Host(name).Load("otto-echo:1")
		nodes += fmt.Sprintf("  - {id: %s, host: %s, user: otto, identity_file: %s}\n", name, l.Host(name).IP, l.Key)
	}
	startShared(t)
	const planted = "hunter2-correct-horse"
	c := lab.NewCluster(t, "cluster: {name: shared}\n"+
		"mqtt: {host: 10.77.0.1, port: 1884, embedded: false, username: otto, password: "+sharedPassword+"}\nnodes:\n"+nodes+
		"services:\n  web: {image: 'otto-echo:1', node: n1, failover: move, environment: {PASSWORD: "+planted+"}}\n"+
		"  home: {image: 'otto-echo:1', node: n2, environment: {PASSWORD: "+planted+"}}\n")
	c.Know(l)
	tellIfFailed(t, c)
	runs := func() (all string) {
		for _, name := range []string{"n1", "n2"} {
			all += l.Host(name).SSH("docker ps -aq | sort | xargs docker inspect -f '{{.Id}} {{.Name}} {{.State.StartedAt}} {{.RestartCount}}'")
		}
		return all
	}
	if former := os.Getenv("OTTO_FORMER"); former != "" {
		now := c.Path
		c.Path = former
		c.Start()
		before := runs()
		c.Path = now
		c.Start()
		if diff := cmp.Diff(before, runs()); diff != "" {
			t.Errorf("taken over (-before +after):\n%s", diff)
		}
	} else {
		c.Start()
	}
	up := func() bool {
		s := c.Status()
		return len(s.Services) == 2 && !slices.ContainsFunc(s.Services, func(s otto.ServiceStatus) bool { return !s.Instances[0].Up() })
	}
	within(t, 20*time.Second, "all is up", up)
	within(t, 20*time.Second, "what both are sent is covered", func() bool {
		sent := subscribe(t, "10.77.0.1", wire.NodeFilter(wire.KindAssignment), 2, "-p", "1884", "-u", "otto", "-P", sharedPassword)
		return strings.Contains(sent, wire.NodeTopic("n1", wire.KindAssignment)) &&
			strings.Contains(sent, wire.NodeTopic("n2", wire.KindAssignment)) && !strings.Contains(sent, planted)
	})
	file := sharedTap(t)
	within(t, 20*time.Second, "the tap reads both nodes", func() bool {
		b, _ := os.ReadFile(file)
		return strings.Contains(string(b), "otto/nodes/n1/heartbeat") && strings.Contains(string(b), "otto/nodes/n2/heartbeat")
	})
	metricsAreRead(t, []string{"n1", "n2"}, "-p", "1884", "-u", "viewer", "-P", sharedPassword)

	// The words of n1 are said again for as long as it has no power.
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]string{}
	for line := range strings.Lines(string(b)) {
		topic, payload, _ := strings.Cut(strings.TrimSpace(line), " ")
		if id, _, ok := wire.ParseNodeTopic(topic); ok && id == "n1" {
			words[topic] = payload
		}
	}
	l.Host("n1").Kill()
	end := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			for topic, payload := range words {
				_ = exec.Command("mosquitto_pub", "-h", "10.77.0.1", "-p", "1884", "-u", "otto", "-P", sharedPassword,
					"-t", topic, "-m", payload).Run()
			}
			forged := `{"boot_id":"forged","seq":1}`
			_ = exec.Command("mosquitto_pub", "-h", "10.77.0.1", "-p", "1884", "-u", "otto", "-P", sharedPassword,
				"-t", wire.NodeTopic("n1", wire.KindHeartbeat), "-m", forged).Run()
			select {
			case <-end:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	within(t, 40*time.Second, "web is on n2", func() bool {
		out, err := l.Host("n2").TryDocker("ps", "--format", "{{.Names}}")
		return err == nil && strings.Contains(out, "web")
	})
	close(end)
	<-done
	l.Host("n1").Boot()
	within(t, time.Minute, "all is up again", up)
	if b, err = os.ReadFile(file); err != nil || strings.Contains(string(b), planted) {
		t.Errorf("the tap has read an environment: %v", err)
	}
	if out, _ := c.Try("doctor"); strings.Contains(out, "lets everybody publish") {
		t.Errorf("the broker is taken for an open one:\n%s", out)
	}
}
