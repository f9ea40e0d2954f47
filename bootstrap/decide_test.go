package bootstrap

import (
	"encoding/json"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

var testAgent = Binary{Hash: "0123456789abcdef", Size: 8 << 20}

func bareHost() facts {
	return facts{
		kernel:   "Linux",
		machine:  "aarch64",
		bits:     64,
		user:     "pi",
		home:     "/home/pi",
		dir:      "/home/pi/.local/share/otto/home",
		writable: true,
		diskFree: 1 << 30,
		clock:    time.Unix(1000, 0),
		socket:   socketWritable,
		agents:   map[string]int64{},
	}
}

func agentJSON(cluster, node string) string {
	e := enrolment(node, "b:1883")
	e.ClusterID = cluster
	b, _ := json.Marshal(e)
	return string(b)
}

func TestDecide(t *testing.T) {
	node := func(f *facts) {
		f.agents = map[string]int64{testAgent.Hash: testAgent.Size}
		f.running = testAgent.Hash
		f.enrolment = agentJSON("c1", "rpi-01")
	}
	for name, tt := range map[string]struct {
		change func(*facts)
		want   verdict
	}{
		"bare host":  {func(*facts) {}, verdict{upload: true}},
		"node":       {node, verdict{}},
		"cut upload": {func(f *facts) { f.agents[testAgent.Hash] = 100 }, verdict{upload: true}},
		"no engine": {func(f *facts) { f.socket = socketAbsent }, verdict{upload: true, problems: []string{
			"no container engine on rpi-01 (there is no /var/run/docker.sock): run `sudo apt-get install docker.io` there",
		}}},
		"stopped engine": {func(f *facts) { f.socket, f.engine = socketAbsent, true }, verdict{upload: true, problems: []string{
			"the container engine on rpi-01 does not run (there is no /var/run/docker.sock): run `sudo systemctl start docker` there",
		}}},
		"stopped engine of a node": {func(f *facts) { node(f); f.socket, f.engine = socketAbsent, true }, verdict{warnings: []string{
			"the container engine on rpi-01 does not run (there is no /var/run/docker.sock): run `sudo systemctl start docker` there",
		}}},
		"wrong group": {func(f *facts) { f.socket = socketPresent }, verdict{upload: true, problems: []string{
			"user pi may not use /var/run/docker.sock on rpi-01: run `sudo usermod -aG docker pi` there and log in again",
		}}},
		"wrong architecture": {func(f *facts) { f.machine = "riscv64" }, verdict{upload: true, problems: []string{
			"rpi-01 is a riscv64 machine: there are agents for amd64, arm64 and arm only",
		}}},
		"wrong system": {func(f *facts) { f.kernel = "Darwin" }, verdict{upload: true, problems: []string{
			"rpi-01 runs Darwin: the agent needs Linux",
		}}},
		"read-only home": {func(f *facts) { f.writable = false }, verdict{upload: true, problems: []string{
			"user pi cannot write to the home directory /home/pi on rpi-01: is its file system mounted read-only? Try `mount -o remount,rw` there",
		}}},
		"home of a node became read-only": {func(f *facts) { node(f); f.writable = false }, verdict{}},
		"full disk": {func(f *facts) { f.diskFree = 3 << 20 }, verdict{upload: true, problems: []string{
			"the disk of rpi-01 is full: 3.0 MB free in /home/pi, the agent needs 24.0 MB",
		}}},
		"full disk of a node": {func(f *facts) { node(f); f.diskFree = 0 }, verdict{}},
		"unknown disk":        {func(f *facts) { f.diskFree = -1 }, verdict{upload: true}},
		"clock in 1970": {func(f *facts) { f.clock = time.Unix(7, 0) }, verdict{upload: true, warnings: []string{
			"its clock differs by 16m33s: run `timedatectl set-ntp true` there",
		}}},
		"clock within tolerance": {func(f *facts) { f.clock = time.Unix(1002, 0) }, verdict{upload: true}},
		"another cluster": {func(f *facts) { f.enrolment = agentJSON("c2", "rpi-01") }, verdict{upload: true, problems: []string{
			"rpi-01 belongs to another cluster named home (id c2): give this one another name, or if it is that one and its .otto is lost, run `otto cluster restore --from pi@rpi-01.lan`",
		}}},
		"another node": {func(f *facts) { f.enrolment = agentJSON("c1", "n2") }, verdict{upload: true, problems: []string{
			"rpi-01 is the node n2 of this cluster already: list each machine once; after a change of the id take n2 out first",
		}}},
		"another cluster that has just begun": {func(f *facts) { f.claim = claim{"c2", "n2"} }, verdict{upload: true, problems: []string{
			"rpi-01 belongs to another cluster named home (id c2): give this one another name, or if it is that one and its .otto is lost, run `otto cluster restore --from pi@rpi-01.lan`",
		}}},
		"another user": {func(f *facts) { f.others = []otherAgent{{12, "/home/ann/.local/share/otto/home"}} }, verdict{upload: true, problems: []string{
			"rpi-01 has an agent of a cluster named home of another user already, in /home/ann/.local/share/otto/home (pid 12): one machine is one node of one user; take it out there first, with `otto node rm` or `otto cluster uninstall`",
		}}},
		"another cluster of another user": {func(f *facts) { f.others = []otherAgent{{12, "/home/ann/.local/share/otto/home2"}} }, verdict{upload: true}},
		"torn enrolment":                  {func(f *facts) { f.enrolment = `{"cluster` }, verdict{upload: true}},
		"everything at once": {func(f *facts) { f.socket, f.writable = socketAbsent, false }, verdict{upload: true, problems: []string{
			"no container engine on rpi-01 (there is no /var/run/docker.sock): run `sudo apt-get install docker.io` there",
			"user pi cannot write to the home directory /home/pi on rpi-01: is its file system mounted read-only? Try `mount -o remount,rw` there",
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			f := bareHost()
			tt.change(&f)
			r := request{
				node: otto.Node{
					ID:        "rpi-01",
					Host:      "rpi-01.lan",
					User:      "pi",
					DockerURL: "unix:///var/run/docker.sock",
				},
				enrolment: enrolment("rpi-01", "b:1883"),
				agent:     testAgent,
			}
			if diff := cmp.Diff(tt.want, decide(r, f, time.Unix(1000, 0)), cmp.AllowUnexported(verdict{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEngineOverTCPNeedsNoSocket(t *testing.T) {
	f := bareHost()
	f.socket = socketAbsent
	if p := engineProblem(otto.Node{ID: "n", DockerURL: "tcp://10.0.0.1:2375"}, f); p != "" {
		t.Error(p)
	}
}

func TestArchitecture(t *testing.T) {
	for _, tt := range []struct {
		machine string
		bits    int
		want    string
	}{
		{"x86_64", 64, "amd64"},
		{"aarch64", 64, "arm64"},
		{"aarch64", 0, "arm64"},
		{"aarch64", 32, "arm"},
		{"armv6l", 32, "arm"},
		{"armv7l", 32, "arm"},
		{"i686", 32, ""},
		{"mips", 32, ""},
	} {
		if got := architecture(facts{machine: tt.machine, bits: tt.bits}); got != tt.want {
			t.Errorf("%s with %d bits: %q, want %q", tt.machine, tt.bits, got, tt.want)
		}
	}
}

func TestBrokersThatTheNodeReachesGoFirst(t *testing.T) {
	list := strings.Fields
	for name, tt := range map[string]struct{ candidates, reachable, had, want string }{
		"all":                     {"a b", "a b", "", "a b"},
		"second":                  {"a b", "b", "", "b a"},
		"tunnel":                  {"a b", "t", "", "t a b"},
		"kept while it works":     {"a b", "a b", "b a", "b a"},
		"not kept when it fails":  {"a b", "a", "b a", "a b"},
		"tunnel no longer needed": {"a b", "a", "t a b", "a b"},
		"new candidate":           {"a b c", "a b", "b a", "a b c"},
		"same number":             {"a c", "a", "a b", "a c"},
		"none":                    {"a b", "", "b a", "a b"},
	} {
		if diff := cmp.Diff(list(tt.want), brokers(list(tt.candidates), list(tt.reachable), list(tt.had))); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestProbeInEveryShell(t *testing.T) {
	home, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := machine{home: filepath.Join(home, "a b$(touch x)`id`")}
	partly(t, m, "agents/0123456789abcdef/otto-agent", "agents/0123456789abcdef/otto-agent.part", "agent.pid")
	if err := os.WriteFile(filepath.Join(m.nodeDir(), "agent.json"), []byte("{\n}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, shell := range [][]string{{"sh"}, {"dash"}, {"bash"}, {"bash", "--posix"}, {"busybox", "sh"}, {"ksh"}, {"zsh", "--emulate", "sh"}} {
		t.Run(strings.Join(shell, " "), func(t *testing.T) {
			if _, err := exec.LookPath(shell[0]); err != nil {
				t.Skipf("there is no %s here", shell[0])
			}
			cmd := exec.Command(shell[0], append(shell[1:], "-c", probeScript)...)
			cmd.Env = append(os.Environ(), "HOME="+m.home, "SSH_CONNECTION=10.0.0.1 1 2 3")
			cmd.Stdin = strings.NewReader(cluster + "\n/absent $(touch x)\n")
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			got := parseFacts(string(out))
			if got.kernel != "Linux" || got.bits != 32<<(^uint(0)>>63) || got.diskFree <= 0 || time.Since(got.clock).Abs() > time.Minute || got.user == "" ||
				got.hostname == "" ||
				got.cpus < 1 ||
				got.memory < 1<<20 {
				t.Errorf("facts %+v", got)
			}
			want := facts{
				home:      m.home,
				dir:       m.nodeDir(),
				writable:  true,
				client:    "10.0.0.1",
				agents:    map[string]int64{testAgent.Hash: 0},
				enrolment: "{\n}",
			}
			got.hostname, got.cpus, got.memory = "", 0, 0
			got.kernel, got.machine, got.bits, got.user, got.diskFree, got.clock, got.engine = "", "", 0, "", 0, time.Time{}, false
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(facts{}, claim{}, otherAgent{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestProbeChangesNothing(t *testing.T) {
	home := t.TempDir()
	before := listing(t, home)
	if _, err := probe(t.Context(), local{home: home}, cluster, "unix:///absent"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, listing(t, home)); diff != "" {
		t.Error(diff)
	}
}

func TestScriptsCanBeQuoted(t *testing.T) {
	for name, script := range map[string]string{
		"exec": execScript, "mkdir": mkdirScript, "prune": pruneScript, "remove": removeScript, "log": logScript, "probe": probeScript,
	} {
		if strings.Contains(script, "'") || strings.Contains(script, `\\`) {
			t.Errorf("the %s script has a quote inside", name)
		}
	}
}

func TestValuesNeverBecomeShellText(t *testing.T) {
	words := []string{"printf", "<%s>", "$(touch x)", "`touch x`", "; touch x", "a b", "", `"'\`, "-n"}
	for _, h := range []host{local{}} {
		out, err := h.run(t.Context(), execScript, words...)
		if want := "<" + strings.Join(words[2:], "><") + ">"; err != nil || out != want {
			t.Errorf("%q (%v), want %q", out, err, want)
		}
		if _, err := h.run(t.Context(), execScript, "echo", "a\nb"); err == nil {
			t.Error("a value of two lines was taken")
		}
	}
}

func TestBuildWithoutAgentsSaysSo(t *testing.T) {
	_, err := binariesOf(fstest.MapFS{"binaries/otto-agent-linux-arm.gz": {Data: []byte("not gzip")}})("arm64")
	wantError(t, err, "this build of otto carries no agent for arm64: build it with `make build`")
	_, err = binariesOf(fstest.MapFS{"binaries/otto-agent-linux-arm.gz": {Data: []byte("not gzip")}})("arm")
	wantError(t, err, "the agent for arm inside this build of otto is damaged")
}

func FuzzFacts(f *testing.F) {
	f.Add(
		"Welcome to your Pi!\nkernel=Linux\nagent=abc 12\nrunning=/x/agents/abc/otto-agent (deleted)\nenrolment={\n}\n",
	)
	f.Add("disk_kb=99999999999999999999\nclock=-1\nbits=x")
	f.Fuzz(func(t *testing.T, s string) {
		got := parseFacts(s)
		if got.diskFree < -1 || strings.Contains(got.running, "/") {
			t.Errorf("%q: %+v", s, got)
		}
		decide(request{agent: testAgent}, got, time.Unix(0, 0))
		if again := parseFacts(s); !maps.Equal(again.agents, got.agents) {
			t.Errorf("%q is read in two ways", s)
		}
	})
}

func TestProbeSeesWhatTheUserMayNotUse(t *testing.T) {
	dir := shortDir(t)
	socket := filepath.Join(dir, "docker.sock")
	engine, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	cmd := exec.Command("sh", "-c", probeScript)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	for path, mode := range map[string]os.FileMode{dir: 0o555, socket: 0o400} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Env, cmd.Dir = append(os.Environ(), "HOME="+dir), "/"
	cmd.Stdin = strings.NewReader(cluster + "\n" + socket + "\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := parseFacts(string(out)); got.socket != socketPresent || got.writable {
		t.Errorf("socket %q, home writable %v", got.socket, got.writable)
	}
}
