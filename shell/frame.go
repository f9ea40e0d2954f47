package shell

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/otto-edge/otto"
)

// Kinds of frames.
const (
	frameRequest = 'q' // request, as JSON: the first one
	frameIn      = 'i' // standard input
	frameInEnd   = 'd' // the standard input has ended
	frameInTaken = 'a' // so many bytes of it were taken, as JSON
	frameSize    = 'w' // Size of the terminal, as JSON
	frameSignal  = 's' // number of a signal, as JSON
	frameOut     = 'o' // standard output
	frameErr     = 'e' // standard error
	frameExit    = 'x' // exit code, as JSON: the last one
	frameFailure = '!' // why there is no exit code, in words: the last one
	frameBeat    = '.'
)

const (
	headerSize = 5       // the kind and the length of what follows
	maxFrame   = 1 << 18 // bytes
	chunk      = 32 << 10
	// inAhead is how many bytes of standard input may be on their way.
	inAhead = 256 << 10
)

// sender writes frames. Several goroutines may use it.
type sender struct {
	mu  sync.Mutex
	out io.Writer
	buf []byte
}

func (s *sender) send(kind byte, content []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = append(s.buf[:0], kind, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(s.buf[1:], uint32(len(content))) //nolint:gosec // at most maxFrame
	s.buf = append(s.buf, content...)
	_, err := s.out.Write(s.buf)
	return err
}

func (s *sender) sendJSON(kind byte, v any) error {
	content, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.send(kind, content)
}

// stream is the frames of one kind as an io.Writer.
func (s *sender) stream(kind byte) io.Writer { return &stream{s, kind} }

type stream struct {
	*sender
	kind byte
}

// Write implements io.Writer.
func (s *stream) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		part := p[:min(len(p), chunk)]
		if err = s.send(s.kind, part); err == nil {
			n, p = n+len(part), p[len(part):]
		}
	}
	return n, err
}

// receiver reads frames.
type receiver struct {
	in  *bufio.Reader
	buf []byte
}

func newReceiver(in io.Reader) *receiver {
	return &receiver{in: bufio.NewReaderSize(in, chunk+headerSize)}
}

// next returns a frame, whose content is valid until the next one is read.
func (r *receiver) next() (kind byte, content []byte, err error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r.in, header[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(header[1:]))
	if n > maxFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes", n)
	}
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	_, err = io.ReadFull(r.in, r.buf[:n])
	return header[0], r.buf[:n], err
}

// Ask begins a conversation with a node's end: what follows is between that and Attach.
func Ask(node io.Writer, at Place, c Command) error {
	s := sender{out: node}
	return s.sendJSON(frameRequest, request{Place: at, Command: c})
}

// AskOnce is Ask for a container that is made for the command alone.
func AskOnce(node io.Writer, inst otto.Instance, c Command) error {
	s := sender{out: node}
	return s.sendJSON(frameRequest, request{Place: Place{Instance: inst.Name}, Command: c, Once: &inst})
}

// Fail ends a conversation in place of the node's end.
func Fail(client io.Writer, why error) error {
	s := sender{out: client}
	return s.send(frameFailure, []byte(why.Error()))
}
