package docker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent/sampler"
)

func TestRealEngine(t *testing.T) {
	r := startDockerd(t)
	for _, tc := range []struct {
		name string
		test func(*testing.T, *Runtime)
	}{
		{"a container's life", containersLife},
		{"services find each other by name", servicesFindEachOther},
		{"named volumes survive, anonymous ones do not", volumesSurvive},
		{"volumes have labels", volumesHaveLabels},
		{"foreign names and networks are left alone", foreignIsLeftAlone},
		{"host paths", hostPaths},
		{"errors are short", errorsAreShort},
		{"everything at once", everythingAtOnce},
		{"changes are noticed", changesAreNoticed},
		{"kills for want of memory", killsAreTold},
		{"commands in a container", commandsInAContainer},
		{"a person in a container", personInAContainer},
		{"an address of its own", addressOfItsOwn},
		{"several networks", severalNetworks},
		{"drift is seen and mended", driftIsSeen},
		{"a name that means another image", nameMeansAnother},
		{"a paused container stops", pausedStops},
		{"an image that is half extracted", halfExtracted},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, r) })
	}
	if err := r.RemoveNetwork(t.Context()); err != nil {
		t.Error(err)
	}
	if err := r.RemoveNetwork(t.Context()); err != nil {
		t.Errorf("the second time: %v", err)
	}
}

func instance(name string, command ...string) otto.Instance {
	return otto.Instance{Name: name, Service: name, Spec: otto.ContainerSpec{Image: testImage, Command: command}}
}

// create makes a container that is removed with the test.
func create(t *testing.T, r *Runtime, inst otto.Instance) string {
	t.Helper()
	if warning, err := r.Pull(t.Context(), inst.Spec); err != nil || warning != "" {
		t.Fatalf("pull of an image that is there: %v, %q", err, warning)
	}
	id, err := r.Create(t.Context(), inst, inst.Name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(r.Stop(ctx, id), r.Remove(ctx, id)); err != nil {
			t.Error(err)
		}
	})
	return id
}

func start(t *testing.T, r *Runtime, inst otto.Instance) string {
	t.Helper()
	id := create(t, r, inst)
	if err := r.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

func inspect(t *testing.T, r *Runtime, id string) otto.Container {
	t.Helper()
	all, err := r.Containers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(c otto.Container) bool { return c.ID == id })
	if i < 0 {
		t.Fatalf("container %s is not among %d", id, len(all))
	}
	return all[i]
}

func logsOf(t *testing.T, r *Runtime, id string, lines int) string {
	t.Helper()
	got, err := r.Logs(t.Context(), id, lines)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(got, "\n")
}

func containersLife(t *testing.T, r *Runtime) {
	inst := instance("life", "sh", "-c", "trap 'exit 7' TERM; echo one; echo two >&2; sleep 0.3; echo three; while :; do sleep 0.1; done")
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
	if c = inspect(t, r, id); c.Name != "life-old" || c.State != otto.ContainerExited || c.ExitCode != 7 || c.Finished.IsZero() {
		t.Errorf("stopped: %+v", c)
	}
	if err := r.Remove(t.Context(), "nosuchcontainer"); err != nil {
		t.Errorf("remove of what is gone: %v", err)
	}
	if err := r.Stop(t.Context(), "nosuchcontainer"); err != nil {
		t.Errorf("stop of what is gone: %v", err)
	}
}

func servicesFindEachOther(t *testing.T, r *Runtime) {
	server := instance("db-2", "sleep", "600")
	server.Service = "db"
	server.Spec.StopGrace = time.Second
	start(t, r, server)
	for _, name := range []string{"db", "db-2"} {
		asker := start(t, r, instance("asker-"+name, "nslookup", name, "127.0.0.11"))
		waitFor(t, "answer", func() bool { return inspect(t, r, asker).State != otto.ContainerRunning })
		if out := logsOf(t, r, asker, 10); !strings.Contains(out, "Address 1: 172.") && !strings.Contains(out, "Address: 172.") {
			t.Errorf("%s is not found: %s", name, out)
		}
	}
}

