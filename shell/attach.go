package shell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrLost says that nothing is heard of the node any more.
var ErrLost = errors.New("the connection was lost: what the command does now is not known")

// interrupted is how long a command may take to end by an interrupt.
const interrupted = 5 * time.Second

// Ends are what a command is connected with here.
type Ends struct {
	In       io.Reader // nil for none
	Out, Err io.Writer
	Sizes    <-chan Size // of the terminal, when it changes; nil for none
}

// Attach connects the ends with a command on a node until it ends, and returns its exit
// code. When ctx ends the command gets an interrupt, and some seconds to end. The
// connection is closed.
func Attach(ctx context.Context, conn io.ReadWriteCloser, e Ends) (code int, err error) {
	a := &attached{ends: e, conn: conn, to: &sender{out: conn}, room: make(chan struct{}, 1)}
	a.ahead.Store(inAhead)
	inside, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = a.to.sendJSON(frameSignal, int(syscall.SIGINT))
		select {
		case <-inside.Done():
		case <-time.After(interrupted):
			conn.Close()
		}
	})
	defer stop()
	go a.beat(inside)
	if e.In != nil {
		go a.feed(inside) // it may wait in e.In for longer than the command runs
	}
	code, err = a.listen()
	if ctx.Err() != nil && err != nil {
		return 0, ctx.Err()
	}
	return code, err
}

type attached struct {
	ends  Ends
	conn  io.ReadWriteCloser
	to    *sender
	ahead atomic.Int64  // bytes of standard input that may be sent
	room  chan struct{} // there is more of that
}

func (a *attached) listen() (code int, err error) {
	frames := newReceiver(a.conn)
	for {
		var lost atomic.Bool
		silent := time.AfterFunc(silentWithin, func() { lost.Store(true); a.conn.Close() })
		kind, content, err := frames.next()
		silent.Stop()
		switch {
		case lost.Load():
			return 0, fmt.Errorf("%w (nothing heard for %s)", ErrLost, silentWithin)
		case err != nil:
			return 0, ErrLost
		}
		switch kind {
		case frameOut:
			_, err = a.ends.Out.Write(content)
		case frameErr:
			_, err = a.ends.Err.Write(content)
		case frameInTaken:
			var n int
			if err = json.Unmarshal(content, &n); err == nil {
				a.ahead.Add(int64(n))
				select {
				case a.room <- struct{}{}:
				default:
				}
			}
		case frameExit:
			err = json.Unmarshal(content, &code)
			return code, err
		case frameFailure:
			return 0, errors.New(string(content))
		}
		if err != nil {
			return 0, err
		}
	}
}

func (a *attached) beat(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case s := <-a.ends.Sizes:
			err = a.to.sendJSON(frameSize, s)
		case <-tick.C:
			err = a.to.send(frameBeat, nil)
		}
		if err != nil {
			return
		}
	}
}

// feed sends standard input, as far ahead of the command as is allowed.
func (a *attached) feed(ctx context.Context) {
	buf := make([]byte, chunk)
	for {
		for a.ahead.Load() < int64(len(buf)) {
			select {
			case <-ctx.Done():
				return
			case <-a.room:
			}
		}
		n, err := a.ends.In.Read(buf)
		if ctx.Err() != nil {
			return
		}
		if n > 0 {
			a.ahead.Add(int64(-n))
			if a.to.send(frameIn, buf[:n]) != nil {
				return
			}
		}
		if err != nil {
			_ = a.to.send(frameInEnd, nil)
			return
		}
	}
}
