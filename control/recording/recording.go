// Package recording keeps what was measured of a cluster in a file, for decisions
// to be run on it later.
//
// A file is a stream of zstd: a line of JSON that says what was wanted, then one
// for each frame. It is flushed about once a minute, so that a recording that was
// cut off has all but its last minute. No environment and no command of a service
// is in it.
package recording

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/replay"
)

// ErrTorn says that a file does not end as it should. What was read before is good.
var ErrTorn = errors.New("the recording is cut off or damaged")

const (
	version = 1
	// flushEvery is after how many frames all of them are in the file.
	flushEvery = 12
	// Bounds of what is read, so that no file takes all memory.
	maxLine, maxUnpacked, maxWindow = 8 << 20, 1 << 30, 64 << 20
)

// header is the first line. End is the last one's: it is only in a whole file.
type header struct {
	Version  int           `json:"otto_recording"`
	Interval time.Duration `json:"interval_ns"`
	Wanted   otto.Wanted   `json:"wanted"`
}

type line struct {
	replay.Frame
	End bool `json:"end,omitempty"`
}

// Writer writes a recording.
type Writer struct {
	z      *zstd.Encoder
	enc    *json.Encoder
	frames int
}

// NewWriter begins a recording.
func NewWriter(to io.Writer, interval time.Duration, wanted otto.Wanted) (*Writer, error) {
	z, err := zstd.NewWriter(to, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	w := &Writer{z: z, enc: json.NewEncoder(z)}
	return w, errors.Join(w.enc.Encode(header{version, interval, wanted}), z.Flush())
}

// Add adds a frame.
func (w *Writer) Add(f replay.Frame) error {
	err := w.enc.Encode(line{Frame: f})
	if w.frames++; err == nil && w.frames%flushEvery == 0 {
		err = w.z.Flush()
	}
	return err
}

// Close ends the recording; it does not close what it was written to.
func (w *Writer) Close() error {
	return errors.Join(w.enc.Encode(line{End: true}), w.z.Close())
}

// Read reads a recording. With ErrTorn there is what could be read.
func Read(from io.Reader) (r replay.Recording, err error) {
	z, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxUnpacked), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return r, err
	}
	defer z.Close()
	lines := bufio.NewScanner(io.LimitReader(z, maxUnpacked))
	lines.Buffer(nil, maxLine)
	if !lines.Scan() {
		return r, errors.New("it is no recording of otto record")
	}
	var h header
	if err := json.Unmarshal(lines.Bytes(), &h); err != nil || h.Version == 0 {
		return r, errors.New("it is no recording of otto record")
	}
	if h.Version != version {
		return r, fmt.Errorf("it is a recording of version %d, and this otto reads %d: use the otto that made it", h.Version, version)
	}
	r.Interval, r.Wanted = h.Interval, h.Wanted
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return r, torn(r, err)
		}
		if l.End {
			return r, nil
		}
		r.Frames = append(r.Frames, l.Frame)
	}
	if err := lines.Err(); err != nil {
		return r, torn(r, err)
	}
	return r, torn(r, io.ErrUnexpectedEOF)
}

func torn(r replay.Recording, why error) error {
	return fmt.Errorf("%w after frame %d: %w", ErrTorn, len(r.Frames), why)
}
