package docker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

// Exec runs a command in a running container until ctx ends at the latest. What
// it returns as failed says why the command did not succeed; err that the engine
// could not tell, which says nothing about the container.
//
// The engine's API cannot end a command. One that outlasts ctx is killed here
// where this process may, and else nothing more is run in that container until
// it has ended: a probe that hangs must not fill its container with processes.
func (r *Runtime) Exec(ctx context.Context, id string, command []string) (failed string, err error) {
	err = r.call(ctx, longCall, "exec in "+short(id), func(ctx context.Context, c *client.Client) error {
		if former, there := r.hanging.Load(id); there {
			state, err := c.ExecInspect(ctx, former.(string), client.ExecInspectOptions{})
			if err == nil && state.Running && !r.kill(id, state.PID) {
				failed = "the command before it has not ended yet"
				return nil
			}
			r.hanging.Delete(id)
		}
		made, err := c.ExecCreate(ctx, id, client.ExecCreateOptions{Cmd: command, AttachStdout: true, AttachStderr: true})
		if err != nil {
			return err
		}
		var out tailWriter
		err = attach(ctx, c, made.ID, &out)
		var state client.ExecInspectResult
		if err == nil {
			state, err = ended(ctx, c, made.ID)
		}
		if ctx.Err() != nil {
			failed = "it did not end in time"
			return r.abandon(ctx, c, id, made.ID)
		}
		if err == nil && state.ExitCode != 0 {
			failed = fmt.Sprintf("exit code %d", state.ExitCode)
			if last := lastLines(string(out), 1); len(last) > 0 {
				failed += ": " + tidy(last[0])
			}
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return failed, nil
}

// attach starts a command and reads its output until it ends or ctx does.
func attach(ctx context.Context, c *client.Client, exec string, out *tailWriter) error {
	stream, err := c.ExecAttach(ctx, exec, client.ExecAttachOptions{})
	if err != nil {
		return err
	}
	defer stream.Close()
	stop := context.AfterFunc(ctx, func() { _ = stream.Conn.Close() })
	defer stop()
	_, err = stdcopy.StdCopy(out, out, stream.Reader)
	return err
}

// ended waits for a command whose output is over: the engine learns of its end a
// moment later, or much later if the command has closed its output itself.
func ended(ctx context.Context, c *client.Client, exec string) (client.ExecInspectResult, error) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		state, err := c.ExecInspect(ctx, exec, client.ExecInspectOptions{})
		if err != nil || !state.Running {
			return state, err
		}
		select {
		case <-ctx.Done():
			return state, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// abandonWithin is how long a command whose time is over is seen to.
const abandonWithin = time.Second

// abandon kills a command whose time is over, or remembers it. The error is of
// an engine that does not answer, or says that the caller has given up.
func (r *Runtime) abandon(ctx context.Context, c *client.Client, id, exec string) error {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonWithin)
	defer cancel()
	state, err := c.ExecInspect(within, exec, client.ExecInspectOptions{})
	if err != nil {
		return err
	}
	if state.Running && !r.kill(id, state.PID) {
		r.hanging.Store(id, exec)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return nil
}

// kill reports whether a process of a container could be killed here.
func (r *Runtime) kill(id string, pid int) bool {
	return r.Local() && killProcess(otto.Container{ID: id, Pid: pid}) == nil
}

// tailWriter keeps the end of what is written to it.
type tailWriter []byte

// Write implements io.Writer.
func (t *tailWriter) Write(b []byte) (int, error) {
	*t = append(*t, b[max(0, len(b)-execOutput):]...)
	*t = (*t)[max(0, len(*t)-execOutput):]
	return len(b), nil
}

// execOutput is how much of a command's output is kept, in bytes.
const execOutput = 256