func volumesSurvive(t *testing.T, r *Runtime) {
	inst := instance("keeper", "touch", "/data/kept", "/scratch/lost")
	inst.Spec.Mounts = []otto.Mount{
		{Type: otto.MountVolume, Source: "data", Target: "/data"},
		{Type: otto.MountVolume, Target: "/scratch"},
	}
	id, err := r.Create(t.Context(), inst, inst.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "end", func() bool { return inspect(t, r, id).State == otto.ContainerExited })
	volumes := func() (names []string) {
		engine(t, r, func(c *client.Client) error {
			list, err := c.VolumeList(t.Context(), client.VolumeListOptions{})
			for _, v := range list.Items {
				names = append(names, v.Name)
				if v.Labels[otto.LabelCluster] != "home" || v.Labels[otto.LabelClusterID] != "c1" {
					t.Errorf("volume %s has labels %v", v.Name, v.Labels)
				}
			}
			return err
		})
		return names
	}
	if got := volumes(); len(got) != 2 {
		t.Errorf("volumes before: %v", got)
	}
	if err := r.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got := volumes(); !slices.Equal(got, []string{"data"}) {
		t.Errorf("volumes after: %v, want only data", got)
	}
	if got, err := r.Volumes(t.Context()); err != nil || !slices.Equal(got, []string{"data"}) {
		t.Errorf("it tells of %v: %v", got, err)
	}
}

func foreignIsLeftAlone(t *testing.T, r *Runtime) {
	other := newRuntime(t, r.url)
	other.owner = otto.Owner{Cluster: "elsewhere", ClusterID: "c2", Node: "n1"}
	inst := instance("mine", "sleep", "600")
	inst.Spec.NetworkMode = "none"
	create(t, other, inst)
	if _, err := r.Create(t.Context(), inst, "mine"); !errors.Is(err, otto.ErrNameTaken) || !strings.Contains(err.Error(), "container mine of image "+testImage) {
		t.Errorf("got %v, want otto.ErrNameTaken", err)
	}
	own := create(t, r, instance("own", "true"))
	if err := r.Rename(t.Context(), own, "mine"); !errors.Is(err, otto.ErrNameTaken) {
		t.Errorf("rename: got %v, want otto.ErrNameTaken", err)
	}
	if _, err := r.Create(t.Context(), instance("own", "true"), "own"); err == nil || errors.Is(err, otto.ErrNameTaken) {
		t.Errorf("a name that Otto itself has: %v", err)
	}
	if all, err := r.Containers(t.Context()); err != nil || slices.ContainsFunc(all, func(c otto.Container) bool { return c.Name == "mine" }) {
		t.Errorf("containers of another cluster are among ours: %v, %v", all, err)
	}

	namesake := newRuntime(t, r.url)
	namesake.owner.ClusterID = "c2"
	if _, err := namesake.Create(t.Context(), inst, "own"); !errors.Is(err, otto.ErrNameTaken) {
		t.Errorf("a name that a cluster of the same name has: %v", err)
	}
	if _, err := namesake.Create(t.Context(), instance("x", "true"), "x"); err == nil || !strings.Contains(err.Error(), "of another cluster, named home") {
		t.Errorf("its network: %v", err)
	}
	if all, err := namesake.Containers(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("its containers are taken for a namesake's: %v, %v", all, err)
	}
	if err := errors.Join(namesake.RemoveVolumes(t.Context()), namesake.RemoveNetwork(t.Context())); err != nil {
		t.Error(err)
	}

	engine(t, r, func(c *client.Client) error {
		_, err := c.NetworkCreate(t.Context(), "elsewhere", client.NetworkCreateOptions{Driver: "bridge"})
		return err
	})
	if _, err := other.Create(t.Context(), instance("x", "true"), "x"); err == nil || !strings.Contains(err.Error(), "a network named elsewhere is there that is not this cluster's") {
		t.Errorf("got %v", err)
	}
	if err := other.RemoveNetwork(t.Context()); err != nil {
		t.Error(err)
	}
	engine(t, r, func(c *client.Client) error { // still there
		_, err := c.NetworkRemove(t.Context(), "elsewhere", client.NetworkRemoveOptions{})
		return err
	})
}

