package e2e_test

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/e2e/lab"
)

// badEnvironment is what is wrong with a machine, and what start says about it.
type badEnvironment struct {
	name    string
	user    string // otto if empty
	address string // the host's if empty
	prepare func(t *testing.T, h *lab.Host)
	want    string // one line has it
}

// badMachines are all of one cluster, each on a host of its own.
var badMachines = []badEnvironment{
	{
		name: "no Docker", // by how the lab is made
		want: "no container engine on n1 (there is no /var/run/docker.sock): run `sudo apt-get install docker.io` there",
	},
	{
		name: "a user who may not use Docker", user: "plain",
		want: "user plain may not use /var/run/docker.sock on n2: run `sudo usermod -aG docker plain` there and log in again",
	},
	{
		name: "a user who is not there", user: "nobody-there",
		want: "n3 refuses user nobody-there at 10.77.0.13:22",
	},
	{
		name:    "a full disk",
		prepare: func(_ *testing.T, h *lab.Host) { h.Fill() },
		want:    "the disk of n4 is full",
	},
	{
		name:    "a home that is read-only",
		prepare: func(_ *testing.T, h *lab.Host) { h.ReadOnly() },
		want:    "user otto cannot write to the home directory /home/otto on n5: is its file system mounted read-only? Try `mount -o remount,rw` there",
	},
	{
		name: "an architecture without an agent",
		prepare: func(_ *testing.T, h *lab.Host) {
			h.Script("/usr/local/bin/uname", `[ "$1" = -m ] && echo riscv64 || exec /usr/bin/uname "$@"`)
		},
		want: "n6 is a riscv64 machine: there are agents for amd64, arm64 and arm only",
	},
	{
		name: "an address that nobody has", address: "10.77.0.99", // and no host
		want: "n7 cannot be reached at 10.77.0.99:22: nothing has that address; is it switched on and in this network?",
	},
}

// TestBadMachinesAreNamedAndLeftAlone has nothing but bad machines in a cluster.
func TestBadMachinesAreNamedAndLeftAlone(t *testing.T) {
	l := lab.Up(t, len(badMachines)-1, lab.WithoutEngine("n1"))
	yaml := "cluster: {name: bad}\nmqtt: {host: 10.77.0.1}\nnodes:\n"
	var hosts []*lab.Host
	var before [][]string
	for i, env := range badMachines {
		id := fmt.Sprint("n", i+1)
		if env.address == "" {
			h := l.Host(id)
			env.address = h.IP
			if env.prepare != nil {
				env.prepare(t, h)
			}
			hosts, before = append(hosts, h), append(before, traces(h))
		}
		yaml += fmt.Sprintf("  - {id: %s, host: %s, user: %s, identity_file: %s}\n", id, env.address, cmp.Or(env.user, "otto"), l.Key)
	}
	c := lab.NewCluster(t, yaml+"services:\n  - {name: web, image: \"nginx:alpine\", node: n1}\n  - {name: other, image: \"nginx:alpine\", node: n4}\n")
	c.Know(l)
	c.Abandoned = true // nobody gets in to take Otto off n3 and n7 again
	out, err := c.Try("cluster", "start", "--timeout", "40s")
	t.Logf("otto cluster start:\n%s", out)
	if err == nil {
		t.Error("start works")
	}
	for _, env := range badMachines {
		if n := strings.Count(out, env.want); n != 1 {
			t.Errorf("%s: it says %q %d times", env.name, env.want, n)
		}
	}
	for i, h := range hosts {
		if diff := gocmp.Diff(before[i], traces(h)); diff != "" {
			t.Errorf("%s: the host was changed (-before +after):\n%s", badMachines[i].name, diff)
		}
	}
}

// oneNode is a cluster of n1 alone, called pi.
func oneNode(t *testing.T, l *lab.Lab) *lab.Cluster {
	t.Helper()
	c := lab.NewCluster(t, fmt.Sprintf(`cluster: {name: bad}
mqtt: {host: 10.77.0.1}
nodes:
  - {id: pi, host: %s, user: otto, identity_file: %s}
services:
  - {name: web, image: "nginx:alpine", node: pi}
  - {name: other, image: "nginx:alpine", node: pi}
`, l.Host("n1").IP, l.Key))
	c.Know(l)
	return c
}

// says has start say something in one line.
func says(t *testing.T, c *lab.Cluster, want string, works bool) {
	t.Helper()
	out, err := c.Try("cluster", "start", "--timeout", "20s")
	t.Logf("otto cluster start:\n%s", out)
	if works != (err == nil) {
		t.Errorf("start ends with %v", err)
	}
	if n := strings.Count(out, want); n != 1 {
		t.Errorf("it says %q %d times", want, n)
	}
}

func TestBadSurroundingsAreNamed(t *testing.T) {
	l := lab.Up(t, 1)
	l.Images()
	h := l.Host("n1")
	h.Load("nginx:alpine")
	t.Run("the broker's port taken by a web server", func(t *testing.T) {
		c := oneNode(t, l)
		listener, err := net.Listen("tcp", "10.77.0.1:1883")
		if err != nil {
			t.Fatal(err)
		}
		s := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.NotFoundHandler()}}
		s.Start()
		t.Cleanup(s.Close)
		before := traces(h)
		says(t, c, "10.77.0.1:1883 is taken by something that is not MQTT: set mqtt.port to another port, or stop what listens there", false)
		if diff := gocmp.Diff(before, traces(h)); diff != "" {
			t.Errorf("the host was changed (-before +after):\n%s", diff)
		}
	})
	t.Run("a name taken by a foreign container", func(t *testing.T) {
		foreign := h.Docker("run", "-d", "--name", "web", "nginx:alpine")
		t.Cleanup(func() { h.Docker("rm", "-f", foreign) })
		c := oneNode(t, l)
		says(t, c, "rename or remove it, or name the service otherwise", false)
		if other := c.Status().Services[1].Instances[0]; !other.Up() {
			t.Errorf("the other service: %+v", other)
		}
		if id := h.Docker("inspect", "-f", "{{.Id}} {{.State.Running}}", "web"); id != foreign+" true" {
			t.Errorf("the foreign container %s is %s", foreign, id)
		}
	})
	t.Run("a clock in 1970", func(t *testing.T) {
		// The clock of a host of the lab is this machine's; what examines the host is
		// told another time.
		h.Script("/usr/local/bin/date", `echo 86400`)
		t.Cleanup(func() { h.Exec("rm", "/usr/local/bin/date") })
		says(t, oneNode(t, l), "warning: node pi: its clock differs by 49", true)
	})
	t.Run("another host key", func(t *testing.T) { // the last one: nothing reaches the host afterwards
		h.Rekey()
		c := oneNode(t, l)
		c.Abandoned = true
		before := traces(h)
		says(t, c, "the host key of pi has CHANGED", false)
		if diff := gocmp.Diff(before, traces(h)); diff != "" {
			t.Errorf("the host was changed (-before +after):\n%s", diff)
		}
	})
}

// traces are what Otto could leave on a host: files, containers, networks,
// volumes, processes.
func traces(h *lab.Host) []string {
	files, _ := h.TryExec("find", "/home", "/root", "/etc", "/opt", "/var/lib", "-name", "*otto*")
	docker, _ := h.TryExec("sh", "-c", "docker ps -a --format '{{.Names}}'; docker network ls --format '{{.Name}}'; docker volume ls -q")
	return append(strings.Fields(files+" "+docker), fmt.Sprint(h.Processes("otto-agent")))
}
