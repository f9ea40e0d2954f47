package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto/e2e/lab"
)

const remoteYAML = `name: home
api: {listen: ":7443"}
nodes:
  - {id: n1, host: 10.77.0.11, user: otto, identity_file: KEY}
services:
  web:
    image: redis:alpine
    node: n1
    environment: {SECRET: hunter2}
`

// TestClusterIsUsedFromAnotherMachine does what somebody at a laptop does who has a token.
func TestClusterIsUsedFromAnotherMachine(t *testing.T) {
	l := lab.Up(t, 2)
	l.Images()
	l.Host("n1").Load("redis:alpine")
	c := lab.NewCluster(t, strings.ReplaceAll(remoteYAML, "KEY", l.Key))
	c.Know(l)
	c.Start()
	home := t.TempDir()
	at := net.JoinHostPort(l.Gateway, "7443")
	// otto is run in the network of n2, which is no node, with nothing of the cluster's.
	otto := func(stdin string, args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", "otto-test-n2", c.Path}, args...)...)
		cmd.Dir, cmd.Env, cmd.Stdin = home, []string{"HOME=" + home, "PATH=/usr/bin:/bin:/usr/sbin:/sbin"}, strings.NewReader(stdin)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		return out.String(), err
	}
	add := func(name, role string) {
		t.Helper()
		said := c.Run("token", "create", name, "--role", role)
		if !strings.Contains(said, "otto context add home ") || !strings.Contains(said, ":7443") {
			t.Errorf("it does not say how to go on:\n%s", said)
		}
		lines := strings.Split(strings.TrimSpace(said), "\n")
		if out, err := otto(lines[len(lines)-1]+"\n", "context", "add", name, at); err != nil {
			t.Fatal(out, err)
		}
	}
	add("eye", "look")
	add("hand", "operate")
	for _, x := range []struct{ context, command, want string }{
		{"eye", "cluster status", "web"},
		{"eye", "cluster status -o json", `"SECRET": "[redacted]"`},
		{"eye", "service show web", "n1"},
		{"eye", "explain web", "web is running on n1"},
		{"eye", "events", "service-running"},
		{"eye", "top", "web"},
		{"eye", "logs web", "!token eye is for look, and this needs operate"},
		{"eye", "service restart web", "!token eye is for look, and this needs operate"},
		{"eye", "cluster stop", "!works on the machine of the control plane alone"},
		{"hand", "service restart web", "web"},
		{"hand", "exec web -- echo from afar", "from afar"},
		{"hand", "logs web", ""},
		{"hand", "node cordon n1", ""},
		{"hand", "node uncordon n1", ""},
		{"nobody", "cluster status", `!there is no context "nobody"`},
	} {
		t.Run(x.context+" "+x.command, func(t *testing.T) {
			out, err := otto("", append([]string{"--context", x.context}, strings.Fields(x.command)...)...)
			want, refused := strings.CutPrefix(x.want, "!")
			if !strings.Contains(out, want) || refused != (err != nil) {
				t.Errorf("%v\n%s", err, out)
			}
			if x.context == "eye" && strings.Contains(out, "hunter2") {
				t.Errorf("a secret is seen:\n%s", out)
			}
		})
	}
	t.Run("a program without Otto", func(t *testing.T) { asksByItself(t, c, at) })
	applied(t, c, home, otto)
	if out := c.Run("events"); !strings.Contains(out, "token hand") {
		t.Errorf("it is not said who did it:\n%s", out)
	}
	if log, err := os.ReadFile(filepath.Join(c.Dir, ".otto", "control.log")); err != nil ||
		!strings.Contains(string(log), `"by":"hand","what":"POST /v1/exec"`) {
		t.Errorf("the log does not say who has run a command: %v\n%s", err, log)
	}
	c.Run("token", "rm", "eye")
	if out, err := otto("", "--context", "eye", "cluster", "status"); err == nil || !strings.Contains(out, "the token is not known") {
		t.Errorf("a token that was removed: %v\n%s", err, out)
	}
	c.Run("cluster", "rotate")
	if out, err := otto("", "--context", "hand", "cluster", "status"); err == nil || !strings.Contains(out, "otto context add") {
		t.Errorf("after new keys: %v\n%s", err, out)
	}
	c.Run("token", "rm", "hand")
	add("hand", "operate") // the context of before is replaced
	if out, err := otto("", "--context", "hand", "cluster", "status"); err != nil {
		t.Errorf("a token of after the new keys: %v\n%s", err, out)
	}
	c.Run("cluster", "rotate", "--compromised")
	if out, err := otto("", "--context", "hand", "cluster", "status"); err == nil || !strings.Contains(out, "otto context add") {
		t.Errorf("after the keys were stolen: %v\n%s", err, out)
	}
	if list := c.Run("token", "ls", "-o", "json"); strings.Contains(list, "hand") {
		t.Errorf("a token outlives stolen keys: %s", list)
	}
	add("new", "look")
	if out, err := otto("", "--context", "new", "cluster", "status"); err != nil {
		t.Errorf("a token of after the stolen keys: %v\n%s", err, out)
	}
}

