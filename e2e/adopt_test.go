package e2e_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/otto-edge/otto/e2e/lab"
)

// composeTool is Compose itself, as tool/go.mod has it, built once if make has not done so.
var composeTool = sync.OnceValues(func() (string, error) { //nolint:gochecknoglobals // it is the same for all tests
	path, err := filepath.Abs("../bin/tools/docker-compose")
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	cmd := exec.Command("make", "bin/tools/docker-compose")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

// composeProject is a project of this machine's engine.
type composeProject struct {
	t         testing.TB
	tool, dir string
}

func composed(t testing.TB, dir, text string) composeProject {
	t.Helper()
	tool, err := composeTool()
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := composeProject{t, tool, dir}
	t.Cleanup(func() { _, _ = p.try("down", "--volumes") })
	return p
}

func (p composeProject) try(args ...string) (string, error) {
	cmd := exec.Command(p.tool, args...)
	cmd.Dir = p.dir
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (p composeProject) run(args ...string) string {
	p.t.Helper()
	out, err := p.try(args...)
	if err != nil {
		p.t.Fatalf("compose %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// movingYAML keeps data in a volume and in a folder, and has a fixed address and a port.
const movingYAML = `
services:
  db:
    image: redis:alpine
    restart: always
    volumes: ["data:/data", "./conf:/conf"]
    command: [redis-server, --protected-mode, "no", --dir, /data, --appendonly, "yes"]
    networks: {back: {ipv4_address: 172.31.78.10}}
    ports: ["127.0.0.1:18091:6379"]
  app:
    image: redis:alpine
    restart: unless-stopped
    depends_on: [db]
    entrypoint: [redis-cli, -h, db, -r, "-1", -i, "0.2", incr, beats]
    networks: [back]
    stop_grace_period: 0s
networks: {back: {ipam: {config: [{subnet: 172.31.78.0/24}]}}}
volumes: {data: {}}
`

// TestComposeProjectIsAdopted starts a project by Compose itself, with data, and takes it
// over: everything is there, and each container was made anew once.
func TestComposeProjectIsAdopted(t *testing.T) {
	l := lab.Up(t, 1)
	l.Engine()
	l.Images()
	l.Load("redis:alpine")
	l.Host("n1").Load("redis:alpine")
	c := lab.NewCluster(t, "name: home\nnodes:\n  - {id: here, host: localhost}\nservices:\n  - {name: other, image: 'redis:alpine', node: here}\n")
	tellIfFailed(t, c)
	c.Start()
	p := composed(t, filepath.Join(c.Dir, "shop"), movingYAML)
	p.run("up", "-d")
	redis := func(args ...string) string {
		out, _ := exec.Command("docker", append([]string{"exec", "shop-db-1", "redis-cli"}, args...)...).CombinedOutput()
		return strings.TrimSpace(string(out))
	}
	lab.Until(t, "a note is written", func() bool { return redis("set", "note", "kept") == "OK" })
	network := docker(t, "network", "inspect", "-f", "{{.Id}}", "shop_back")
	before := docker(t, "inspect", "-f", "{{.Id}}", "shop-db-1")

	if out := c.Run("adopt"); !strings.Contains(out, "here  shop     app,db") || !strings.Contains(out, "yes") {
		t.Errorf("the list says:\n%s", out)
	}
	if out, err := c.Try("adopt", "here", "other"); err == nil || !strings.Contains(out, `no Compose project "other" on here: there are shop`) {
		t.Errorf("an unknown project: %v\n%s", err, out)
	}
	out := c.Run("adopt", "here", "shop", "--yes")
	t.Log(out)
	isWhole := func(when string) {
		t.Helper()
		if got := redis("get", "note"); got != "kept" {
			t.Errorf("%s: the note is %q", when, got)
		}
		if got := docker(t, "network", "inspect", "-f", "{{.Id}}", "shop_back"); got != network {
			t.Errorf("%s: the network is another one", when)
		}
		if got := docker(t, "inspect", "-f", "{{.NetworkSettings.Networks.shop_back.IPAddress}}", "shop-db-1"); got != "172.31.78.10" {
			t.Errorf("%s: its address is %s", when, got)
		}
		if got := docker(t, "ps", "-a", "--format", "{{.Names}}", "--filter", "name=shop", "--filter", "name=other"); len(strings.Fields(got)) != 3 {
			t.Errorf("%s: there are %s", when, got)
		}
	}
	isWhole("adopted")
	if docker(t, "inspect", "-f", "{{.Id}}", "shop-db-1") == before {
		t.Error("the container was not made anew")
	}
	if out := c.Run("apply", "--yes"); !strings.Contains(out, "Nothing would change.") {
		t.Errorf("an apply says:\n%s", out)
	}
	before = docker(t, "inspect", "-f", "{{.Id}}", "shop-db-1")
	if out := c.Run("adopt", "here", "shop"); !strings.Contains(out, "nothing of it is Compose's") {
		t.Errorf("adopted again it says:\n%s", out)
	}
	if docker(t, "inspect", "-f", "{{.Id}}", "shop-db-1") != before {
		t.Error("the container was made anew twice")
	}
}
