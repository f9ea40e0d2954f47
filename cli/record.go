package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/recording"
	"github.com/otto-edge/otto/control/replay"
)

func newRecord(a *app) *cobra.Command {
	var lasts time.Duration
	c := &cobra.Command{
		Use:   "record FILE",
		Short: "Keep what is measured in a file, to run decisions on it later",
		Long: `Record asks the control plane every five seconds for what nodes and services take
and where services are, and keeps it in a compressed file, until the time is over,
the file is as large as it may be, or Ctrl-C. For otto simulate --from.

Names, images, labels and requirements are in the file; environments and commands
are not. A recording that is cut off has all but its last minute.`,
		Example: `  otto record week.otto-recording --for 168h
  otto simulate --from week.otto-recording --policy all`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%w: %s needs one file: %s", errUsage, c.CommandPath(), c.UseLine())
			}
			if lasts < 2*otto.DefaultInterval || lasts > maxRecorded {
				return fmt.Errorf("%w: --for %s: write a time from 10s to 168h", errUsage, lasts)
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			return a.record(c.Context(), d.client(), args[0], lasts)
		},
	}
	c.Flags().DurationVar(&lasts, "for", time.Hour, "how long, a week at most")
	return c
}

const (
	maxRecorded  = 7 * 24 * time.Hour
	maxRecording = 256 << 20 // bytes of a file
)

// viewer is the control plane as far as it can be looked at.
type viewer interface {
	Cluster(ctx context.Context) (*otto.Cluster, error)
}

func (a *app) record(ctx context.Context, control viewer, name string, lasts time.Duration) (err error) {
	c, err := control.Cluster(ctx)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: give another name", name)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	to := &counted{Writer: f}
	w, err := recording.NewWriter(to, otto.DefaultInterval, replay.WantedOf(c))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lasts)
	defer cancel()
	frames, err := a.frames(ctx, control, w, to)
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintf(a.out, "%s has %d frames, %d KiB\n", name, frames, to.n>>10)
	return nil
}

// frames records until ctx ends or the file is full. What cannot be had for a while,
// as the control plane is started anew, is left out.
func (a *app) frames(ctx context.Context, control viewer, w *recording.Writer, to *counted) (n int, err error) {
	tick := time.NewTicker(otto.DefaultInterval)
	defer tick.Stop()
	for to.n < maxRecording {
		c, err := control.Cluster(ctx)
		switch {
		case ctx.Err() != nil:
			return n, nil
		case err != nil:
			fmt.Fprintf(a.err, "otto: nothing recorded now: %v\n", err)
		default:
			if err := w.Add(replay.FrameOf(c)); err != nil {
				return n, err
			}
			n++
		}
		select {
		case <-ctx.Done():
			return n, nil
		case <-tick.C:
		}
	}
	fmt.Fprintln(a.err, "otto: the recording is as large as it may be")
	return n, nil
}

// counted counts what is written.
type counted struct {
	io.Writer
	n int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n += int64(n)
	return n, err
}
