package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// bringing tells step and verify, and nobody what the machine is.
func bringing(step func(string), verify func(context.Context) error) otto.Bringing {
	return otto.Bringing{Step: step, Found: func(otto.MachineFacts) {}, Verify: verify}
}

// ensure is Ensure with its steps.
func ensure(t *testing.T, f *Fleet, m machine, broker string, verify func(context.Context) error) (steps []string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = f.Ensure(ctx, m.node, enrolment(m.node.ID, broker), 0, bringing(func(s string) { steps = append(steps, s) }, verify))
	return steps, err
}

func mustEnsure(t *testing.T, f *Fleet, m machine, broker string) []string {
	t.Helper()
	steps, err := ensure(t, f, m, broker, nil)
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

func newBroker(t *testing.T) string {
	return serve(t, func(c net.Conn) { io.Copy(c, c) })
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error is\n%v\nwithout %q", err, p)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error has more than one line:\n%v", err)
	}
}

func TestBareHostBecomesANode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine("rpi-01")
	broker := newBroker(t)
	mustEnsure(t, w.fleet(), m, broker)
	got := m.state(t)
	want := state{Pid: got.Pid, Running: agents()[0].Hash, Agents: []string{agents()[0].Hash}, Enrolment: enrolment("rpi-01", broker)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for path, mode := range map[string]os.FileMode{
		".": 0o700, "agents": 0o700, "agent.json": 0o600, "agent.log": 0o600, "agents/" + agents()[0].Hash + "/otto-agent": 0o700,
	} {
		if info, err := os.Stat(filepath.Join(m.nodeDir(), path)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, mode %o, want %o", path, err, info.Mode().Perm(), mode)
		}
	}
}

func TestSecondRunChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine("rpi-01")
	broker := newBroker(t)
	mustEnsure(t, w.fleet(), m, broker)
	before, files := m.state(t), listing(t, m.nodeDir())
	steps := mustEnsure(t, w.fleet(), m, broker)
	if diff := cmp.Diff(before, m.state(t)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(files, listing(t, m.nodeDir())); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"connecting"}, steps); diff != "" {
		t.Error(diff)
	}
}

// TestAgentWithoutAnAssignmentIsToldWhatIsTooOld: one that has an assignment knows it.
func TestAgentWithoutAnAssignmentIsToldWhatIsTooOld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine("rpi-01")
	broker := newBroker(t)
	bring := func(floor otto.Revision) (steps []string) {
		by := bringing(func(s string) { steps = append(steps, s) }, nil)
		by.Floor = floor
		if _, err := w.fleet().Ensure(t.Context(), m.node, enrolment("rpi-01", broker), 0, by); err != nil {
			t.Fatal(err)
		}
		return steps
	}
	floor := func() otto.Revision {
		b, err := os.ReadFile(filepath.Join(m.nodeDir(), wire.FloorFile))
		if err != nil {
			t.Fatal(err)
		}
		r, err := wire.DecodeFloor(b)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first, second, third := otto.Revision{Epoch: 3, Number: 7}, otto.Revision{Epoch: 4}, otto.Revision{Epoch: 5}
	bring(first)
	if is := floor(); is != first {
		t.Errorf("it is %s", is)
	}
	if steps := bring(otto.Revision{Epoch: 3, Number: 9}); len(steps) != 1 {
		t.Errorf("the same once more: %q", steps)
	}
	if steps := bring(second); floor() != second || !slices.Contains(steps, "starting the agent") {
		t.Errorf("a newer one is %s: %q", floor(), steps)
	}
	if err := os.MkdirAll(filepath.Join(m.nodeDir(), "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.nodeDir(), "state", "assignment.json"), []byte("signed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if steps := bring(third); floor() != second || len(steps) != 1 {
		t.Errorf("with an assignment it is %s: %q", floor(), steps)
	}
}

func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Name() != "agent.log" { // the agent may say something at any time
			files[path] = fmt.Sprint(info.Mode(), info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestUpgradeKeepsOnlyTheFormerAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine("rpi-01")
	broker := newBroker(t)
	mustEnsure(t, w.fleet(), m, broker)
	old := filepath.Join(m.nodeDir(), "agents", "0123456789abcdef")
	if err := os.MkdirAll(old, 0o700); err != nil {
		t.Fatal(err)
	}
	first := m.state(t)
	w.opts.Binaries = build(1)
	mustEnsure(t, w.fleet(), m, broker)
	got := m.state(t)
	if got.Running != agents()[1].Hash || got.Pid == first.Pid || len(got.Agents) != 2 {
		t.Errorf("after the upgrade: %+v", got)
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("the agent before the former one is still there")
	}
}

func TestAgentThatDoesNotReportMakesWayForTheFormerOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine("rpi-01")
	broker, other := newBroker(t), newBroker(t)
	mustEnsure(t, w.fleet(), m, broker)
	w.opts.Binaries = build(1)
	_, err := ensure(t, w.fleet(), m, other, func(context.Context) error {
		if got := m.state(t).Running; got != agents()[1].Hash {
			t.Errorf("%s runs while it is verified", got)
		}
		return errors.New("no report within 30s")
	})
	wantError(t, err, "rpi-01: no report within 30s", "the agent is up", "the former agent runs again")
	got := m.state(t)
	if got.Running != agents()[0].Hash {
		t.Errorf("%s runs, want the former %s", got.Running, agents()[0].Hash)
	}
	if diff := cmp.Diff(enrolment("rpi-01", broker), got.Enrolment); diff != "" {
		t.Error(diff)
	}
}

func TestChangedEnrolmentRestartsTheAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine("rpi-01")
	mustEnsure(t, w.fleet(), m, newBroker(t))
	first := m.state(t)
	mustEnsure(t, w.fleet(), m, newBroker(t))
	if got := m.state(t); got.Pid == first.Pid || got.Running != first.Running {
		t.Errorf("before %+v, after %+v", first, got)
	}
}

func TestLinkCutInMidUploadLeavesTheOldAgentWorking(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine("rpi-01")
	broker := newBroker(t)
	mustEnsure(t, w.fleet(), m, broker)
	before := m.state(t)

	link := newCable(t, m.addr)
	link.limit.Store(agents()[1].Size / 2) // far more than is under way unacknowledged
	w.alias(m.node.Host, link.addr)
	w.know(link.addr, m.key)
	w.opts.Binaries = build(1)
	_, err := ensure(t, w.fleet(), m, broker, nil)
	wantError(t, err, "upload the agent to rpi-01", "the SSH connection was lost")
	if diff := cmp.Diff(before, m.state(t)); diff != "" {
		t.Errorf("after the cut (-want +got)\n%s", diff)
	}
	part, err := os.Stat(filepath.Join(m.nodeDir(), "agents", agents()[1].Hash, "otto-agent.part"))
	if err != nil || part.Size() == 0 || part.Size() >= agents()[1].Size {
		t.Fatalf("the upload was not cut in the middle: %v %v", part, err)
	}

	link.limit.Store(0)
	mustEnsure(t, w.fleet(), m, broker)
	if got := m.state(t).Running; got != agents()[1].Hash {
		t.Errorf("after the next try %s runs", got)
	}
}

func TestHostWithoutAnEngineIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine("rpi-01")
	m.node.DockerURL = "unix:///absent/docker.sock"
	_, err := ensure(t, w.fleet(), m, newBroker(t), nil)
	wantError(t, err, "container engine on rpi-01", "/absent/docker.sock", "run `sudo ")
	if left := listing(t, m.home); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEngineThatIsDownDoesNotKeepTheAgentDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine("rpi-01")
	broker := newBroker(t)
	mustEnsure(t, w.fleet(), m, broker)
	if err := w.fleet().Stop(t.Context(), m.node, us); err != nil {
		t.Fatal(err)
	}
	if pid := m.state(t).Pid; pid != 0 {
		t.Fatalf("the agent %d runs after Stop", pid)
	}
	m.node.DockerURL = "unix:///absent/docker.sock"
	mustEnsure(t, w.fleet(), m, broker)
	if m.state(t).Running == "" {
		t.Error("no agent runs")
	}
}

func TestUninstallLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, prepare := range map[string]func(machine){
		"running":   func(m machine) { mustEnsure(t, w.fleet(), m, newBroker(t)) },
		"never":     func(machine) {},
		"partly":    func(m machine) { partly(t, m, "state/x", "agents/0123456789abcdef/otto-agent.part") },
		"cut-short": func(m machine) { partly(t, m, "agents/0123456789abcdef/otto-agent.part") },
	} {
		m := w.machine(name)
		prepare(m)
		for range 2 {
			if err := w.fleet().Uninstall(t.Context(), m.node, us, true); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := os.Stat(filepath.Join(m.home, ".local/share/otto")); err == nil {
			t.Errorf("%s: left behind: %v", name, listing(t, m.home))
		}
	}
}

func partly(t *testing.T, m machine, files ...string) {
	t.Helper()
	for _, f := range files {
		path := filepath.Join(m.nodeDir(), f)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, nil, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestLocalNodeNeedsNoSSH(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.stranger("local")
	m.node.Host = "localhost"
	w.opts.Home = m.home
	f := w.fleet()
	mustEnsure(t, f, m, newBroker(t))
	before := m.state(t)
	if before.Running == "" {
		t.Fatal("no agent runs")
	}
	mustEnsure(t, f, m, before.Enrolment.Brokers[0])
	if diff := cmp.Diff(before, m.state(t)); diff != "" {
		t.Error(diff)
	}
	if err := f.Uninstall(t.Context(), m.node, us, false); err != nil {
		t.Fatal(err)
	}
	if left := m.state(t); left.Pid != 0 || left.Agents != nil {
		t.Errorf("left behind: %+v", left)
	}
}

func TestDeadNodeHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.opts.DialTimeout = 20 * time.Second
	m := w.machine("rpi-01")
	dead := machine{node: otto.Node{ID: "dead", Host: "host-dead", DockerURL: m.node.DockerURL}}
	w.alias("host-dead", serve(t, func(c net.Conn) { io.Copy(io.Discard, c) }))
	f := w.fleet()
	broker := newBroker(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var deadErr error
	wg.Go(func() {
		_, deadErr = f.Ensure(ctx, dead.node, enrolment("dead", broker), 0, bringing(func(string) {}, nil))
	})
	mustEnsure(t, f, m, broker)
	if ctx.Err() != nil || deadErr != nil {
		t.Errorf("the dead node was given up first: %v", deadErr)
	}
	cancel()
	wg.Wait()
	wantError(t, deadErr, "dead: context canceled")
}
