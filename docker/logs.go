package docker

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto/logs"
)

// ReadLog calls take with each line of a container's log, until that ends or take
// returns an error. The log of a container that runs ends only when it stops, if
// it is followed; that the engine has died is noticed by Watch.
func (r *Runtime) ReadLog(ctx context.Context, id string, w logs.Window, take func(logs.Line) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var tty, none bool
	err := r.call(ctx, shortCall, "log of "+short(id), func(ctx context.Context, c *client.Client) error {
		found, err := c.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if err != nil {
			return err
		}
		tty = found.Container.Config != nil && found.Container.Config.Tty
		none = found.Container.HostConfig != nil && found.Container.HostConfig.LogConfig.Type == "none"
		return nil
	})
	switch {
	case cerrdefs.IsNotFound(err):
		return nil // it was removed
	case err != nil:
		return err
	case none:
		return errors.New("its log is kept nowhere: its logging has the driver none")
	}
	connectCtx, connected := context.WithTimeout(ctx, shortCall)
	defer connected()
	c, err := r.connect(connectCtx)
	if err != nil {
		return r.explain(err)
	}
	silent := time.AfterFunc(shortCall, func() { cancel(context.DeadlineExceeded) })
	defer silent.Stop()
	stream, err := c.ContainerLogs(ctx, id, logOptions(w))
	if err == nil {
		defer stream.Close()
		if w.Follow {
			silent.Stop()
		}
		err = eachLine(logs.NewScanner(&lively{stream, silent, w.Follow}, tty), take)
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil && !cerrdefs.IsNotFound(err) {
		return r.explain(err)
	}
	return nil
}

func eachLine(s *logs.Scanner, take func(logs.Line) error) error {
	for {
		l, err := s.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = take(l)
		}
		if err != nil {
			return err
		}
	}
}

// lively is a stream that an engine must go on with, if it is not followed.
type lively struct {
	io.Reader
	silent *time.Timer
	follow bool
}

// Read implements io.Reader.
func (l *lively) Read(p []byte) (int, error) {
	if l.follow {
		return l.Reader.Read(p)
	}
	l.silent.Reset(shortCall)
	defer l.silent.Stop() // nobody knows for how long the reader waits for whom it reads
	return l.Reader.Read(p)
}

func logOptions(w logs.Window) client.ContainerLogsOptions {
	o := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: w.Follow}
	if w.Tail != nil {
		o.Tail = strconv.Itoa(*w.Tail)
	}
	if !w.Since.IsZero() {
		o.Since = w.Since.UTC().Format(time.RFC3339Nano)
	}
	if !w.Until.IsZero() {
		o.Until = w.Until.UTC().Format(time.RFC3339Nano)
	}
	return o
}
