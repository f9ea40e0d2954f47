package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/e2e/lab"
)

// badEnvironment is what is wrong with a machine, and what start says about it.
type badEnvironment struct {
	name    string
	host    string // n1, or n2 which has no engine; empty is n1
	user    string // otto if empty
	address string // the host's if empty
	prepare func(t *testing.T, h *lab.Host)
	undo    func(h *lab.Host)
	want    string // one line has it, and no other line is about trouble
	works   bool   // it is a warning

	abandoned bool // nobody gets in to take Otto off again
}

var badEnvironments = []badEnvironment{
	{
		name: "no Docker", host: "n2",
		want: "no container engine on pi (there is no /var/run/docker.sock): run `sudo apt-get install docker.io` there",
	},
	{
		name: "a user who may not use Docker", user: "plain",
		want: "user plain may not use /var/run/docker.sock on pi: run `sudo usermod -aG docker plain` there and log in again",
	},
	{
		name: "a user who is not there", user: "nobody-there", abandoned: true,
		want: "pi refuses user nobody-there at 10.77.0.11:22",
	},
	{
		name: "an address that nobody has", address: "10.77.0.99", abandoned: true,
		want: "pi cannot be reached at 10.77.0.99:22: nothing has that address; is it switched on and in this network?",
	},
	{
		name: "the broker's port taken by a web server",
		prepare: func(t *testing.T, _ *lab.Host) {
			l, err := net.Listen("tcp", "10.77.0.1:1883")
			if err != nil {
				t.Fatal(err)
			}
			s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.NotFoundHandler()}}
			s.Start()
			t.Cleanup(s.Close)
		},
		want: "10.77.0.1:1883 is taken by something that is not MQTT: set mqtt.port to another port, or stop what listens there",
	},
	{
		name:    "a full disk",
		prepare: func(_ *testing.T, h *lab.Host) { h.Fill() },
		undo:    func(h *lab.Host) { h.Free() },
		want:    "the disk of pi is full",
	},
	{
		name:    "a home that is read-only",
		prepare: func(_ *testing.T, h *lab.Host) { h.ReadOnly() },
		undo:    func(h *lab.Host) { h.Writable() },
		want:    "user otto cannot write to the home directory /home/otto on pi: is its file system mounted read-only? Try `mount -o remount,rw` there",
	},
	{
		name: "an architecture without an agent",
		prepare: func(_ *testing.T, h *lab.Host) {
			h.Script("/usr/local/bin/uname", `[ "$1" = -m ] && echo riscv64 || exec /usr/bin/uname "$@"`)
		},
		undo: func(h *lab.Host) { h.Exec("rm", "/usr/local/bin/uname") },
		want: "pi is a riscv64 machine: there are agents for amd64, arm64 and arm only",
	},
	{
		name: "a name taken by a foreign container",
		prepare: func(_ *testing.T, h *lab.Host) {
			h.Docker("run", "-d", "--name", "web", "nginx:alpine")
		},
		undo: func(h *lab.Host) { h.Docker("rm", "-f", "web") },
		want: "rename or remove it, or name the service otherwise",
	},
	{
		// The clock of a host of the lab is this machine's; what examines the host is
		// told another time.
		name:    "a clock in 1970",
		prepare: func(_ *testing.T, h *lab.Host) { h.Script("/usr/local/bin/date", `echo 86400`) },
		undo:    func(h *lab.Host) { h.Exec("rm", "/usr/local/bin/date") },
		want:    "warning: node pi: its clock differs by 49",
		works:   true,
	},
	{
		// The last one: nothing reaches the host afterwards.
		name:      "another host key",
		prepare:   func(_ *testing.T, h *lab.Host) { h.Rekey() },
		abandoned: true,
		want:      "the host key of pi has CHANGED",
	},
}

func TestBadEnvironmentsAreNamedAndLeftAlone(t *testing.T) {
	l := lab.Up(t, 2, lab.WithoutEngine("n2"))
	l.Images()
	l.Host("n1").Load("nginx:alpine")
	for _, env := range badEnvironments {
		t.Run(env.name, func(t *testing.T) { tryBadEnvironment(t, l, env) })
	}
}

func tryBadEnvironment(t *testing.T, l *lab.Lab, env badEnvironment) {
	t.Helper()
	or := func(s, other string) string {
		if s == "" {
			return other
		}
		return s
	}
	h := l.Host(or(env.host, "n1"))
	c := lab.NewCluster(t, fmt.Sprintf(`cluster: {name: bad}
mqtt: {host: 10.77.0.1}
nodes:
  - {id: pi, host: %s, user: %s, identity_file: %s}
services:
  - {name: web, image: "nginx:alpine", node: pi}
  - {name: other, image: "nginx:alpine", node: pi}
`, or(env.address, h.IP), or(env.user, "otto"), l.Key))
	c.Know(l)
	c.Abandoned = env.abandoned
	if env.prepare != nil {
		env.prepare(t, h)
	}
	if env.undo != nil {
		t.Cleanup(func() { env.undo(h) })
	}
	before := traces(h)
	out, err := c.Try("cluster", "start", "--timeout", "20s")
	t.Logf("otto cluster start:\n%s", out)
	if env.works != (err == nil) {
		t.Errorf("start ends with %v", err)
	}
	if n := strings.Count(out, env.want); n != 1 {
		t.Errorf("it says %q %d times", env.want, n)
	}
	if strings.Contains(env.name, "foreign") {
		v := c.Status()
		if other := v.Services[1].Instances[0]; !other.Up() {
			t.Errorf("the other service: %+v", other)
		}
		if image := h.Docker("inspect", "-f", "{{index .Config.Labels \"otto.service\"}}", "web"); strings.Contains(image, "web") {
			t.Error("the foreign container was replaced")
		}
		return
	}
	if env.works {
		return
	}
	if diff := cmp.Diff(before, traces(h)); diff != "" {
		t.Errorf("the host was changed (-before +after):\n%s", diff)
	}
}

// traces are what Otto could leave on a host: files, containers, networks,
// volumes, processes.
func traces(h *lab.Host) []string {
	files, _ := h.TryExec("find", "/home", "/root", "/etc", "/opt", "/var/lib", "-name", "*otto*")
	docker, _ := h.TryExec("sh", "-c", "docker ps -a --format '{{.Names}}'; docker network ls --format '{{.Name}}'; docker volume ls -q")
	return append(strings.Fields(files+" "+docker), fmt.Sprint(h.Processes("otto-agent")))
}
