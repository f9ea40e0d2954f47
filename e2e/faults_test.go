package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/e2e/lab"
)

// soak is how long the tests that only mean something after a long time may take,
// and whether they were asked for: OTTO_SOAK=30m.
func soak(t *testing.T) (time.Duration, bool) {
	t.Helper()
	s := os.Getenv("OTTO_SOAK")
	if s == "" {
		return 0, false
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("OTTO_SOAK: %v", err)
	}
	return d, true
}

// within waits for a condition that takes longer than lab.Until waits.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// tellIfFailed shows the state of a cluster whose test has failed.
func tellIfFailed(t *testing.T, c *lab.Cluster) {
	t.Cleanup(func() {
		if t.Failed() {
			status, _ := c.Try("cluster", "status")
			events, _ := c.Try("events")
			t.Logf("%s\n%s", status, events[max(0, len(events)-4000):])
		}
	})
}

// nodesYAML begins an otto.yaml with these hosts, as this user.
func nodesYAML(l *lab.Lab, user string, names ...string) string {
	var b strings.Builder
	fmt.Fprint(&b, "cluster: {name: faults}\nmqtt: {host: 10.77.0.1}\nnodes:\n")
	for _, n := range names {
		fmt.Fprintf(&b, "  - {id: %s, host: %s, user: %s, identity_file: %s}\n", n, l.Host(n).IP, user, l.Key)
	}
	return b.String() + "services:\n"
}

// TestHungEngineLosesItsLease has the engine hang under a service with a lease: the
// agent, which may as it is root's, ends the processes itself when the lease ends,
// and the service is started elsewhere. With OTTO_SOAK the engine is killed first,
// which is back in a second and moves nothing.
func TestHungEngineLosesItsLease(t *testing.T) {
	l := lab.Up(t, 3)
	l.Images()
	for _, n := range hosts {
		l.Host(n).Load("redis:alpine", "otto-echo:1")
	}
	c := lab.NewCluster(t, nodesYAML(l, "root", hosts...)+`
  - {name: db, image: "redis:alpine", node: n1, failover: move, data: disposable, volumes: ["data:/data"], ports: ["6379:6379"]}
  - {name: web, image: "otto-echo:1", node: n2}
`)
	tellIfFailed(t, c)
	c.Start()
	began := time.Now()
	w := startWriting(t, l)
	w.wait(t, "n1")
	n1 := l.Host("n1")

	if _, long := soak(t); long {
		n1.KillEngine()
		lab.Until(t, "the engine is back", func() bool { _, err := n1.TryDocker("ps"); return err == nil })
		lab.Until(t, "all is up again", func() bool { return allUp(c) })
		w.wait(t, "n1")
		if list := moves(c, "db"); len(list) > 0 {
			t.Errorf("a killed engine moved db: %q", list)
		}
		neverTwice(t, l, "db", began)
	}

	untouched := l.Host("n2").Docker("ps", "-q", "--no-trunc")
	process := n1.Docker("inspect", "--format", "{{.State.Pid}}", "db")
	hung := time.Now()
	n1.HangEngine()
	lab.Until(t, "the agent has ended db", func() bool { _, err := n1.TryExec("test", "-d", "/proc/"+process); return err != nil })
	ended := time.Now()
	within(t, 90*time.Second, "db is elsewhere", func() bool { return len(moves(c, "db")) == 1 })
	w.wait(t, "n2", "n3")
	t.Logf("elsewhere %s after the engine began to hang", time.Since(hung).Round(100*time.Millisecond))
	n1.ResumeEngine()
	on := func() (list []string) {
		for _, n := range hosts {
			list = append(list, strings.Fields(l.Host(n).Docker("ps", "-a", "--format", n+"/{{.State}}", "--filter", "name=^db$"))...)
		}
		return list
	}
	lab.Until(t, "one copy is left", func() bool {
		return allUp(c) && c.Status().Nodes[0].Problem == "" && len(on()) == 1
	})
	w.stop()
	w.once(t)
	place, state, _ := strings.Cut(on()[0], "/")
	if place == "n1" || state != "running" {
		t.Fatalf("db is %s on %s", state, place)
	}
	if started, err := time.Parse(time.RFC3339Nano, l.Host(place).Docker("inspect", "--format", "{{.State.StartedAt}}", "db")); err != nil || started.Before(ended) {
		t.Errorf("started on %s at %s (%v), and it ended on n1 at %s", place, started, err, ended)
	}
	if now := l.Host("n2").Docker("ps", "-q", "--no-trunc", "--filter", "name=^web$"); now != untouched {
		t.Errorf("web on n2 was %s and is %s", untouched, now)
	}
}

