package tui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
)

// lines takes what a log writes, and hands it on at the pace of the screen. If more comes than
// a page keeps, the oldest is left out: nobody could have read it.
type lines struct {
	mu   sync.Mutex
	part []byte // of a line whose end has not come
	list []string
	left int
	more chan struct{}
	over bool
}

func newLines() *lines { return &lines{more: make(chan struct{}, 1)} }

// maxLine bounds what is kept of a line, in bytes.
const maxLine = 8 << 10

// Write implements io.Writer.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	for rest := b; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		l.part = append(l.part, line[:min(len(line), max(maxLine-len(l.part), 0))]...)
		if whole {
			l.add(string(l.part))
			l.part = l.part[:0]
		}
		rest = after
	}
	l.mu.Unlock()
	poke(l.more)
	return len(b), nil
}

func (l *lines) add(line string) {
	l.list = append(l.list, line)
	if n := len(l.list) - maxLines; n > 0 {
		l.list, l.left = l.list[n:], l.left+n
	}
}

// end says how it has ended.
func (l *lines) end(err error) {
	l.mu.Lock()
	if !errors.Is(err, context.Canceled) && !errors.Is(err, io.EOF) {
		l.add("-- " + err.Error())
	} else if errors.Is(err, io.EOF) {
		l.add("-- the end")
	}
	l.over = true
	l.mu.Unlock()
	poke(l.more)
}

// forward calls take with what has come, until it has ended or ctx has.
func (l *lines) forward(ctx context.Context, take func(list []string, left int)) {
	var pace pacer
	for pace.wait(ctx, l.more) {
		l.mu.Lock()
		list, left, over := l.list, l.left, l.over
		l.list, l.left = nil, 0
		l.mu.Unlock()
		if len(list) > 0 {
			take(list, left)
		}
		if over {
			return
		}
	}
}
