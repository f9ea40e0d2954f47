package docker

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/otto-edge/otto"
)

// Create makes a container of an instance under the given name, with Otto's
// labels, attached to the cluster's network, not started. The error is an
// otto.ErrNameTaken if the name belongs to a container that is not this cluster's.
func (r *Runtime) Create(ctx context.Context, inst otto.Instance, name string) (id string, err error) {
	options, err := createOptions(r.owner, inst, name)
	if err != nil {
		return "", fmt.Errorf("create %s: %w", name, err)
	}
	attached := r.attaching.begin(inst)
	defer attached()
	err = r.heavy(ctx, "create "+name, func(ctx context.Context, c *client.Client) error {
		if err := r.ensureNetworks(ctx, c, inst); err != nil {
			attached()
			r.removeUnusedNetworks(ctx, c, networksOf(inst))
			return err
		}
		if err := r.ensureVolumes(ctx, c, inst.Spec.Mounts); err != nil {
			return err
		}
		if err := r.withBuilt(ctx, c, inst, options.Config); err != nil {
			return err
		}
		made, err := c.ContainerCreate(ctx, options)
		if err != nil {
			return r.nameTaken(ctx, c, name, missingBind(err))
		}
		id = made.ID
		if err := r.connectOthers(ctx, c, id, inst); err != nil {
			_, removeErr := c.ContainerRemove(ctx, id, client.ContainerRemoveOptions{RemoveVolumes: true})
			return errors.Join(err, removeErr)
		}
		for _, w := range made.Warnings {
			r.log.Warn("engine warns", "container", name, "warning", tidy(w))
		}
		return nil
	})
	return id, r.damaged(inst.Spec.Image, err)
}

// nameTaken finds out who holds a name that the engine refused with err.
func (r *Runtime) nameTaken(ctx context.Context, c *client.Client, name string, err error) error {
	if !cerrdefs.IsConflict(err) {
		return err
	}
	holder, inspectErr := c.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if inspectErr != nil || holder.Container.Config == nil || strings.TrimPrefix(holder.Container.Name, "/") != name {
		return err
	}
	config := holder.Container.Config
	if r.owns(holder.Container.ID, config.Labels) {
		return err
	}
	whose, advice := r.whose(config.Labels)
	return fmt.Errorf("container %s of image %s: %w%s: %s", name, config.Image, otto.ErrNameTaken, whose, advice)
}

// missingBind shortens what the engine says of a host path that must exist.
func missingBind(err error) error {
	if _, path, found := strings.Cut(err.Error(), "bind source path does not exist: "); found {
		return fmt.Errorf("host path %s does not exist: create it on the node", path)
	}
	return err
}

// Start starts a container; starting a running one is no error. The error is an
// otto.ErrNetworkGone if its network has been removed since it was made. One that cannot
// be started because its image is damaged is removed, unless it has ever run.
func (r *Runtime) Start(ctx context.Context, id string) error {
	err := r.heavy(ctx, "start "+short(id), func(ctx context.Context, c *client.Client) error {
		r.setRestart(ctx, c, id, true)
		_, err := c.ContainerStart(ctx, id, client.ContainerStartOptions{})
		return networkGone(err)
	})
	if !damaging(err) {
		return err
	}
	if image := r.removeUnused(ctx, id); image != "" {
		return r.damaged(image, err)
	}
	return err
}

// Stop stops a container within its own grace period, after which the engine
// kills it. A container that is stopped or gone is no error.
func (r *Runtime) Stop(ctx context.Context, id string) error {
	grace := 10 * time.Second // the engine's
	stopped := false
	err := r.call(ctx, shortCall, "stop "+short(id), func(ctx context.Context, c *client.Client) error {
		found, err := c.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if cerrdefs.IsNotFound(err) {
			stopped = true
			return nil
		}
		if err != nil {
			return err
		}
		r.setRestart(ctx, c, id, false)
		if s := found.Container.State; s != nil {
			stopped = !s.Running && !s.Restarting && !s.Paused
		}
		if cfg := found.Container.Config; cfg != nil && cfg.StopTimeout != nil {
			grace = time.Duration(*cfg.StopTimeout) * time.Second
		}
		return nil
	})
	if err != nil || stopped {
		return err
	}
	return r.call(ctx, grace+stopSlack, "stop "+short(id), func(ctx context.Context, c *client.Client) error {
		_, err := c.ContainerStop(ctx, id, client.ContainerStopOptions{})
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// Kill stops a container within grace, whatever its own grace period is. Where
// the engine does not answer, it ends the container's processes itself, which
// needs the right to. nil means that none is left.
func (r *Runtime) Kill(ctx context.Context, ctr otto.Container, grace time.Duration) error {
	seconds := int(grace / time.Second)
	err := r.call(ctx, grace+killSlack, "stop "+short(ctr.ID), func(ctx context.Context, c *client.Client) error {
		_, err := c.ContainerStop(ctx, ctr.ID, client.ContainerStopOptions{Timeout: &seconds})
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		return err
	})
	if err == nil || !r.Local() {
		return err
	}
	if killErr := killAll(ctr.ID); killErr != nil {
		return fmt.Errorf("%w; its processes: %w", err, killErr)
	}
	return nil
}

// killSlack is how long the engine may take beside the grace period.
const killSlack = 500 * time.Millisecond

// killAll kills all processes of a container and waits until none is left. They are known by
// their cgroup: the engine may not have said yet which is the first.
func killAll(id string) error {
	var err error
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		pids, lookErr := processesOf(id)
		if lookErr != nil || len(pids) == 0 {
			return lookErr
		}
		err = nil
		for _, pid := range pids {
			if killErr := endProcess(pid); killErr != nil && inContainer(pid, id) {
				err = errors.Join(err, killErr)
			}
		}
	}
	return cmp.Or(err, errors.New("killed, but they do not end"))
}

// processesOf are the processes of a container, as /proc has them.
func processesOf(id string) (pids []int, err error) {
	if _, err := os.ReadFile("/proc/1/cgroup"); err != nil {
		return nil, err // those of others are not seen, as with hidepid=2
	}
	entries, err := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && inContainer(pid, id) {
			pids = append(pids, pid)
		}
	}
	return pids, err
}

// killProcess kills a process of a container and waits until it is gone. It is known by its
// cgroup: its number alone may be another's by now.
func killProcess(ctr otto.Container) error {
	if ctr.Pid == 0 {
		return errors.New("not known")
	}
	ours := func() bool { return inContainer(ctr.Pid, ctr.ID) }
	if !ours() {
		return nil
	}
	if err := endProcess(ctr.Pid); err != nil && ours() {
		return err
	}
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if !ours() {
			return nil
		}
	}
	return errors.New("killed, but it does not end")
}