// writing is a client that writes to redis, on whichever host takes it.
type writing struct {
	stop  func()
	mu    sync.Mutex
	taken map[string][]time.Time // by host
}

func startWriting(t *testing.T, l *lab.Lab) *writing {
	t.Helper()
	ended := make(chan struct{})
	w := &writing{taken: map[string][]time.Time{}}
	var wg sync.WaitGroup
	w.stop = sync.OnceFunc(func() { close(ended); wg.Wait() })
	t.Cleanup(w.stop)
	for _, n := range hosts {
		address := net.JoinHostPort(l.Host(n).IP, "6379")
		wg.Go(func() {
			for tick := time.NewTicker(20 * time.Millisecond); ; {
				select {
				case <-ended:
					return
				case <-tick.C:
				}
				if set(address) == nil {
					w.mu.Lock()
					w.taken[n] = append(w.taken[n], time.Now())
					w.mu.Unlock()
				}
			}
		})
	}
	return w
}

// set writes one value.
func set(address string) error {
	conn, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := fmt.Fprint(conn, "SET color green\r\n"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && answer != "+OK\r\n" {
		err = errors.New(answer)
	}
	return err
}

// wait waits until one of the hosts takes a write from now on.
func (w *writing) wait(t *testing.T, on ...string) {
	t.Helper()
	began := time.Now()
	lab.Until(t, fmt.Sprintf("a write is taken on %v", on), func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, n := range on {
			if k := len(w.taken[n]); k > 0 && w.taken[n][k-1].After(began) {
				return true
			}
		}
		return false
	})
}

// once fails the test if two hosts took writes in turns.
func (w *writing) once(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.taken) != 2 {
		t.Errorf("writes were taken on %d hosts", len(w.taken))
	}
	for a, first := range w.taken {
		for b, other := range w.taken {
			if a < b && !first[len(first)-1].Before(other[0]) && !other[len(other)-1].Before(first[0]) {
				t.Errorf("%s took writes until %s and %s from %s on", a, first[len(first)-1], b, other[0])
			}
		}
	}
}