func hostPaths(t *testing.T, r *Runtime) {
	missing := filepath.Join(t.TempDir(), "missing")
	inst := instance("paths", "touch", "/data/x")
	inst.Spec.Mounts = []otto.Mount{{Type: otto.MountBind, Source: missing, Target: "/data", MustExist: true}}
	_, err := r.Create(t.Context(), inst, inst.Name)
	if want := "create paths: host path " + missing + " does not exist: create it on the node"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	inst.Spec.Mounts[0].MustExist = false
	start(t, r, inst)
	waitFor(t, "file in the new host path", func() bool {
		_, err := os.Stat(filepath.Join(missing, "x"))
		return err == nil
	})
	disk := filepath.Join(t.TempDir(), "disk") // is there at first, and not mounted later
	inst = instance("paths-there", "touch", "/data/x")
	inst.Spec.Mounts = []otto.Mount{{Type: otto.MountBind, Source: disk, Target: "/data"}}
	inst.Present = []string{disk}
	if err := os.Mkdir(disk, 0o750); err != nil {
		t.Fatal(err)
	}
	id := start(t, r, inst)
	waitFor(t, "end of its container", func() bool { return inspect(t, r, id).State == otto.ContainerExited })
	if err := os.RemoveAll(disk); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context(), id); err == nil {
		t.Error("it starts without its directory")
	}
	if _, err := os.Stat(disk); err == nil {
		t.Error("the engine has made its directory")
	}
}

