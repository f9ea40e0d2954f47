package history

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
)

// subject is a node or a service.
type subject struct{ node, service string }

// span is the time of a frame: so many steps of so many seconds, from a Unix time on.
type span struct {
	start int64
	step  int64
	steps int
}

// Frames there are: of a minute at full resolution, of an hour and of a day.
func minuteAt(t int64) span { return span{floor(t, 60), 1, 60} }
func hourAt(t int64) span   { return span{floor(t, 3600), 60, 60} }
func dayAt(t int64) span    { return span{floor(t, 86400), 600, 144} }

// floor is the beginning of the step that t is in.
func floor(t, step int64) int64 {
	if r := t % step; r < 0 {
		return t - r - step
	} else {
		return t - r
	}
}

func (s span) end() int64 { return s.start + s.step*int64(s.steps) }

// valid keeps what a damaged file says within bounds.
func (s span) valid() bool {
	return s == minuteAt(s.start) || s == hourAt(s.start) || s == dayAt(s.start)
}

// A frame is a header of fixed size, a head that says what is in it, and the chunks of its
// subjects. Head and chunks have checksums of their own: a reader of one subject reads no
// other.
const (
	magic     = 0x3148544f // OTH1
	fixedSize = 16         // magic, length and checksum of the head, length of the chunks
	maxHead   = 16 << 20
	maxBody   = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // a table that never changes

// head says what is in a frame.
type head struct {
	span
	group    uint64 // the day that an hour is of
	names    []string
	subjects map[subject]place
	size     int64 // of the whole frame
}

// place is where a chunk is, from the begin of the frame on.
type place struct {
	at, length int64
	sum        uint32
}

// frame makes a frame of chunks.
func frame(s span, group uint64, chunks map[subject]chunk) []byte {
	var n names
	subjects := make([]subject, 0, len(chunks))
	for k := range chunks {
		subjects = append(subjects, k)
	}
	slices.SortFunc(subjects, func(a, b subject) int {
		return slices.Compare([]string{a.node, a.service}, []string{b.node, b.service})
	})
	var index, body []byte
	for _, k := range subjects {
		from := len(body)
		body = chunks[k].encode(body, &n, s.steps, s.step > 1)
		index = binary.AppendUvarint(binary.AppendUvarint(index, n.number(k.node)), n.number(k.service))
		index = binary.AppendUvarint(index, uint64(len(body)-from))
		index = binary.LittleEndian.AppendUint32(index, crc32.Checksum(body[from:], castagnoli))
	}
	h := binary.AppendVarint(nil, s.start)
	for _, v := range []uint64{uint64(s.step), uint64(s.steps), group, uint64(len(n.list))} {
		h = binary.AppendUvarint(h, v)
	}
	for _, name := range n.list {
		h = append(binary.AppendUvarint(h, uint64(len(name))), name...)
	}
	h = append(binary.AppendUvarint(h, uint64(len(subjects))), index...)

	b := make([]byte, 0, fixedSize+len(h)+len(body))
	for _, v := range []uint32{magic, uint32(len(h)), crc32.Checksum(h, castagnoli), uint32(len(body))} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return append(append(b, h...), body...)
}

// readHead reads what is in the frame at an offset of a file. It returns io.EOF at the end,
// and errDamaged for what is no frame or not a whole one.
func readHead(f io.ReaderAt, at, size int64) (head, error) {
	if at == size {
		return head{}, io.EOF
	}
	var fixed [fixedSize]byte
	if _, err := f.ReadAt(fixed[:], at); err != nil {
		return head{}, torn(err)
	}
	u := func(i int) uint32 { return binary.LittleEndian.Uint32(fixed[4*i:]) }
	length, body := int64(u(1)), int64(u(3))
	if u(0) != magic || length > maxHead || body > maxBody || at+fixedSize+length+body > size {
		return head{}, errDamaged
	}
	b := make([]byte, length)
	if _, err := f.ReadAt(b, at+fixedSize); err != nil {
		return head{}, torn(err)
	}
	if crc32.Checksum(b, castagnoli) != u(2) {
		return head{}, errDamaged
	}
	h, err := decodeHead(b, body)
	h.size = fixedSize + length + body
	return h, err
}

func torn(err error) error {
	if errors.Is(err, io.EOF) {
		return errDamaged
	}
	return err
}

func decodeHead(b []byte, body int64) (h head, err error) {
	start, n := binary.Varint(b)
	if n <= 0 {
		return h, errDamaged
	}
	r := &reader{b: b[n:]}
	h.start, h.step, h.steps, h.group = start, int64(r.number()), int(r.number()&0xffff), r.number()
	if !h.valid() {
		return h, errDamaged
	}
	h.names = make([]string, r.count())
	for i := range h.names {
		h.names[i] = string(r.bytes(r.count()))
	}
	r.names = h.names
	count := r.count()
	h.subjects = make(map[subject]place, count)
	at := fixedSize + int64(len(b))
	end := at + body
	for range count {
		k := subject{r.name(), r.name()}
		length := int64(r.number() & (1<<40 - 1))
		sum := r.bytes(4)
		if r.bad || at+length > end {
			return h, errDamaged
		}
		h.subjects[k] = place{at, length, binary.LittleEndian.Uint32(sum)}
		at += length
	}
	if r.bad {
		return h, errDamaged
	}
	return h, nil
}

// chunk reads what a frame at an offset has of a subject.
func (h head) chunk(f io.ReaderAt, at int64, k subject, wanted func(key) bool) (chunk, error) {
	p, ok := h.subjects[k]
	if !ok {
		return chunk{}, nil
	}
	b := make([]byte, p.length)
	if _, err := f.ReadAt(b, at+p.at); err != nil {
		return chunk{}, torn(err)
	}
	if crc32.Checksum(b, castagnoli) != p.sum {
		return chunk{}, errDamaged
	}
	return decodeChunk(b, h.names, h.steps, h.step > 1, wanted)
}
