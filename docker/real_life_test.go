package docker

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent/sampler"
)

func containersLife(t *testing.T, r *Runtime) {
	inst := instance("life", "sh", "-c",
		"trap 'exit 7' TERM; echo one; echo two >&2; sleep 0.3; echo three; while :; do sleep 0.1; done")
	inst.Service = "lives"
	inst.Spec.StopGrace = 5 * time.Second
	inst.Spec.Healthcheck = &otto.Healthcheck{Test: []string{"CMD", "true"}, Interval: 100 * time.Millisecond}
	id := create(t, r, inst)
	c := inspect(t, r, id)
	if c.Name != "life" || c.Instance != "life" || c.Service != "lives" || c.SpecHash != inst.Spec.Hash() ||
		c.Image != testImage || c.State != otto.ContainerCreated || !c.Started.IsZero() {
		t.Errorf("created: %+v", c)
	}
	if err := r.Stop(t.Context(), id); err != nil {
		t.Errorf("stop before the start: %v", err)
	}
	for range 2 {
		if err := r.Start(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "healthy", func() bool { return inspect(t, r, id).Health == "healthy" })
	if c = inspect(t, r, id); c.State != otto.ContainerRunning || c.Pid == 0 || time.Since(c.Started) > time.Minute {
		t.Errorf("started: %+v", c)
	}
	running, err := r.Running(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := (otto.RunningContainer{ID: id, Name: "life", Pid: c.Pid}); !slices.Contains(running, want) {
		t.Errorf("running: %+v, want %+v among them", running, want)
	}
	waitFor(t, "three lines", func() bool { return strings.Contains(logsOf(t, r, id, 10), "three") })
	if got := logsOf(t, r, id, 1); got != "three" {
		t.Errorf("last line %q", got)
	}
	if err := r.Rename(t.Context(), id, "life-old"); err != nil {
		t.Error(err)
	}
	if err := r.Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if c = inspect(t, r, id); c.Name != "life-old" || c.State != otto.ContainerExited || c.ExitCode != 7 ||
		c.Finished.IsZero() {
		t.Errorf("stopped: %+v", c)
	}
	if err := r.Remove(t.Context(), "nosuchcontainer"); err != nil {
		t.Errorf("remove of what is gone: %v", err)
	}
	if err := r.Stop(t.Context(), "nosuchcontainer"); err != nil {
		t.Errorf("stop of what is gone: %v", err)
	}
}

// everythingAtOnce shows that the engine takes each field, and that it arrives.
func everythingAtOnce(t *testing.T, r *Runtime) {
	inst := instance("all", "-c", "id; pwd; env; cat /etc/hosts; touch /run/x /shm/x; touch /x; echo $?")
	inst.Spec.Entrypoint = []string{"sh"}
	inst.Spec.Environment = map[string]string{"NGINX_HOST": "example.com"}
	inst.Spec.Ports = []otto.Port{{Container: 80, Protocol: "tcp"}, {Host: 5353, Container: 53, Protocol: "udp"}}
	inst.Spec.Mounts = []otto.Mount{{Type: otto.MountTmpfs, Target: "/shm", SizeBytes: 1 << 20, Mode: 0o1777}}
	inst.Spec.Tmpfs = []string{"/run:size=64k,mode=1777"}
	inst.Spec.Resources = otto.Resources{CPU: 0.5, MemoryBytes: 64 << 20}
	inst.Spec.Restart = "on-failure:2"
	inst.Spec.User = "1000:1000"
	inst.Spec.WorkingDir = "/bin"
	inst.Spec.StopSignal = "SIGINT"
	inst.Spec.Devices = []otto.Device{{Host: "/dev/null", Container: "/dev/nothing", Permissions: "rw"}}
	inst.Spec.CapAdd = []string{"NET_ADMIN"}
	inst.Spec.CapDrop = []string{"MKNOD"}
	inst.Spec.ReadOnly = true
	inst.Spec.ExtraHosts = []string{"nas:10.0.0.2"}
	id := start(t, r, inst)
	waitFor(t, "end", func() bool { return inspect(t, r, id).State == otto.ContainerExited })
	out := logsOf(t, r, id, 100)
	for _, want := range []string{"uid=1000 gid=1000", "/bin", "NGINX_HOST=example.com", "10.0.0.2\tnas", "/x: Read-only file system"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in the output:\n%s", want, out)
		}
	}
	engine(t, r, func(c *client.Client) error {
		got, err := c.ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
		host := got.Container.HostConfig
		if host.Memory != 64<<20 || host.NanoCPUs != 5e8 || host.RestartPolicy.MaximumRetryCount != 2 ||
			host.LogConfig.Config["max-size"] != "10m" {
			t.Errorf("host config %+v", host)
		}
		return err
	})
}

// killsAreTold has a process killed in a container that goes on, and one that is
// started again at once.
func killsAreTold(t *testing.T, r *Runtime) {
	ctx, cancel := context.WithCancel(t.Context())
	watching, ended := make(chan struct{}, 100), make(chan error, 1)
	go func() { ended <- r.Watch(ctx, func(bool) { watching <- struct{}{} }) }()
	defer func() { cancel(); <-ended }()
	<-watching
	const eat = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"
	inst := instance("eats", "sh", "-c", "sleep 0.5; (echo 1000 > /proc/self/oom_score_adj; "+eat+"); sleep 600")
	inst.Spec.Resources.MemoryBytes = 16 << 20
	inst.Spec.StopGrace = time.Second
	goesOn := start(t, r, inst)
	inst = instance("dies", "sh", "-c", "exec sh -c '"+eat+"'")
	inst.Spec.Resources.MemoryBytes = 16 << 20
	inst.Spec.StopGrace = time.Second
	inst.Spec.Restart = "always"
	dies := start(t, r, inst)
	s := sampler.New(sampler.Options{})
	defer s.Close()
	waitFor(t, "a kill in the cgroup", func() bool {
		running, err := r.Running(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		list := s.Containers(time.Now(), running)
		return slices.ContainsFunc(list, func(s otto.ContainerSample) bool { return s.ID == goesOn && s.OOMKills == 1 })
	})
	waitFor(t, "the engine to tell of it", func() bool { return inspect(t, r, goesOn).OOMKills > 0 })
	if c := inspect(t, r, goesOn); c.State != otto.ContainerRunning || c.OOMKills != 1 {
		t.Errorf("one process of it was killed: %+v", c)
	}
	waitFor(t, "two kills of one that is started again", func() bool { return inspect(t, r, dies).OOMKills >= 2 })
	if c := inspect(t, r, dies); c.Restarts == 0 {
		t.Errorf("killed, and not started again: %+v", c)
	}
}

// pausedStops: a lease may end while somebody has paused a container.
func pausedStops(t *testing.T, r *Runtime) {
	inst := instance("paused", "sleep", "600")
	inst.Spec.StopGrace = time.Second
	id := start(t, r, inst)
	pause := func() {
		engine(t, r, func(c *client.Client) error {
			_, err := c.ContainerPause(t.Context(), id, client.ContainerPauseOptions{})
			return err
		})
		if c := inspect(t, r, id); c.State != otto.ContainerPaused {
			t.Fatalf("it is %s", c.State)
		}
	}
	pause()
	if failed, err := r.Exec(t.Context(), id, []string{"true"}); err == nil {
		t.Errorf("a command in it: %q, and no error", failed)
	}
	if err := r.Stop(t.Context(), id); err != nil {
		t.Error(err)
	}
	if err := r.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	pause()
	if err := r.Kill(t.Context(), inspect(t, r, id), time.Second); err != nil {
		t.Error(err)
	}
	if c := inspect(t, r, id); c.State != otto.ContainerExited {
		t.Errorf("killed, and %s", c.State)
	}
}

func commandsInAContainer(t *testing.T, r *Runtime) {
	inst := instance("shell", "sleep", "600")
	inst.Spec.StopGrace = time.Second
	inst.Spec.Healthcheck = &otto.Healthcheck{
		Test:     []string{"CMD-SHELL", "echo no luck; exit 3"},
		Interval: 100 * time.Millisecond,
		Retries:  1,
	}
	id := start(t, r, inst)
	for command, want := range map[string]string{
		"true":                     "",
		"echo fine >&2; echo more": "",
		"yes | head -c 1000000; echo the end; exit 4": "exit code 4: the end",
		"exec >&- 2>&-; sleep 0.3; exit 5":            "exit code 5",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if failed, err := r.Exec(ctx, id, []string{"sh", "-c", command}); err != nil || failed != want {
			t.Errorf("%s: %q, %v, want %q", command, failed, err, want)
		}
		cancel()
	}
	if failed, err := r.Exec(t.Context(), id, []string{"/no/such/program"}); err != nil ||
		!strings.Contains(failed, "no such file") {
		t.Errorf("a program that is not there: %q, %v", failed, err)
	}
	waitFor(t, "unhealthy", func() bool { return inspect(t, r, id).Health == "unhealthy" })
	if got, want := inspect(t, r, id).Ailment, "its health check fails: exit code 3: no luck"; got != want {
		t.Errorf("unhealthy because %q, want %q", got, want)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if failed, err := r.Exec(ctx, id, []string{"sleep", "601"}); err != nil || failed != "it did not end in time" {
		t.Errorf("a command that hangs: %q, %v", failed, err)
	}
	waitFor(t, "the command has ended", func() bool {
		failed, err := r.Exec(t.Context(), id, []string{"sh", "-c", "! pgrep -f 'sleep 601'"})
		return err == nil && failed == ""
	})
	if err := r.Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if failed, err := r.Exec(t.Context(), id, []string{"true"}); err == nil {
		t.Errorf("in a stopped container: %q", failed)
	}
}

func errorsAreShort(t *testing.T, r *Runtime) {
	inst := instance("broken", "/no/such/program")
	inst.Spec.Environment = map[string]string{"PASSWORD": "hunter2"}
	id := create(t, r, inst)
	err := r.Start(t.Context(), id)
	if want := "start " + short(
		id,
	) + `: exec: "/no/such/program": stat /no/such/program: no such file or directory`; err == nil ||
		err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if c := inspect(t, r, id); c.Error == "" || strings.Contains(c.Error, "OCI") || containsSecret(c.Error) {
		t.Errorf("container's error %q", c.Error)
	}
	busy := instance("busy", "sleep", "600")
	busy.Spec.Ports = []otto.Port{{HostIP: "127.0.0.1", Host: 8080, Container: 80, Protocol: "tcp"}}
	busy.Spec.StopGrace = time.Second
	start(t, r, busy)
	busy.Name = "busy-2"
	if err := r.Start(t.Context(),
		create(t, r, busy)); err == nil || !strings.HasSuffix(err.Error(), "port is already allocated") ||
		strings.Contains(err.Error(), "endpoint") {
		t.Errorf("got %v", err)
	}
	if images, err := r.Images(t.Context()); err != nil ||
		!slices.ContainsFunc(images, func(i otto.Image) bool { return i.Name == testImage && i.Bytes > 0 }) {
		t.Errorf("images %v, %v", images, err)
	}
	if _, err := r.Pull(t.Context(), otto.ContainerSpec{Image: "127.0.0.1:1/none"}); err == nil ||
		strings.Contains(err.Error(), "daemon") {
		t.Errorf("got %v", err)
	}
}
