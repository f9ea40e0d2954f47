package logs

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	maxLine  = 256 << 10 // bytes; a longer line is cut into several
	maxFrame = 4 << 20   // bytes; a larger frame is none
	// minPart is from how many bytes on a frame without an end of line is the beginning
	// of a longer line: Docker cuts lines at 16 KiB, Podman at 8. A shorter one is the
	// last thing that a program wrote before it ended.
	minPart = 8 << 10
)

// Scanner reads the lines of a log as engines send it, with timestamps: frames of
// a header and a text, or for a container with a terminal the text alone.
type Scanner struct {
	r    *bufio.Reader
	tty  bool
	part [2]Line // of each stream, a line that has not ended
	last [2]time.Time
	// text is a frame's, from which lines are taken; stream is whose it is.
	text   []byte
	stream int
	time   time.Time
	ended  error
}

// NewScanner returns a Scanner of the log of a container, with a terminal or without.
func NewScanner(r io.Reader, tty bool) *Scanner {
	never := time.Unix(0, 0).UTC()
	return &Scanner{r: bufio.NewReaderSize(r, 32<<10), tty: tty, last: [2]time.Time{never, never}}
}

// Next returns the next line, and io.EOF after the last one.
func (s *Scanner) Next() (Line, error) {
	for {
		if len(s.text) > 0 {
			if l, ok := s.take(); ok {
				return l, nil
			}
			continue
		}
		if s.ended == nil {
			s.ended = s.read()
		}
		if s.ended != nil {
			for i := range s.part {
				if l := s.part[i]; l.Stream != "" {
					s.part[i] = Line{}
					return l, nil
				}
			}
			return Line{}, s.ended
		}
	}
}

// read reads one frame.
func (s *Scanner) read() error {
	if s.tty {
		return s.readText()
	}
	var header [8]byte
	if _, err := io.ReadFull(s.r, header[:]); err != nil {
		return cutShort(err)
	}
	size := binary.BigEndian.Uint32(header[4:])
	if header[0] > 3 || header[1]|header[2]|header[3] != 0 || size > maxFrame {
		return fmt.Errorf("the engine sends no log: % x", header)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(s.r, text); err != nil {
		return cutShort(err)
	}
	const failure = 3
	if header[0] == failure {
		return errors.New(string(bytes.TrimSpace(text)))
	}
	s.stream = max(0, int(header[0])-1) // 0, of standard input, has never been seen
	s.begin(text)
	return nil
}

// cutShort is the error of a log that ends within a frame: the connection was
// lost, or the container removed.
func cutShort(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}

func (s *Scanner) readText() error {
	line, err := s.r.ReadSlice('\n')
	s.stream = 0
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		s.begin(bytes.Clone(line))
		return nil
	case err != nil && len(line) == 0:
		return err
	}
	line = bytes.Clone(line)
	if text, ok := bytes.CutSuffix(line, []byte("\r\n")); ok {
		line = append(text, '\n')
	}
	s.begin(line)
	return nil
}

// begin takes the time from the beginning of a frame.
func (s *Scanner) begin(text []byte) {
	s.time = s.last[s.stream]
	if stamp, _, ok := bytes.Cut(text[:min(len(text), 40)], []byte(" ")); ok {
		if t, err := time.Parse(time.RFC3339Nano, string(stamp)); err == nil {
			s.time, text = t, text[len(stamp)+1:]
		}
	}
	s.last[s.stream] = s.time
	s.text = text
}

func name(stream int) string {
	if stream == 1 {
		return Stderr
	}
	return Stdout
}

// take takes a line from the frame, if one ends there.
func (s *Scanner) take() (Line, bool) {
	part := &s.part[s.stream]
	text, rest, whole := bytes.Cut(s.text, []byte("\n"))
	if part.Stream == "" {
		*part = Line{Time: s.time, Stream: name(s.stream)}
	}
	if room := maxLine - len(part.Text); len(text) > room {
		text, rest, whole = s.text[:room], s.text[room:], true
	}
	size := len(s.text)
	s.text = rest
	if part.Text == nil {
		part.Text = text[:len(text):len(text)]
	} else {
		part.Text = append(part.Text, text...)
	}
	if !whole && (size >= minPart || s.tty) {
		return Line{}, false
	}
	l := *part
	*part = Line{}
	return l, true
}
