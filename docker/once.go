package docker

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/shell"
)

// Labels of containers that are made for one run. They have none of those by which an
// agent knows its own, so that it neither counts nor changes them.
const (
	labelOnce   = "otto.once"   // id of the cluster
	labelRunner = "otto.runner" // the process that waits for it
)

// removeWithin is how long the removal of such a container may take.
const removeWithin = 30 * time.Second

func onceLabels(owner otto.Owner, inst otto.Instance, all map[string]string) map[string]string {
	all[labelOnce], all[labelRunner] = onceOf(owner), thisRunner()
	if stack, service, ok := strings.Cut(inst.Service, "/"); ok {
		all["com.docker.compose.project"], all["com.docker.compose.service"] = stack, service
		all["com.docker.compose.oneoff"] = "True"
	}
	return all
}

// onceOf says whose such a container is. A node of the same machine is another one.
func onceOf(owner otto.Owner) string {
	return cmp.Or(owner.ClusterID, owner.Cluster) + "/" + owner.Node
}

// Make makes a container of an instance for one run of a command: in the instance's
// networks, where it is not found by the service's name, with its mounts and environment,
// without its published ports and fixed addresses. The image is pulled if it has to be.
func (r *Runtime) Make(ctx context.Context, inst otto.Instance, c shell.Command) (shell.Made, error) {
	if _, err := r.Pull(ctx, inst.Spec); err != nil {
		return nil, err
	}
	inst.Once, inst.ImageID = true, ""
	inst.Spec = forOnce(inst.Spec)
	suffix := make([]byte, 4)
	_, _ = rand.Read(suffix) // it never fails
	name := strings.ReplaceAll(inst.Service, "/", "-") + "-run-" + hex.EncodeToString(suffix)
	options, err := createOptions(r.owner, inst, name)
	if err != nil {
		return nil, err
	}
	config := options.Config
	if len(c.Args) > 0 {
		config.Cmd = c.Args
	}
	config.Env = append(config.Env, c.Env...)
	config.User, config.WorkingDir = cmp.Or(c.User, config.User), cmp.Or(c.Dir, config.WorkingDir)
	config.Tty, config.OpenStdin, config.StdinOnce = c.TTY, c.In, c.In
	config.AttachStdin, config.AttachStdout, config.AttachStderr = c.In, true, true
	made := &onceContainer{process: process{runtime: r, tty: c.TTY}, size: c.Size, in: c.In}
	defer r.attaching.begin(inst)()
	err = r.heavy(ctx, "create "+name, func(ctx context.Context, c *client.Client) error {
		if err := r.ensureNetworks(ctx, c, inst); err != nil {
			return err
		}
		for _, m := range inst.Spec.Mounts { // none is made: it would be taken for the data of the service
			if err := r.needVolume(ctx, c, m); err != nil {
				return err
			}
		}
		if err := r.withBuilt(ctx, c, inst, config); err != nil {
			return err
		}
		created, err := c.ContainerCreate(ctx, options)
		if err != nil {
			return missingBind(err)
		}
		made.container = created.ID
		return r.connectOthers(ctx, c, created.ID, inst)
	})
	if err != nil {
		made.Remove()
		return nil, r.damaged(inst.Spec.Image, err)
	}
	return made, nil
}

// forOnce is a spec without what only one container can have, and without what has a
// container go on by itself.
func forOnce(spec otto.ContainerSpec) otto.ContainerSpec {
	spec.Ports, spec.Restart, spec.ContainerName = nil, "no", ""
	spec.Networks, spec.Mounts = slices.Clone(spec.Networks), slices.Clone(spec.Mounts)
	for i := range spec.Networks {
		n := &spec.Networks[i]
		n.IPv4, n.IPv6, n.LinkLocal, n.MACAddress, n.Aliases = "", "", nil, "", nil
	}
	for i := range spec.Mounts {
		if m := &spec.Mounts[i]; m.Type == otto.MountBind {
			m.MustExist = true
		}
	}
	if spec.Engine != nil {
		engine := *spec.Engine
		engine.MACAddress = ""
		spec.Engine = &engine
	}
	return spec
}

func (r *Runtime) needVolume(ctx context.Context, c *client.Client, m otto.Mount) error {
	if m.Type != otto.MountVolume || m.Source == "" || m.Seed != "" {
		return nil
	}
	_, err := c.VolumeInspect(ctx, m.Source, client.VolumeInspectOptions{})
	if cerrdefs.IsNotFound(err) {
		return fmt.Errorf("volume %s is not on this node: a run makes none; start the service, which makes its own", m.Source)
	}
	return err
}

