package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"

	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/retry"
)

// readyFD is the file descriptor on which a control plane in the background says
// "ready", or why it cannot start.
const readyFD = 3

// startWithin is how long a control plane may take until it answers.
const startWithin = 30 * time.Second

// maxLog is how large control.log may grow before it is put aside, in bytes.
const maxLog = 5 << 20

// newControlPlane is what start runs in the background: a supervisor, and under
// it the control plane, which it starts again when it is killed.
func newControlPlane(a *app) *cobra.Command {
	var worker bool
	c := &cobra.Command{
		Use: "control-plane", Hidden: true, Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !worker {
				return a.supervise(c.Context())
			}
			return a.work(c.Context())
		},
	}
	c.Flags().BoolVar(&worker, "worker", false, "")
	return c
}

// spawn starts a control plane in the background and returns when it answers.
func (a *app) spawn(ctx context.Context, d stateDir, settings controlFile) error {
	unlock, err := d.lockControlPlane() // else the settings are those of one that runs
	if err != nil {
		return err
	}
	err = d.write(fileControl, settings)
	unlock()
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := openLog(d)
	if err != nil {
		return err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(exe, "control-plane", "--config", a.config) //nolint:noctx // it outlives this command
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := errors.Join(cmd.Start(), w.Close()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { r.Close() })
	defer stop()
	answer, err := io.ReadAll(r)
	switch text := strings.TrimSpace(string(answer)); {
	case text == "ready":
		return cmd.Process.Release()
	case text == errControlPlaneRuns.Error():
		_ = cmd.Wait()
		return errControlPlaneRuns
	case text != "":
		return errors.New(text)
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("the control plane does not answer within %s: see %s", startWithin, d.path(fileLog))
	}
	return fmt.Errorf("the control plane ended at its start: see %s", d.path(fileLog))
}

func openLog(d stateDir) (*os.File, error) {
	path := d.path(fileLog)
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
}

// supervise runs the control plane and starts it again when it dies. One that
// cannot start, or that ends by itself, is not started again, but for want of
// space on its disk.
func (a *app) supervise(ctx context.Context) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	ready := os.NewFile(readyFD, "ready")
	d, err := a.dir()
	if err != nil {
		return err
	}
	unlock, err := d.lockControlPlane()
	if err != nil {
		_, _ = ready.WriteString(err.Error())
		return err
	}
	defer unlock()
	for delay := retry.Steadily(100*time.Millisecond, 5*time.Second); ; {
		began := time.Now()
		cmd := exec.CommandContext(ctx, exe, "control-plane", "--worker", "--config", a.config)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.ExtraFiles = []*os.File{ready}
		if err := cmd.Start(); err != nil {
			return err
		}
		if ready != nil {
			ready.Close()
			ready = nil
		}
		err := cmd.Wait()
		var exit *exec.ExitError
		byItself := errors.As(err, &exit) && exit.Exited() && exit.ExitCode() != exitAgain
		if err == nil || ctx.Err() != nil || byItself && time.Since(began) < startWithin {
			return err
		}
		fmt.Fprintf(os.Stderr, "control plane ended (%v); starting it again\n", err)
		if time.Since(began) > time.Minute {
			delay.Reset()
		}
		select {
		case <-time.After(delay.NextBackOff()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// work is the control plane of a supervisor.
func (a *app) work(ctx context.Context) error {
	d, err := a.dir()
	if err != nil {
		return err
	}
	var settings controlFile
	if err := d.read(fileControl, &settings); err != nil {
		return err
	}
	answer := os.NewFile(readyFD, "ready")
	say := func(text string) (heard bool) {
		if answer != nil {
			_, err := answer.WriteString(text) // nobody listens after the first start
			answer.Close()
			answer, heard = nil, err == nil
		}
		return heard
	}
	log := slog.New(
		slog.NewJSONHandler(newLogFile(os.Stderr, d.path(fileLog), maxLog),
			&slog.HandlerOptions{Level: settings.LogLevel}),
	)
	full := d.spare() != nil // there may be space again by the time that the start has failed for want of it
	self, err := newSelf(d, true)
	if err == nil {
		err = runControlPlane(ctx, self, log, func() { _ = say("ready") })
	}
	if err != nil && !say(err.Error()) && (full || d.spare() != nil) {
		return errors.Join(err, errAgain)
	}
	return err
}

// startForeground is start with the control plane in this process.
func (a *app) startForeground(ctx context.Context, d stateDir, want controlFile, f *config.File,
	timeout time.Duration,
) error {
	if _, err := d.client().Cluster(ctx); err == nil {
		return errors.New("the control plane runs in the background already: run `otto cluster stop` first")
	}
	unlock, err := d.lockControlPlane()
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.write(fileControl, want); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log := slog.New(tint.NewTextHandler(a.err, &tint.Options{Level: want.LogLevel, NoColor: !isTerminal(a.err)}))
	self, err := newSelf(d, false)
	if err != nil {
		return err
	}
	applied := make(chan error, 1)
	err = runControlPlane(ctx, self, log, func() {
		go func() {
			err := a.ensureRecoveryKey(d, want)
			if err == nil {
				err = a.apply(ctx, d.client(), f, startOptions{timeout: timeout})
			}
			if err != nil && !errors.Is(err, errPart) {
				cancel()
			}
			applied <- err
		}()
	})
	if err != nil {
		return err
	}
	select {
	case err := <-applied:
		if !errors.Is(err, context.Canceled) {
			return err
		}
	default:
	}
	return nil
}
