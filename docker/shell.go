package docker

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto/shell"
)

// Run starts a command in a running container, for somebody who is there.
func (r *Runtime) Run(ctx context.Context, id string, c shell.Command) (shell.Process, error) {
	var size client.ConsoleSize
	if c.TTY {
		size = client.ConsoleSize{Width: uint(max(0, c.Size.Width)), Height: uint(max(0, c.Size.Height))}
	}
	p := &process{runtime: r, container: id, tty: c.TTY}
	err := r.call(ctx, longCall, "start a command in "+short(id), func(ctx context.Context, api *client.Client) error {
		made, err := api.ExecCreate(ctx, id, client.ExecCreateOptions{
			User: c.User, TTY: c.TTY, ConsoleSize: size, AttachStdin: c.In, AttachStdout: true, AttachStderr: true,
			Env: c.Env, WorkingDir: c.Dir, Cmd: c.Args,
		})
		if err != nil {
			return err
		}
		p.id = made.ID
		attached, err := api.ExecAttach(ctx, made.ID, client.ExecAttachOptions{TTY: c.TTY, ConsoleSize: size})
		p.stream = attached.HijackedResponse
		return err
	})
	if err != nil {
		return nil, err
	}
	if c.TTY {
		firstSize(ctx, p, c.Size)
	}
	return p, nil
}

// firstSize sets the size of a new terminal: engines before API 1.42 do not take it
// with the command, and take it only when the command has begun.
func firstSize(ctx context.Context, p shell.Process, s shell.Size) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for ctx.Err() == nil && p.Resize(ctx, s) != nil {
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// process implements shell.Process.
type process struct {
	runtime       *Runtime
	container, id string
	tty           bool
	stream        client.HijackedResponse
}

func (p *process) Output(stdout, stderr io.Writer) (err error) {
	if p.tty {
		_, err = io.Copy(stdout, p.stream.Reader)
	} else {
		_, err = stdcopy.StdCopy(stdout, stderr, p.stream.Reader)
	}
	return err
}

func (p *process) Write(b []byte) (int, error) { return p.stream.Conn.Write(b) }

func (p *process) CloseWrite() error { return p.stream.CloseWrite() }

func (p *process) Resize(ctx context.Context, s shell.Size) error {
	return p.runtime.call(ctx, shortCall, "resize a terminal", func(ctx context.Context, c *client.Client) error {
		_, err := c.ExecResize(ctx, p.id,
			client.ExecResizeOptions{Width: uint(max(0, s.Width)), Height: uint(max(0, s.Height))})
		return err
	})
}

// Signal sends a signal to the command, which the engine's API cannot do: it is done
// here, where this process may.
func (p *process) Signal(ctx context.Context, s syscall.Signal) error {
	if !p.runtime.Local() {
		return errors.New("its engine is on another machine")
	}
	return p.runtime.call(ctx, shortCall, "send a signal", func(ctx context.Context, c *client.Client) error {
		state, err := begun(ctx, c, p.id)
		if err != nil || !state.Running {
			return err
		}
		if !inContainer(state.PID, p.container) {
			return nil // it has just ended
		}
		return signalProcess(state.PID, s)
	})
}

// begun waits for a moment for the engine to know the process of a command, which may
// have written something already.
func begun(ctx context.Context, c *client.Client, exec string) (state client.ExecInspectResult, err error) {
	for end := time.Now().Add(time.Second); ; time.Sleep(10 * time.Millisecond) {
		state, err = c.ExecInspect(ctx, exec, client.ExecInspectOptions{})
		if err != nil || state.PID != 0 || time.Now().After(end) {
			return state, err
		}
	}
}

func (p *process) Wait(ctx context.Context) (code int, err error) {
	err = p.runtime.call(ctx, shortCall, "ask for an exit code", func(ctx context.Context, c *client.Client) error {
		state, err := ended(ctx, c, p.id)
		code = state.ExitCode
		return err
	})
	return code, err
}

func (p *process) Close() { p.stream.Close() }