// onceContainer implements shell.Made, and shell.Process once it runs.
type onceContainer struct {
	process
	size   shell.Size
	in     bool
	remove sync.Once
}

// Run implements shell.Made.
func (o *onceContainer) Run(ctx context.Context) (shell.Process, error) {
	id := o.container
	err := o.runtime.call(ctx, longCall, "attach to "+short(id), func(ctx context.Context, c *client.Client) error {
		attached, err := c.ContainerAttach(ctx, id, client.ContainerAttachOptions{
			Stream: true, Stdin: o.in, Stdout: true, Stderr: true,
		})
		o.stream = attached.HijackedResponse
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := o.runtime.Start(ctx, id); err != nil {
		return nil, err
	}
	if o.tty {
		firstSize(ctx, o, o.size)
	}
	return o, nil
}

// Resize implements shell.Process.
func (o *onceContainer) Resize(ctx context.Context, s shell.Size) error {
	return o.runtime.call(ctx, shortCall, "resize a terminal", func(ctx context.Context, c *client.Client) error {
		_, err := c.ContainerResize(ctx, o.container,
			client.ContainerResizeOptions{Width: uint(max(0, s.Width)), Height: uint(max(0, s.Height))})
		return err
	})
}

// Signal implements shell.Process.
func (o *onceContainer) Signal(ctx context.Context, s syscall.Signal) error {
	return o.runtime.call(ctx, shortCall, "send a signal", func(ctx context.Context, c *client.Client) error {
		_, err := c.ContainerKill(ctx, o.container, client.ContainerKillOptions{Signal: strconv.Itoa(int(s))})
		return err
	})
}

// Wait implements shell.Process.
func (o *onceContainer) Wait(ctx context.Context) (code int, err error) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		running := false
		err = o.runtime.call(ctx, shortCall, "ask for an exit code", func(ctx context.Context, c *client.Client) error {
			found, err := c.ContainerInspect(ctx, o.container, client.ContainerInspectOptions{})
			if err == nil && found.Container.State != nil {
				running, code = found.Container.State.Running, found.Container.State.ExitCode
			}
			return err
		})
		if err != nil || !running {
			return code, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// Close implements shell.Process.
func (o *onceContainer) Close() { o.Remove() }

// Remove implements shell.Made.
func (o *onceContainer) Remove() {
	o.remove.Do(func() {
		if o.stream.Conn != nil {
			o.stream.Close()
		}
		if o.container == "" {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), removeWithin)
		defer cancel()
		if err := o.runtime.removeOnce(ctx, o.container); err != nil { // the agent sees to it later
			o.runtime.log.Warn("the container of a run is still there", "container", short(o.container), "err", err)
		}
	})
}

func (r *Runtime) removeOnce(ctx context.Context, id string) error {
	return r.call(ctx, removeWithin, "remove "+short(id), func(ctx context.Context, c *client.Client) error {
		_, err := c.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if cerrdefs.IsNotFound(err) || err != nil && strings.Contains(err.Error(), "already in progress") {
			return nil
		}
		return err
	})
}

// Sweep removes the containers of runs for which nobody waits any more: the process that
// did was killed, or the machine had no power. With all it removes those that are waited
// for as well. Images of helpers go likewise.
func (r *Runtime) Sweep(ctx context.Context, all bool) error {
	var left []string
	err := r.call(ctx, shortCall, "list containers of runs", func(ctx context.Context, c *client.Client) error {
		list, err := c.ContainerList(ctx, client.ContainerListOptions{
			All:     true,
			Filters: client.Filters{}.Add("label", labelOnce+"="+onceOf(r.owner)),
		})
		left = nil
		for _, item := range list.Items {
			if all || !runnerLives(item.Labels[labelRunner]) {
				left = append(left, item.ID)
			}
		}
		return err
	})
	errs := []error{err}
	for _, id := range left {
		errs = append(errs, r.removeOnce(ctx, id))
	}
	return errors.Join(append(errs, r.sweepImages(ctx, all))...)
}

// thisRunner is this process, which no later one is taken for: its number, when it began
// and since which boot.
func thisRunner() string { return runner(os.Getpid()) }

func runner(pid int) string {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// What stands in brackets is the program's name, which may hold anything.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return strings.Join([]string{strconv.Itoa(pid), fields[19], strings.TrimSpace(string(boot))}, "/")
}

func runnerLives(of string) bool {
	number, _, _ := strings.Cut(of, "/")
	pid, err := strconv.Atoi(number)
	return err == nil && runner(pid) == of
}