func errorsAreShort(t *testing.T, r *Runtime) {
	inst := instance("broken", "/no/such/program")
	inst.Spec.Environment = map[string]string{"PASSWORD": "hunter2"}
	id := create(t, r, inst)
	err := r.Start(t.Context(), id)
	if want := "start " + short(id) + `: exec: "/no/such/program": stat /no/such/program: no such file or directory`; err == nil || err.Error() != want {
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
	if err := r.Start(t.Context(), create(t, r, busy)); err == nil || !strings.HasSuffix(err.Error(), "port is already allocated") || strings.Contains(err.Error(), "endpoint") {
		t.Errorf("got %v", err)
	}
	if images, err := r.Images(t.Context()); err != nil || !slices.ContainsFunc(images, func(i otto.Image) bool { return i.Name == testImage && i.Bytes > 0 }) {
		t.Errorf("images %v, %v", images, err)
	}
	if _, err := r.Pull(t.Context(), otto.ContainerSpec{Image: "127.0.0.1:1/none"}); err == nil || strings.Contains(err.Error(), "daemon") {
		t.Errorf("got %v", err)
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
		if host.Memory != 64<<20 || host.NanoCPUs != 5e8 || host.RestartPolicy.MaximumRetryCount != 2 || host.LogConfig.Config["max-size"] != "10m" {
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

// nameMeansAnother gives the name of an image that a container runs to another one.
func nameMeansAnother(t *testing.T, r *Runtime) {
	const name = "otto-renamed:1"
	engine := func(what string, do func(context.Context, *client.Client) error) {
		t.Helper()
		if err := r.call(context.WithoutCancel(t.Context()), longCall, what, do); err != nil {
			t.Error(err)
		}
	}
	engine("tag", func(ctx context.Context, c *client.Client) error {
		_, err := c.ImageTag(ctx, client.ImageTagOptions{Source: testImage, Target: name})
		return err
	})
	inst := instance("renamed", "true")
	inst.Spec.Image = name
	id := create(t, r, inst)
	t.Cleanup(func() { // before its container is gone: the name is all that is removed
		engine("untag", func(ctx context.Context, c *client.Client) error {
			_, err := c.ImageRemove(ctx, name, client.ImageRemoveOptions{Force: true})
			return err
		})
	})
	before, err := r.ImageID(t.Context(), name)
	if got := inspect(t, r, id).ImageID; err != nil || before == "" || got != before {
		t.Errorf("the container runs %q, and its name means %q, %v", got, before, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	told, ended := make(chan bool, 100), make(chan error, 1)
	go func() { ended <- r.Watch(ctx, func(images bool) { told <- images }) }()
	if !<-told {
		t.Error("who begins to watch is not told to look at images")
	}
	engine("commit", func(ctx context.Context, c *client.Client) error {
		_, err := c.ContainerCommit(ctx, id, client.ContainerCommitOptions{Reference: name})
		return err
	})
	for deadline := time.After(10 * time.Second); ; {
		select {
		case images := <-told:
			if !images {
				continue
			}
		case <-deadline:
			t.Error("another image of the name is not noticed")
		}
		break
	}
	cancel()
	<-ended
	after, err := r.ImageID(t.Context(), name)
	if got := inspect(t, r, id).ImageID; err != nil || after == before || got != before {
		t.Errorf("the container runs %q, and its name means %q after %q, %v", got, after, before, err)
	}
	former := instance("back", "true")
	former.Spec.Image, former.ImageID = name, before
	if there, err := r.ImageID(t.Context(), before); err != nil || there != before {
		t.Errorf("the former image is %q, %v", there, err)
	}
	if got := inspect(t, r, create(t, r, former)); got.ImageID != before || got.Image != name || got.SpecHash != former.Spec.Hash() {
		t.Errorf("made from the former image: %+v", got)
	}
	if id, err := r.ImageID(t.Context(), "no-such-image"); id != "" || err != nil {
		t.Errorf("no image is %q, %v", id, err)
	}
}

func changesAreNoticed(t *testing.T, r *Runtime) {
	ctx, cancel := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- r.Watch(ctx, func(bool) {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	}()
	next := func(what string) {
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s is not noticed", what)
		}
	}
	next("the beginning")
	inst := instance("changing", "sh", "-c", "while :; do sleep 0.1; done")
	inst.Spec.StopGrace = time.Second
	id := start(t, r, inst)
	next("a start")
	pid := func() int {
		running, err := r.Running(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range running {
			if c.ID == id {
				return c.Pid
			}
		}
		return 0
	}
	first := pid()
	if second := pid(); first == 0 || second != first { // from memory
		t.Errorf("pids %d and %d", first, second)
	}
	if err := errors.Join(r.Stop(t.Context(), id), r.Start(t.Context(), id)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the new process", func() bool { return pid() == inspect(t, r, id).Pid })
	if pid() == first {
		t.Error("the pid is that of the former process")
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func commandsInAContainer(t *testing.T, r *Runtime) {
	inst := instance("shell", "sleep", "600")
	inst.Spec.StopGrace = time.Second
	inst.Spec.Healthcheck = &otto.Healthcheck{Test: []string{"CMD-SHELL", "echo no luck; exit 3"}, Interval: 100 * time.Millisecond, Retries: 1}
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
	if failed, err := r.Exec(t.Context(), id, []string{"/no/such/program"}); err != nil || !strings.Contains(failed, "no such file") {
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

func addressOfItsOwn(t *testing.T, r *Runtime) {
	inst := instance("addressed", "sleep", "600")
	inst.Spec.StopGrace = time.Second
	if c := inspect(t, r, start(t, r, inst)); !strings.HasPrefix(c.Address, "172.") {
		t.Errorf("address %q", c.Address)
	}
	inst.Name, inst.Spec.NetworkMode = "hosted", "host"
	if c := inspect(t, r, start(t, r, inst)); c.Address != "" {
		t.Errorf("address %q of a container without a network of its own", c.Address)
	}
}

// driftIsSeen has somebody do to a container what Otto has to notice.
func driftIsSeen(t *testing.T, r *Runtime) {
	inst := instance("drifting", "sleep", "600")
	inst.Spec.StopGrace = time.Second
	inst.Spec.Resources.MemoryBytes = 32 << 20
	inst.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "drifting", Target: "/data"}, {Type: otto.MountBind, Source: "/", Target: "/host", ReadOnly: true}}
	id := start(t, r, inst)
	was := inspect(t, r, id)
	for aspect, want := range map[string]string{
		"network " + r.owner.Cluster: "drifting",
		"mount /data":                "volume drifting",
		"mount /host":                "bind /, read-only",
		"restart policy":             "no",
		"CPU limit":                  "none",
	} {
		if was.Setup[aspect] != want {
			t.Errorf("%s is %q, want %q", aspect, was.Setup[aspect], want)
		}
	}
	var disconnected, attached, updated map[string]string
	engine(t, r, func(c *client.Client) error {
		_, err := c.NetworkDisconnect(t.Context(), r.owner.Cluster, client.NetworkDisconnectOptions{Container: id})
		return err
	})
	now := inspect(t, r, id)
	if disconnected = now.Setup; now.Address != "" {
		t.Errorf("address %q of a container in no network", now.Address)
	}
	if err := r.Attach(t.Context(), inst, id); err != nil {
		t.Fatal(err)
	}
	now = inspect(t, r, id)
	if attached = now.Setup; now.Address == "" || !now.Started.Equal(was.Started) {
		t.Errorf("address %q, started %s, before %s", now.Address, now.Started, was.Started)
	}
	if err := r.Attach(t.Context(), inst, id); err != nil {
		t.Errorf("one that is there: %v", err)
	}
	engine(t, r, func(c *client.Client) error {
		policy := container.RestartPolicy{Name: container.RestartPolicyAlways}
		_, err := c.ContainerUpdate(t.Context(), id, client.ContainerUpdateOptions{RestartPolicy: &policy})
		return err
	})
	updated = inspect(t, r, id).Setup
	if diff := cmp.Diff(was.Setup, attached); diff != "" {
		t.Error("attached again:", diff)
	}
	if _, there := disconnected["network "+r.owner.Cluster]; there || updated["restart policy"] != "always" {
		t.Errorf("not seen: %v, %v", disconnected, updated)
	}

	// Its network is removed and made anew while it is stopped: it has the name, and
	// the container the id of the former one.
	if err := r.Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if stopped := inspect(t, r, id).Setup; stopped["network "+r.owner.Cluster] != "drifting" {
		t.Errorf("stopped: %v", stopped)
	}
	engine(t, r, func(c *client.Client) error {
		_, err := c.NetworkRemove(t.Context(), r.owner.Cluster, client.NetworkRemoveOptions{})
		return err
	})
	if err := r.Start(t.Context(), id); !errors.Is(err, otto.ErrNetworkGone) {
		t.Fatalf("without its network: %v", err)
	}
	if err := errors.Join(r.Attach(t.Context(), inst, id), r.Start(t.Context(), id)); err != nil {
		t.Fatal(err)
	}
	if now := inspect(t, r, id); now.Address == "" || now.Setup["network "+r.owner.Cluster] != "drifting" {
		t.Errorf("address %q, %v", now.Address, now.Setup)
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

// severalNetworks has a container in two networks, found by its aliases, links and names
// in each, and one that shares only one of them.
func severalNetworks(t *testing.T, r *Runtime) {
	back := otto.Network{Name: "shop_back", Internal: true, IPAM: &otto.IPAM{Pools: []otto.IPPool{{Subnet: "172.29.77.0/24"}}}}
	db := instance("shop/db", "sleep", "60")
	db.Spec.Networks = []otto.Network{back, {Name: "shop_front"}}
	db.Spec.Networks[0].Aliases, db.Spec.Networks[0].IPv4 = []string{"sql"}, "172.29.77.5"
	db.Spec.StopAtOnce = true
	db.Spec.Engine = &otto.Options{Hostname: "database", Init: new(true), ShmBytes: 8 << 20, SecurityOpt: []string{"no-new-privileges:true"}}
	if _, err := r.Pull(t.Context(), db.Spec); err != nil {
		t.Fatal(err)
	}
	id, err := r.Create(t.Context(), db, db.ContainerName())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(r.Stop(ctx, id), r.Remove(ctx, id)); err != nil {
			t.Error(err)
		}
	})
	if c := inspect(t, r, id); c.SpecHash != db.Spec.Hash() {
		t.Errorf("with all its networks it is not what is wanted: %q", c.SpecHash)
	}
	if err := r.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for network, names := range map[string][]string{"shop_back": {"db", "sql", "shop-db-1", "store"}, "shop_front": {"db", "shop-db-1"}} {
		asks := instance("asks", "sh", "-c", "for n in "+strings.Join(names, " ")+"; do nslookup $n 127.0.0.11 2>&1 | grep -q 'Address.*: 1[79][0-9][.]' || echo no $n; done; echo done")
		asks.Spec.Networks, asks.Spec.Links, asks.Spec.Restart = []otto.Network{{Name: network}}, []string{"shop-db-1:store"}, "no"
		if network == "shop_back" {
			asks.Spec.Networks = []otto.Network{back}
		}
		t.Run(network, func(t *testing.T) {
			asked := start(t, r, asks)
			waitFor(t, "an answer", func() bool { return strings.HasSuffix(logsOf(t, r, asked, 20), "done") })
			if got := logsOf(t, r, asked, 20); got != "done" {
				t.Errorf("in %s: %s", network, got)
			}
		})
	}
}
