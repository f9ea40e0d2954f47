package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otto-edge/otto/e2e/lab"
)

// composeTool is Compose itself, as compose/tool/go.mod has it. A lab has no way to where its
// source is, so it is built before; see make soak.
const composeTool = "../bin/tools/docker-compose"

// composeProject is a project of this machine's engine.
type composeProject struct {
	t         testing.TB
	tool, dir string
}

func composed(t testing.TB, dir, text string) composeProject {
	t.Helper()
	tool, err := filepath.Abs(composeTool)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tool); err != nil {
		t.Skip("needs Compose itself: make bin/tools/docker-compose")
	}
	if err = os.MkdirAll(dir, 0o755); err == nil {
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
		out, _ := exec.Command("docker",
			append([]string{"exec", "shop-db-1", "redis-cli"}, args...)...).CombinedOutput()
		return strings.TrimSpace(string(out))
	}
	lab.Until(t, "a note is written", func() bool { return redis("set", "note", "kept") == "OK" })
	network := docker(t, "network", "inspect", "-f", "{{.Id}}", "shop_back")
	before := docker(t, "inspect", "-f", "{{.Id}}", "shop-db-1")

	if out := c.Run("adopt"); !strings.Contains(out, "here  shop     app,db") || !strings.Contains(out, "yes") {
		t.Errorf("the list says:\n%s", out)
	}
	if out, err := c.Try("adopt", "here", "other"); err == nil ||
		!strings.Contains(out, `no Compose project "other" on here: there are shop`) {
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
		if got := docker(t, "inspect", "-f", "{{.NetworkSettings.Networks.shop_back.IPAddress}}",
			"shop-db-1"); got != "172.31.78.10" {
			t.Errorf("%s: its address is %s", when, got)
		}
		if got := docker(t, "ps", "-a", "--format", "{{.Names}}", "--filter", "name=shop", "--filter",
			"name=other"); len(strings.Fields(got)) != 3 {
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

	c.Run("release", "shop", "--yes")
	isWhole("released")
	if out, err := os.ReadFile(filepath.Join(c.Dir, "otto.yaml")); err != nil || strings.Contains(string(out), "shop") {
		t.Errorf("otto.yaml has %s, %v", out, err)
	}
	if out := p.run("ps", "--services", "--status", "running"); out != "app\ndb" && out != "db\napp" {
		t.Errorf("Compose sees as running: %s", out)
	}
	before = docker(t, "inspect", "-f", "{{.Id}}", "shop-db-1", "shop-app-1")
	p.run("up", "-d")
	if docker(t, "inspect", "-f", "{{.Id}}", "shop-db-1", "shop-app-1") != before {
		t.Error("Compose makes anew what was given back to it")
	}
	if got := docker(t, "inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", "shop-db-1",
		"shop-app-1"); got != "always\nunless-stopped" {
		t.Errorf("the engine restarts: %s", got)
	}
	isWhole("under Compose again")
	c.Run("cluster", "stop")
	c.Run("cluster", "start")
	isWhole("with Otto started anew")
	if docker(t, "inspect", "-f", "{{.Id}}", "shop-db-1", "shop-app-1") != before {
		t.Error("Otto touches what it has given back")
	}
}

// agentsOf are the agents of a cluster on this machine itself.
func agentsOf(c *lab.Cluster) (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range dirs {
		words, _ := os.ReadFile(path)
		var pid int
		if _, err := fmt.Sscanf(path, "/proc/%d/cmdline", &pid); err == nil &&
			strings.Contains(string(words), "otto-agent\x00run\x00") &&
			strings.Contains(string(words), c.Dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestHostMovesToOttoOneProjectAtATime takes over ten projects one after the other. The command
// and the agent are killed in between.
func TestHostMovesToOttoOneProjectAtATime(t *testing.T) {
	l := lab.Up(t, 1)
	l.Engine()
	l.Images()
	l.Load("redis:alpine")
	c := lab.NewCluster(t, "name: home\nnodes:\n  - {id: here, host: localhost}\nservices:\n  - {name: other, image: 'redis:alpine', node: here}\n")
	tellIfFailed(t, c)
	c.Start()
	const yaml = "services:\n  db:\n    image: redis:alpine\n    restart: always\n    volumes: [\"data:/data\"]\n" +
		"    network_mode: none\n    command: [redis-server, --dir, /data, --appendonly, \"yes\"]\nvolumes: {data: {}}\n"
	var names []string
	redis := func(name string, args ...string) string {
		out, _ := exec.Command("docker",
			append([]string{"exec", name + "-db-1", "redis-cli"}, args...)...).CombinedOutput()
		return strings.TrimSpace(string(out))
	}
	for i := range 10 {
		name := fmt.Sprintf("p%d", i)
		names = append(names, name)
		composed(t, filepath.Join(c.Dir, name), yaml).run("up", "-d")
		lab.Until(t, "a note is written", func() bool { return redis(name, "set", "note", name) == "OK" })
	}
	for i, name := range names {
		since := fmt.Sprint(time.Now().Unix())
		switch i {
		case 3: // the command
			cmd := c.Command(t.Context(), "adopt", "here", name, "--yes")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lab.Until(t, "it has begun", func() bool {
				b, _ := os.ReadFile(filepath.Join(c.Dir, "otto.yaml"))
				return strings.Contains(string(b), name)
			})
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		case 5: // the agent, when the new container is there
			cmd := c.Command(t.Context(), "adopt", "here", name, "--yes")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lab.Until(t, "the new container is made", func() bool {
				out, _ := exec.Command("docker", "ps", "-a", "--format", "{{.Names}}").CombinedOutput()
				return strings.Contains(string(out), name+"-db-1.next")
			})
			for _, pid := range agentsOf(c) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			_ = cmd.Wait()
		}
		c.Run("adopt", "here", name, "--yes")
		lab.Until(t, name+" is there with its data", func() bool { return redis(name, "get", "note") == name })
		made := docker(t, "events", "--since", since, "--until", fmt.Sprint(time.Now().Unix()+1), "--filter",
			"event=create",
			"--filter", "type=container", "--format", "{{.Actor.Attributes.name}}")
		if got := strings.Count(made, name+"-db-1"); got != 1 {
			t.Errorf("%s: its container was made %d times: %s", name, got, made)
		}
	}
	lab.Until(t, "all is up", func() bool { return allUp(c) })
	for _, name := range names {
		if got := redis(name, "get", "note"); got != name {
			t.Errorf("the note of %s is %q", name, got)
		}
	}
	if got := strings.Fields(docker(t, "ps", "-a", "--format", "{{.Names}}")); len(got) != len(names)+1 {
		t.Errorf("there are %v", got)
	}
}

// TestProjectThatCannotBeAdoptedIsLeftAlone says why in one line, and touches nothing.
func TestProjectThatCannotBeAdoptedIsLeftAlone(t *testing.T) {
	l := lab.Up(t, 1)
	l.Engine()
	l.Images()
	l.Load("redis:alpine")
	c := lab.NewCluster(t, "name: home\nnodes:\n  - {id: here, host: localhost}\nservices:\n  - {name: other, image: 'redis:alpine', node: here}\n")
	tellIfFailed(t, c)
	c.Start()
	p := composed(t, filepath.Join(c.Dir, "shop"), movingYAML)
	p.run("up", "-d")
	file := filepath.Join(c.Dir, "shop", "compose.yaml")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	otto := filepath.Join(c.Dir, "otto.yaml")
	plain, err := os.ReadFile(otto)
	if err != nil {
		t.Fatal(err)
	}
	before := docker(t, "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", "shop-db-1", "shop-app-1")
	refused := func(name, want string, args ...string) {
		t.Helper()
		was, _ := os.ReadFile(otto)
		out, err := c.Try(append([]string{"adopt"}, args...)...)
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if now, _ := os.ReadFile(otto); string(now) != string(was) {
			t.Errorf("%s: otto.yaml was changed:\n%s", name, now)
		}
		if docker(t, "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", "shop-db-1", "shop-app-1") != before {
			t.Errorf("%s: containers were touched", name)
		}
	}
	refused("an unknown node", `no node "none": there are here`, "none", "shop", "--yes")
	refused("an unknown project", `no Compose project "none" on here: there are shop`, "here", "none", "--yes")
	write(file, strings.Replace(movingYAML, "    restart: always\n",
		"    restart: always\n    credential_spec: {file: a}\n", 1))
	refused("what Otto does not have", "credential_spec", "here", "shop", "--yes")
	write(file, strings.ReplaceAll(strings.Replace(movingYAML, "volumes: {data: {}}", "volumes: {new: {}}", 1),
		"data:/data", "new:/data"))
	refused("another volume", "its data would stay behind", "here", "shop", "--yes")
	if err := os.Rename(file, file+".gone"); err != nil {
		t.Fatal(err)
	}
	refused("a file that is gone", "is gone: bring it back, or name another one with -f", "here", "shop", "--yes")
	write(file, movingYAML)
	write(otto, string(plain)+"stacks:\n  - name: shop\n    compose: elsewhere/compose.yaml\n")
	if err := os.Mkdir(filepath.Join(c.Dir, "elsewhere"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(c.Dir, "elsewhere", "compose.yaml"), movingYAML)
	refused("a stack of that name", "a stack shop is here already, from elsewhere/compose.yaml", "here", "shop",
		"--yes")
	write(otto, string(plain))
	docker(t, "run", "-d", "--name", "backup", "--network", "none", "-v", "shop_data:/v", "redis:alpine", "sleep",
		"1000")
	refused("a volume in use", "volume shop_data is in use by backup as well", "here", "shop", "--yes")
	if out, err := c.Try("adopt"); err != nil || !strings.Contains(out, "no: volume shop_data is in use by backup") {
		t.Errorf("the list: %v\n%s", err, out)
	}
	docker(t, "rm", "-f", "backup")
	refused("nobody says yes", "this needs a yes", "here", "shop")
}