// asksByItself asks as docs/remote.md has it for programs, with what a token's JSON says.
func asksByItself(t *testing.T, c *lab.Cluster, at string) {
	var access struct {
		ID          string `json:"cluster_id"`
		Authorities string `json:"authorities"`
		Secret      string `json:"secret"`
	}
	if err := json.Unmarshal([]byte(c.Run("token", "create", "script", "-o", "json")), &access); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(access.Authorities)) {
		t.Fatal("no authority")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: access.ID}}}
	defer client.CloseIdleConnections()
	ask := func(path string) io.Reader {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		t.Cleanup(cancel)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+at+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+access.Secret)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp.Body
	}
	services, err := io.ReadAll(ask("/v1/services?node=n1"))
	if err != nil || !strings.Contains(string(services), `{"items":[{"name":"web"`) {
		t.Errorf("%v\n%s", err, services)
	}
	changes := bufio.NewReader(ask("/v1/changes"))
	for kinds := ""; kinds != "names node service cluster "; {
		line, err := changes.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %s", err, kinds)
		}
		if kind, ok := strings.CutPrefix(line, "event: "); ok {
			kinds += strings.TrimSpace(kind) + " "
		}
	}
}

// applied applies a file of the laptop: a service with a secret is there, and nothing of the secret in the log.
func applied(t *testing.T, c *lab.Cluster, home string, otto func(string, ...string) (string, error)) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.Dir, "otto.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	more := string(data) + "  extra:\n    image: redis:alpine\n    node: n1\n    secrets: [password]\n" +
		"secrets: {password: {file: password.txt}}\n"
	for name, content := range map[string]string{"otto.yaml": more, "password.txt": "hunter3"} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := otto("", "--context", "eye", "apply", "--yes"); err == nil || !strings.Contains(out, "this needs operate") {
		t.Errorf("who only looks applies: %v\n%s", err, out)
	}
	if out, err := otto("", "--context", "hand", "plan"); err == nil || !strings.Contains(out, "+ service extra") {
		t.Errorf("plan: %v\n%s", err, out)
	}
	out, err := otto("", "--context", "hand", "apply", "--yes")
	if err != nil || !strings.Contains(out, "home is up") || strings.Contains(out, "hunter3") {
		t.Fatalf("apply: %v\n%s", err, out)
	}
	if out, err := otto("", "--context", "hand", "exec", "extra", "--", "cat", "/run/secrets/password"); err != nil || out != "hunter3" {
		t.Errorf("the secret in the container: %v\n%s", err, out)
	}
	if out, err := otto("", "--context", "hand", "plan"); err != nil || !strings.Contains(out, "Nothing would change") {
		t.Errorf("the same once more: %v\n%s", err, out)
	}
	for _, name := range []string{"control.log", "events.jsonl"} {
		if log, err := os.ReadFile(filepath.Join(c.Dir, ".otto", name)); err != nil || strings.Contains(string(log), "hunter3") {
			t.Errorf("the secret is in %s: %v", name, err)
		}
	}
}
