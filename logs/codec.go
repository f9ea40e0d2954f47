package logs

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// What a node sends, one message a line:
//
//	c CONTAINER          a container, as JSON; it gets the next number, from 0 on
//	o NUMBER TIME TEXT   a line of its standard output; TIME is in nanoseconds since 1970
//	e NUMBER TIME TEXT   a line of its standard error
//	m MARK               a mark, as JSON
//	b                    nothing, to say that the connection is alive
//	z                    the end
//
// greeting comes first and names this form.
const greeting = "otto logs 1"

// Encoder writes the messages of a node. What it writes is buffered until Flush.
type Encoder struct {
	w       *bufio.Writer
	numbers map[string]int
	number  []byte
}

// NewEncoder returns an Encoder that has greeted.
func NewEncoder(w io.Writer) *Encoder {
	e := &Encoder{w: bufio.NewWriterSize(w, 32<<10), numbers: map[string]int{}}
	_, _ = e.w.WriteString(greeting + "\n")
	return e
}

// Container announces a container, once.
func (e *Encoder) Container(c Container) error {
	if _, known := e.numbers[c.ID]; known {
		return nil
	}
	e.numbers[c.ID] = len(e.numbers)
	return e.json('c', c)
}

// Entry writes a line of a container that has been announced, or a mark.
func (e *Encoder) Entry(x Entry) error {
	if x.Mark != "" {
		return e.json('m', x)
	}
	kind := byte('o')
	if x.Stream == Stderr {
		kind = 'e'
	}
	b := append(e.number[:0], kind, ' ')
	b = strconv.AppendInt(b, int64(e.numbers[x.Container]), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, x.Time.UnixNano(), 10)
	b = append(b, ' ')
	e.number = b
	_, _ = e.w.Write(b)
	if x.Raw != nil {
		_, _ = e.w.Write(x.Raw)
	} else {
		_, _ = e.w.WriteString(x.Text)
	}
	return e.w.WriteByte('\n')
}

// Beat says that the connection is alive.
func (e *Encoder) Beat() error { return e.word("b\n") }

// End says that all has been read.
func (e *Encoder) End() error { return e.word("z\n") }

func (e *Encoder) word(s string) error {
	if _, err := e.w.WriteString(s); err != nil {
		return err
	}
	return e.Flush()
}

// Flush writes what is buffered.
func (e *Encoder) Flush() error { return e.w.Flush() }

func (e *Encoder) json(kind byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.w, "%c %s\n", kind, b)
	return err
}

// Decoder reads the messages of a node.
type Decoder struct {
	r          *bufio.Reader
	containers []Container
}

// Bounds of what a node may say.
const (
	maxMessage    = maxLine + 4<<10
	maxContainers = 10_000
)

// NewDecoder returns a Decoder of what follows a greeting.
func NewDecoder(r io.Reader) (*Decoder, error) {
	d := &Decoder{r: bufio.NewReaderSize(r, maxMessage)}
	hello, err := d.line()
	if err != nil {
		return nil, err
	}
	if hello != greeting {
		return nil, fmt.Errorf("the agent there says %.60q instead of a log", hello)
	}
	return d, nil
}

func (d *Decoder) line() (string, error) {
	line, err := d.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", errors.New("the node sends a line that is too long")
	case err != nil:
		return "", err
	}
	return string(line[:len(line)-1]), nil
}

// Next returns the next entry; a container that is announced is a MarkContainer, and
// an entry without anything in it is a beat. It returns io.EOF after the end, and
// io.ErrUnexpectedEOF if the end was not said. size is the length of the message.
func (d *Decoder) Next() (e Entry, size int, err error) {
	line, err := d.line()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return e, 0, err
	}
	e, err = d.message(line)
	return e, len(line) + 1, err
}

func (d *Decoder) message(line string) (e Entry, err error) {
	kind, rest, _ := strings.Cut(line, " ")
	switch kind {
	case "b":
		return e, nil
	case "z":
		return e, io.EOF
	case "c":
		var c Container
		if err := json.Unmarshal([]byte(rest), &c); err != nil || len(d.containers) == maxContainers {
			return e, fmt.Errorf("the node sends no container: %.60q", line)
		}
		d.containers = append(d.containers, c)
		e = c.entry(c.From, "", "")
		e.Mark = MarkContainer
		return e, nil
	case "m":
		if err := json.Unmarshal([]byte(rest), &e); err != nil || e.Mark == "" {
			return e, fmt.Errorf("the node sends no mark: %.60q", line)
		}
		return e, nil
	case "o", "e":
		return d.written(kind, rest)
	}
	return e, fmt.Errorf("the node sends no message: %.60q", line)
}

func (d *Decoder) written(kind, rest string) (e Entry, err error) {
	number, rest, _ := strings.Cut(rest, " ")
	stamp, text, ok := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(number, 10, 31)
	nanos, stampErr := strconv.ParseInt(stamp, 10, 64)
	if err != nil || stampErr != nil || !ok || int(n) >= len(d.containers) {
		return e, fmt.Errorf("the node sends no line: %.60q", kind+" "+number+" "+rest)
	}
	stream := Stdout
	if kind == "e" {
		stream = Stderr
	}
	return d.containers[n].entry(time.Unix(0, nanos).UTC(), stream, text), nil
}