// inContainer reports whether a process is one of a container's.
func inContainer(pid int, id string) bool {
	group, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return err == nil && strings.Contains(string(group), id)
}

// endProcess kills a process that is root's.
func endProcess(pid int) error { return signalProcess(pid, unix.SIGKILL) }

// signalProcess sends a signal to a process that is root's. An agent that is not root's
// does it by sudo, where its user needs no password for that, as on most boards.
func signalProcess(pid int, signal syscall.Signal) error {
	err := unix.Kill(pid, signal)
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	out, failed := exec.CommandContext(ctx, "sudo", "-n", "kill",
		"-"+strings.TrimPrefix(unix.SignalName(signal), "SIG"), strconv.Itoa(pid)).CombinedOutput()
	if failed != nil {
		return fmt.Errorf("%w; by sudo: %w: %s", err, failed, strings.TrimSpace(string(out)))
	}
	return nil
}

// Rename gives a container another name. The error is an otto.ErrNameTaken if it
// belongs to a container that is not this cluster's. A container that is gone is no error.
func (r *Runtime) Rename(ctx context.Context, id, name string) error {
	return r.call(ctx, shortCall, "rename "+short(id)+" to "+name, func(ctx context.Context, c *client.Client) error {
		_, err := c.ContainerRename(ctx, id, client.ContainerRenameOptions{NewName: name})
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		return r.nameTaken(ctx, c, name, err)
	})
}

// Remove removes a stopped container and its anonymous volumes, never a named
// volume, and those networks of its stack that no other container is in. The anonymous ones of
// a container of Compose stay. One that is gone
// already is no error.
func (r *Runtime) Remove(ctx context.Context, id string) error {
	return r.heavy(ctx, "remove "+short(id), func(ctx context.Context, c *client.Client) error {
		found, inspectErr := c.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if inspectErr == nil && found.Container.NetworkSettings != nil {
			defer func() {
				r.removeUnusedNetworks(ctx, c, slices.Sorted(maps.Keys(found.Container.NetworkSettings.Networks)))
			}()
		}
		_, taken := r.takenNow().Container(id) // Compose would have gone on with its nameless volumes
		_, err := c.ContainerRemove(ctx, id, client.ContainerRemoveOptions{RemoveVolumes: !taken})
		r.hanging.Delete(id)
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// Bounds of what Logs returns: log lines travel in messages and on screens.
const (
	logEntry   = 32 << 10 // bytes; engines cut a line at 16 KiB
	logLineMax = 1 << 10  // bytes
)

// Logs returns the last lines of a container's output, both streams together.
// A long line is cut.
func (r *Runtime) Logs(ctx context.Context, id string, lines int) ([]string, error) {
	var out bytes.Buffer
	err := r.call(ctx, shortCall, "logs of "+short(id), func(ctx context.Context, c *client.Client) error {
		stream, err := c.ContainerLogs(ctx, id, client.ContainerLogsOptions{
			ShowStdout: true,
			ShowStderr: true,
			Tail:       strconv.Itoa(lines),
		})
		if err != nil {
			return err
		}
		defer stream.Close()
		if _, err = stdcopy.StdCopy(&out, &out, io.LimitReader(stream, int64(lines)*logEntry)); ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return lastLines(out.String(), lines), nil
}

// lastLines returns the last n lines of text as valid UTF-8, none longer than
// logLineMax.
func lastLines(text string, n int) []string {
	text = strings.TrimRight(text, "\r\n")
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	lines = lines[max(0, len(lines)-n):]
	for i, line := range lines {
		line = strings.TrimSuffix(line, "\r")
		lines[i] = strings.ToValidUTF8(line[:min(len(line), logLineMax)], "")
	}
	return lines
}

// short is an id as people know it from docker ps.
func short(id string) string { return id[:min(len(id), 12)] }