// TestControlPlaneKilledAtRandomMoments kills the control plane with -9 while
// changes are made as fast as it takes them: five times, or fifty with OTTO_SOAK.
// What it has acknowledged is there afterwards, and what was not changed runs on.
func TestControlPlaneKilledAtRandomMoments(t *testing.T) {
	l := lab.Up(t, 2)
	l.Images()
	for _, n := range []string{"n1", "n2"} {
		l.Host(n).Load("otto-echo:1", "redis:alpine")
	}
	c := lab.NewCluster(t, nodesYAML(l, "otto", "n1", "n2")+`
  - {name: changed, image: "otto-echo:1", node: n1, environment: {N: "0"}}
  - {name: pet, image: "redis:alpine", node: n1, volumes: ["data:/data"]}
  - {name: web, image: "otto-echo:1", node: n2}
`)
	tellIfFailed(t, c)
	c.Start()
	untouched := func() [2]string {
		const format = "{{.Id}} {{.State.StartedAt}}"
		return [2]string{l.Host("n1").Docker("inspect", "--format", format, "pet"), l.Host("n2").Docker("inspect", "--format", format, "web")}
	}
	before := untouched()

	kills := 5
	if _, long := soak(t); long {
		kills = 50
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	client := api.NewClient(api.Socket(filepath.Join(c.Dir, ".otto")), "test")
	file, err := config.Load(filepath.Join(c.Dir, "otto.yaml"), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	acknowledged, next := 0, 0
	for range kills {
		killed := make(chan struct{})
		go func() {
			defer close(killed)
			time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond) // that is the test: any moment will do
			for _, pid := range worker(t, c) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}()
		for alive := true; alive; {
			select {
			case <-killed:
				alive = false
			default:
			}
			next++
			if change(t, client, file.Wanted, next) == nil {
				acknowledged = next
			}
		}
		var v *otto.Cluster
		lab.Until(t, "the control plane answers again", func() (ok bool) {
			var err error
			v, err = client.Cluster(t.Context())
			return err == nil
		})
		if n, err := strconv.Atoi(v.Services[0].Spec.Environment["N"]); err != nil || n < acknowledged || n > next {
			t.Fatalf("change %d was acknowledged, %d was asked for, and %d is there (%v)", acknowledged, next, n, err)
		}
	}
	if acknowledged < kills {
		t.Errorf("%d changes only were acknowledged", acknowledged)
	}
	t.Logf("%d changes, the last one acknowledged is %d, %d kills", next, acknowledged, kills)
	lab.Until(t, "all is up again", func() bool { return allUp(c) })
	want := c.Status().Services[0].Spec.Environment["N"]
	lab.Until(t, "the container has N="+want, func() bool {
		env, err := l.Host("n1").TryDocker("inspect", "--format", "{{.Config.Env}}", "changed")
		return err == nil && strings.Contains(env, "N="+want+" ")
	})
	if now := untouched(); now != before {
		t.Errorf("what was not changed was %v and is %v", before, now)
	}
}

// change sets N of the first service.
func change(t *testing.T, client *api.Client, w otto.Wanted, n int) error {
	t.Helper()
	v, err := client.Cluster(t.Context())
	if err != nil {
		return err
	}
	w.Services[0].Spec.Environment = map[string]string{"N": strconv.Itoa(n)}
	_, err = client.Apply(t.Context(), w, v.Revision, false)
	return err
}

// worker is the control plane without its supervisor.
func worker(t *testing.T, c *lab.Cluster) (pids []int) {
	t.Helper()
	out, err := exec.Command("pgrep", "-f", "^"+c.Path+" control-plane --worker").Output()
	if err != nil {
		t.Errorf("no worker: %v", err)
	}
	for _, field := range strings.Fields(string(out)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestFullDisksAndABrokenImage fills the control plane's disk, then a node's, and
// breaks an image there; each time what does not need it goes on, and the rest
// comes back by itself.
func TestFullDisksAndABrokenImage(t *testing.T) {
	l := lab.Up(t, 1)
	l.Images()
	h := l.Host("n1")
	h.Load("otto-echo:1", "redis:alpine")
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=24m,mode=700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		lab.Until(t, "the control plane has ended", func() bool { return syscall.Unmount(disk, 0) == nil })
	})
	c := lab.NewCluster(t, "")
	c.Dir = disk
	file := func(color, more string) string {
		return nodesYAML(l, "otto", "n1") + "  - {name: echo, image: 'otto-echo:1', environment: {COLOR: " + color + "}}\n  - {name: pet, image: 'redis:alpine', volumes: ['data:/data']}\n" + more
	}
	c.Write(file("red", ""))
	tellIfFailed(t, c)
	c.Start()
	pet := h.Docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", "pet")
	color := func(want string) { // the name comes a moment after the update
		t.Helper()
		lab.Until(t, "echo is "+want, func() bool {
			env, err := h.TryDocker("inspect", "--format", "{{.Config.Env}}", "echo")
			return err == nil && strings.Contains(env, "COLOR="+want)
		})
	}

	t.Run("control plane", func(t *testing.T) {
		epoch := c.Status().Epoch
		full := filepath.Join(disk, "full")
		if err := fill(full); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second) // it looks at its disk, and goes on
		if v := c.Status(); v.Epoch != epoch || !allUp(c) {
			t.Errorf("with a full disk: epoch %d after %d, all up: %t", v.Epoch, epoch, allUp(c))
		}
		for _, pid := range worker(t, c) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // what starts now has no space
		}
		time.Sleep(3 * time.Second)
		if err := os.Remove(full); err != nil {
			t.Fatal(err)
		}
		lab.Until(t, "the control plane writes again", func() bool {
			out, err := c.Try("cluster", "status", "-o", "json")
			return err == nil && !strings.Contains(out, fmt.Sprintf(`"epoch": %d,`, epoch)) && allUp(c)
		})
		c.Write(file("green", ""))
		c.Run("cluster", "start")
		color("green")
		for line := range strings.Lines(c.Run("events", "-o", "json")) {
			if strings.Contains(line, `"node-lost"`) || strings.Contains(line, `"service-moved"`) {
				t.Error(line)
			}
		}
	})
	t.Run("node", func(t *testing.T) {
		h.Fill()
		defer h.Free()
		c.Write(file("blue", ""))
		out, err := c.Try("cluster", "start", "--timeout", "5s")
		t.Logf("with a full disk: %v\n%s", err, out)
		if err == nil || !strings.Contains(out, "no space left on device") {
			t.Errorf("start does not say so: %v", err)
		}
		h.Free()
		within(t, time.Minute, "all is up, and the node well", func() bool {
			_, err := c.Try("cluster", "start", "--timeout", "20s") // again: the update may have been given up
			return err == nil && allUp(c) && c.Status().Nodes[0].Problem == ""
		})
		color("blue")
	})
	t.Run("broken image", func(t *testing.T) {
		h.Load("nginx:alpine")
		diff := h.Docker("image", "inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", "nginx:alpine")
		if !strings.HasPrefix(diff, "/var/lib/docker/overlay2/") {
			t.Fatalf("the image is at %q", diff)
		}
		h.Exec("rm", "-r", diff)
		c.Write(file("blue", "  - {name: web, image: 'nginx:alpine'}\n"))
		out, err := c.Try("cluster", "start", "--timeout", "10s")
		if err == nil || !strings.Contains(out, "image nginx:alpine is damaged on this node") || !strings.Contains(out, "cannot be fetched anew") {
			t.Errorf("start ends with %v and says:\n%s", err, out)
		}
		if images := h.Docker("images", "--format", "{{.Repository}}:{{.Tag}}"); !strings.Contains(images, "nginx:alpine") {
			t.Errorf("an image that cannot be fetched anew was removed: %s", images)
		}
		h.Docker("rmi", "nginx:alpine") // as the error says
		h.Load("nginx:alpine")
		within(t, 2*time.Minute, "all is up", func() bool { return allUp(c) })
	})
	if now := h.Docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", "pet"); now != pet {
		t.Errorf("pet was %s and is %s", pet, now)
	}
}

