package shell

import (
	"context"
	"errors"
	"io"
	"time"
)

// ServeOnce is Serve for a container that is made for the command alone, and removed when
// that has ended or nobody waits for it any more. That takes its time if the image has to
// come first: meanwhile there are beats, and when nobody takes them no container is started.
func ServeOnce(ctx context.Context, m Maker, in io.Reader, out io.Writer) error {
	frames, to := newReceiver(in), &sender{out: out}
	q, err := readRequest(frames)
	if err == nil && q.Once == nil {
		err = errors.New("no instance to run")
	}
	var p Process
	if err == nil {
		p, err = begin(ctx, m, q, to)
	}
	if err != nil {
		return to.send(frameFailure, []byte(err.Error()))
	}
	s := &serving{process: p, frames: frames, to: to, input: newQueue()}
	return s.run(ctx)
}

func begin(ctx context.Context, m Maker, q request, to *sender) (Process, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(beatEvery)
		defer tick.Stop()
		for {
			if err := to.send(frameBeat, nil); err != nil {
				cancel(err)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	made, err := m.Make(ctx, *q.Once, q.Command)
	if err == nil && ctx.Err() != nil {
		made.Remove()
		err = context.Cause(ctx)
	}
	cancel(nil)
	<-ended
	if err != nil {
		return nil, err
	}
	p, err := made.Run(context.WithoutCancel(ctx))
	if err != nil {
		made.Remove()
	}
	return p, err
}
