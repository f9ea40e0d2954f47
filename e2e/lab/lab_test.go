package lab_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/e2e/lab"
)

func TestHostsAreMachinesOfTheirOwn(t *testing.T) {
	l := lab.Up(t, 2, lab.WithoutEngine("n2"))
	n1, n2 := l.Host("n1"), l.Host("n2")
	if got := n1.SSH("hostname; hostname -I | cut -d' ' -f1"); got != "n1\n10.77.0.11" {
		t.Errorf("n1 calls itself %q", got)
	}
	n1.SSH("echo mine > file")
	if _, err := n2.TrySSH("otto", "cat file"); err == nil {
		t.Error("n2 sees n1's files")
	}
	if _, err := n1.TrySSH("plain", "docker ps"); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("plain may use Docker: %v", err)
	}
	if _, err := n2.TrySSH("root", "docker ps"); err == nil {
		t.Error("n2 has an engine")
	}
}

func TestFaultsStrikeAndEnd(t *testing.T) {
	l := lab.Up(t, 1)
	h := l.Host("n1")
	reachable := func() error { _, err := h.TrySSH("otto", "true"); return err }
	engine := func() error { _, err := h.TrySSH("otto", "timeout 2 docker ps"); return err }
	home := func() error {
		_, err := h.TrySSH("otto", "f=$(mktemp -p ~) && head -c 100000 /dev/zero > $f; ok=$?; rm -f $f; exit $ok")
		return err
	}
	for _, fault := range []struct {
		name        string
		strike, end func()
		works       func() error
	}{
		{"power cut", h.Kill, h.Boot, reachable},
		{"cable pulled", h.Cut, h.Heal, reachable},
		{"all packets lost", func() { h.Loss(100) }, func() { h.Loss(0) }, reachable},
		{"engine stopped", h.StopEngine, h.StartEngine, engine},
		{"engine hangs", h.HangEngine, h.ResumeEngine, engine},
		{"disk full", h.Fill, h.Free, home},
		{"home read-only", h.ReadOnly, h.Writable, home},
	} {
		t.Run(fault.name, func(t *testing.T) {
			if err := fault.works(); err != nil {
				t.Fatalf("before: %v", err)
			}
			fault.strike()
			if fault.works() == nil {
				t.Error("the fault has no effect")
			}
			fault.end()
			until(t, "works again", func() bool { return fault.works() == nil })
		})
	}
	h.Rekey()
	if err := reachable(); err == nil || !strings.Contains(err.Error(), "IDENTIFICATION HAS CHANGED") {
		t.Errorf("a changed host key is not noticed: %v", err)
	}
}

func TestImagesRunAndAnswer(t *testing.T) {
	l := lab.Up(t, 1)
	h := l.Host("n1")
	l.Images()
	h.Load()
	h.Docker("run", "-d", "--name", "redis", "redis:alpine")
	h.Docker("run", "-d", "--name", "nginx", "-p", "8080:80", "-e", "NGINX_HOST=example.com", "nginx:alpine")
	h.Docker("run", "-d", "--name", "echo", "-p", "8081:8080", "otto-echo:1")

	answers(t, "http://"+h.IP+":8080/")
	answers(t, "http://"+h.IP+":8081/")
	until(t, "redis answers", func() bool {
		pong, err := h.TryDocker("exec", "redis", "redis-cli", "ping")
		return err == nil && pong == "PONG"
	})
	if env := strings.Fields(h.Docker("exec", "nginx", "env")); !slices.Contains(env, "NGINX_HOST=example.com") {
		t.Errorf("nginx has the environment %q", env)
	}
	if root := h.Docker("exec", "nginx", "cat", "/usr/share/nginx/html/index.html"); root != "Welcome to nginx!" {
		t.Errorf("docker exec does not see the container's files: %q", root)
	}

	h.Docker("stop", "-t", "5", "redis", "nginx", "echo")
	codes := h.Docker("inspect", "-f", "{{.State.ExitCode}}", "redis", "nginx", "echo")
	if diff := cmp.Diff("0\n0\n0", codes); diff != "" {
		t.Errorf("exit codes after SIGTERM: %s", diff)
	}
}

func TestHostHasCoresAndATemperatureOfItsOwn(t *testing.T) {
	l := lab.Up(t, 1)
	h := l.Host("n1")
	l.Images()
	h.Load("redis:alpine")
	allowed := func(process string) string {
		return h.Exec("sh", "-c", "grep Cpus_allowed_list /proc/"+process+"/status | cut -f2")
	}
	if all := allowed("self"); all == "1" {
		t.Skip("this machine has too few cores to share out")
	}
	h.Cores("1")
	h.Docker("run", "-d", "--name", "redis", "redis:alpine")
	check := func() {
		t.Helper()
		if n := h.SSH("nproc"); n != "1" {
			t.Errorf("what SSH starts may use %s cores", n)
		}
		if got := allowed("self"); got != "1" {
			t.Errorf("what the lab starts on it may use the cores %s", got)
		}
		if got := allowed("$(docker inspect -f '{{.State.Pid}}' redis)"); got != "1" {
			t.Errorf("a container may use the cores %s", got)
		}
	}
	check()
	h.Kill()
	h.Boot()
	h.Docker("start", "redis")
	check()
	h.Heat(81.5)
	if got := h.SSH("cat /sys/class/thermal/thermal_zone0/temp"); got != "81500" {
		t.Errorf("it has %s", got)
	}
	h.Throttle(true)
	if got := h.SSH("cat /sys/class/thermal/cooling_device*/cur_state"); got != "1" {
		t.Errorf("it is throttled by %s", got)
	}
	h.Plug("stick")
	if _, err := os.Stat("/dev/shm/stick"); err == nil {
		t.Error("this machine has the device of its host")
	}
	if got := h.SSH("ls /dev/shm"); got != "stick" {
		t.Errorf("its devices are %q", got)
	}
	h.Unplug("stick")
	if got := h.SSH("ls /dev/shm"); got != "" {
		t.Errorf("it still has %q", got)
	}
}

func TestDownLeavesNothing(t *testing.T) {
	var before []string
	t.Cleanup(func() { // runs after the lab's own clean-up
		if diff := cmp.Diff(before, traces(t)); diff != "" {
			t.Errorf("left over (-before +after):\n%s", diff)
		}
	})
	l := lab.Up(t, 1)
	l.Run("down")
	before = traces(t)

	l.Run("up", "2")
	l.Engine()
	l.Images()
	l.Load("redis:alpine")
	l.Host("n2").Load("redis:alpine")
	l.Host("n2").Docker("run", "-d", "redis:alpine")
	l.Host("n1").Kill()
}

// traces are what a lab could leave behind.
func traces(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(context.Background(), "sh", "-c", `
		ip -o link | awk -F': ' '$2 ~ /^(otto-|v-|br-)/ {print "link", $2}'
		ip netns list | sed 's/^/netns /'
		grep -o '[^ ]*otto-lab-test[^ ]*' /proc/mounts
		iptables -S; iptables -t nat -S
		cat /proc/sys/net/ipv4/ip_forward
		ls -d /run/netns /run/containerd /var/run/docker.sock 2>/dev/null
		find /var/lib /sys/fs/cgroup -maxdepth 2 -name 'otto-lab-test*'
		ps -eo stat=,args= | grep '^[^Z].*[o]tto-lab-test'
		true`).CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func answers(t *testing.T, url string) {
	t.Helper()
	until(t, url+" answers", func() bool {
		r, err := http.Get(url)
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("timed out: " + what)
		}
	}
}