// fill writes a file until the disk is full.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			return err
		}
	}
	return nil
}

// TestLossAndLoadLoseNobody has 5 percent of all packets lost and both cores busy
// for as long as OTTO_SOAK says.
func TestLossAndLoadLoseNobody(t *testing.T) {
	long, asked := soak(t)
	if !asked {
		t.Skip("takes as long as OTTO_SOAK says, 30m for example")
	}
	l, c := threeHosts(t)
	before := places(l)
	began := time.Now()
	for range 2 {
		load := exec.CommandContext(t.Context(), "timeout", fmt.Sprint(int(long.Seconds())), "sh", "-c", "while :; do :; done")
		if err := load.Start(); err != nil {
			t.Fatal(err)
		}
		defer load.Wait()
	}
	for _, n := range hosts {
		l.Host(n).Loss(5)
	}
	time.Sleep(long) // that is the test
	for _, n := range hosts {
		l.Host(n).Loss(0)
	}
	lab.Until(t, "all is up again", func() bool { return allUp(c) })
	suspect := 0
	for line := range strings.Lines(c.Run("events", "--since", began.Format(time.RFC3339), "-o", "json")) {
		if strings.Contains(line, `"node-lost"`) || strings.Contains(line, `"service-moved"`) {
			t.Error(line)
		}
		if strings.Contains(line, `"node-suspect"`) {
			suspect++
		}
	}
	t.Logf("%s with 5 %% loss and both cores busy: suspect %d times, never lost", long, suspect)
	unmoved(t, l, before)
}
