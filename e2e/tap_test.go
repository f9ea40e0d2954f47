package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
	"github.com/otto-edge/otto/wire"
)

// Planted in a cluster, each where its name says; none may cross a link in plain.
const (
	plantedEnvironment = "hunter2-in-an-environment"
	plantedMarked      = "hunter2-in-a-marked-variable"
	plantedSecret      = "hunter2-in-a-secret"
	plantedChanged     = "hunter2-in-a-changed-secret"
	plantedConfig      = "hunter2-in-a-config"
	plantedFolder      = "hunter2-in-a-folder"
	plantedCommand     = "hunter2-in-a-command"
	plantedViewer      = "hunter2-of-the-viewer"
	plantedSaid        = "hunter2-said-by-a-service"
)

// TestTapReadsNothingOfALife listens on every link of three hosts while a cluster is made,
// started, given secrets, loses a host's power, is looked at, is restored elsewhere, drained,
// renewed, and uninstalled. What is planted in it crosses no link in plain, nor do topics of
// nodes and what they log in with. What is sent in plain on purpose is found.
func TestTapReadsNothingOfALife(t *testing.T) {
	l := lab.Up(t, 3)
	l.Images()
	for _, n := range hosts {
		l.Host(n).Load("otto-echo:1", "redis:alpine")
	}
	yaml := strings.Replace(nodesYAML(l, "otto", hosts...), "mqtt: {host: 10.77.0.1}",
		"mqtt: {host: 10.77.0.1, username: viewer, password: "+plantedViewer+"}", 1) + fmt.Sprintf(`
  web:
    image: otto-echo:1
    node: n1
    failover: move
    environment: {TOKEN: %s}
  sleeper:
    image: redis:alpine
    node: n1
    failover: move
    command: [sh, -c, "cat /run/secrets/key; exec sleep 10000", %s]
    environment: {MARKED: %s}
    secret_environment: [MARKED]
    secrets: [key]
    configs: [conf]
    stop_grace_period: 0s
  db: {image: "redis:alpine", node: n1, failover: move, data: disposable, volumes: ["data:/data"]}
stacks:
  - {name: shop, compose: shop}
secrets:
  key: {file: ./key.txt}
configs:
  conf: {content: %s}
`, plantedEnvironment, plantedCommand, plantedMarked, plantedConfig)
	files := func(c *lab.Cluster, secret string) {
		t.Helper()
		for name, text := range map[string]string{
			"key.txt": secret, "shop/conf/app.conf": plantedFolder,
			"shop/compose.yaml": `
services:
  one:
    image: redis:alpine
    entrypoint: [sh, -c, "echo ` + plantedSaid + `; exec sleep 10000"]
    stop_grace_period: 0s
    secrets: [key]
    volumes: ["./conf:/conf:ro"]
secrets: {key: {file: ../key.txt}}
`,
		} {
			at := filepath.Join(c.Dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o700), os.WriteFile(at, []byte(text), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	c := lab.NewCluster(t, yaml)
	c.Know(l)
	tellIfFailed(t, c)
	files(c, plantedSecret)
	onPurpose := []string{sayInPlain(t, l, "at the beginning")}
	tapped := tapLinks(t)
	onPurpose = append(onPurpose, sayInPlain(t, l, "before it is made"))

	c.Run("cluster", "init")
	c.Run("cluster", "start", "--accept-new-host-keys", "--log-level", "debug")
	home := func(c *lab.Cluster, service string) (node string) {
		for _, s := range c.Status().Services {
			if s.Name == service && len(s.Instances) == 1 && s.Instances[0].Up() {
				node = s.Instances[0].Node
			}
		}
		return node
	}
	reads := func(c *lab.Cluster, what string) func() bool {
		return func() bool {
			node := home(c, "sleeper")
			if node == "" {
				return false
			}
			out, err := l.Host(node).TryExec("docker", "exec", "sleeper", "cat", "/run/secrets/key")
			return err == nil && out == what
		}
	}
	within(t, time.Minute, "sleeper reads its secret", reads(c, plantedSecret))
	kept := []string{} // what nodes log in with, and what their secrets are sealed for
	for _, n := range hosts {
		e := l.Host(n).SSH("cat .local/share/otto/faults/agent.json")
		kept = append(kept, between(e, `BEGIN PRIVATE KEY-----\n`, `\n`), between(e, `"client_id":"`, `"`),
			between(e, `"seal_key":"`, `"`))
	}
	read := subscribe(t, "10.77.0.1", wire.NodeFilter(wire.KindInstances), 1, "-V", "5", "-p", "1883",
		"--cafile", filepath.Join(c.Dir, ".otto", "ca.pem"), "-u", "viewer", "-P", plantedViewer)
	if !strings.Contains(read, "otto/nodes/") {
		t.Errorf("a viewer reads %s over TLS", read)
	}

	files(c, plantedChanged)
	c.Run("apply", "--yes")
	within(t, time.Minute, "sleeper reads the changed one", reads(c, plantedChanged))
	old := filepath.Join(t.TempDir(), "old.backup")
	c.Run("cluster", "backup", old)
	lab.Until(t, "all is up", func() bool { return allUp(c) })

	onPurpose = append(onPurpose, sayInPlain(t, l, "before the power cut"))
	l.Host("n1").Kill()
	within(t, time.Minute, "all that may is elsewhere", func() bool {
		for _, s := range []string{"web", "sleeper", "db"} {
			if node := home(c, s); node == "" || node == "n1" {
				return false
			}
		}
		return true
	})
	l.Host("n1").Boot()
	within(t, time.Minute, "all is up again", func() bool { return allUp(c) })
	lab.Until(t, "it reads the changed one elsewhere", reads(c, plantedChanged))
	if out := c.Run("logs", "shop/one"); !strings.Contains(out, plantedSaid) {
		t.Errorf("the log is %s", out)
	}
	if out := c.Run("exec", "sleeper", "--", "cat", "/run/secrets/key"); !strings.Contains(out, plantedChanged) {
		t.Errorf("exec says %s", out)
	}
	if out := c.Run("run", "sleeper", "sh", "-c", "echo $MARKED"); !strings.Contains(out, plantedMarked) {
		t.Errorf("run says %s", out)
	}
	c.Run("explain", "sleeper")
	c.Run("debug", "bundle", filepath.Join(t.TempDir(), "bundle.tar.gz"))
	killed(t, c)

	abandon(t, c)
	other := elsewhere(t, l, c)
	other.Write(yaml)
	files(other, plantedChanged)
	other.Run("cluster", "restore", old, "--yes")
	other.Start()
	within(t, time.Minute, "all is up after a restore", func() bool { return allUp(other) })
	onPurpose = append(onPurpose, sayInPlain(t, l, "after a restore"))
	from := home(other, "sleeper")
	if out, err := other.Try("node", "drain", from); err != nil && !strings.Contains(out, "its home is") {
		t.Fatalf("drain: %v\n%s", err, out)
	}
	within(t, time.Minute, "it is read where it was moved to", func() bool {
		return home(other, "sleeper") != from && reads(other, plantedChanged)()
	})
	other.Run("node", "uncordon", from)
	other.Run("cluster", "rotate")
	within(t, time.Minute, "all is up with new keys", func() bool {
		return allUp(other) && other.Status().Rotation == nil
	})
	for _, n := range hosts {
		e := l.Host(n).SSH("cat .local/share/otto/faults/agent.json")
		kept = append(kept, between(e, `BEGIN PRIVATE KEY-----\n`, `\n`), between(e, `"client_id":"`, `"`))
	}
	other.Run("cluster", "stop")
	other.Start()
	onPurpose = append(onPurpose, sayInPlain(t, l, "at the end"))
	w := tapped()

	t.Logf("%d packets in %d flows, %d KB of the broker's, %d KB of SSH",
		w.packets, len(w.flows), w.crossed(1883)>>10, w.crossed(22)>>10)
	if w.lost > 0 {
		t.Errorf("%d packets were not read", w.lost)
	}
	if w.crossed(1883) < 100_000 || w.crossed(22) < 1_000_000 {
		t.Error("little was captured of the broker's port, or of SSH")
	}
	for _, text := range onPurpose[1:] {
		for _, link := range hosts {
			if found := strings.Join(w.find(text), "\n"); !strings.Contains(found, link) {
				t.Errorf("what was said on purpose %q is not found at %s:\n%s", text, link, found)
			}
		}
	}
	if found := w.find(onPurpose[0]); len(found) > 0 {
		t.Errorf("what was said before it listened is found: %q", found)
	}
	for _, text := range append(kept,
		plantedEnvironment, plantedMarked, plantedSecret, plantedChanged, plantedConfig, plantedFolder, plantedCommand,
		plantedViewer, plantedSaid, "hunter2", "otto/nodes", "otto/services", "otto/control", "MQTT", `"assignment"`, "BEGIN PRIVATE KEY",
	) {
		if len(text) < 4 {
			t.Fatalf("%q is nothing to look for", text)
		}
		for _, found := range w.find(text) {
			t.Errorf("a tap reads %q: %s", text, found)
		}
	}

	// The same search finds the topics of nodes when somebody reads the public ones in plain.
	tapped = tapLinks(t)
	l.Host("n2").Exec("mosquitto_sub", "-h", "10.77.0.1", "-u", "viewer", "-P", plantedViewer,
		"-t", "otto/nodes/+/metrics/#", "-C", "3", "-W", "20")
	w = tapped()
	for _, text := range []string{plantedViewer, "otto/nodes", "MQTT"} {
		if len(w.find(text)) == 0 {
			t.Errorf("the tap does not find %q when it is there", text)
		}
	}
	for _, n := range other.Status().Nodes {
		if n.State != otto.NodeReady {
			t.Errorf("%s is %s", n.ID, n.State)
		}
	}
	other.Run("cluster", "uninstall", "--volumes", "--yes")
}

// sayInPlain has each host say something to another one and to this machine, in two parts,
// so that all links carry it.
func sayInPlain(t *testing.T, l *lab.Lab, when string) (text string) {
	t.Helper()
	text = "said on purpose " + when
	here, err := net.Listen("tcp", "10.77.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	for i, n := range hosts {
		heard := make(chan string, 1)
		go func() {
			conn, err := here.Accept()
			if err != nil {
				heard <- err.Error()
				return
			}
			defer conn.Close()
			b, _ := io.ReadAll(conn)
			heard <- string(b)
		}()
		said := fmt.Sprintf(`printf '%%s' %q; sleep 0.05; printf '%%s' %q`, text[:7], text[7:])
		address := strings.Replace(here.Addr().String(), ":", "/", 1)
		l.Host(n).Exec("bash", "-c", fmt.Sprintf("{ %s; } >/dev/tcp/%s", said, address))
		if got := <-heard; got != text {
			t.Fatalf("%s has said %q", n, got)
		}
		l.Host(n).Exec("bash", "-c", fmt.Sprintf("{ %s; } >/dev/tcp/%s/22", said, l.Host(hosts[(i+1)%len(hosts)]).IP))
	}
	return text
}
