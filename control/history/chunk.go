package history

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
)

// chunk is what is kept of a subject in the time of a frame.
type chunk struct {
	series []series
	tracks []track
}

// key names a series or, without a unit, a track.
type key struct{ instance, name, unit string }

// series are the numbers of a metric.
type series struct {
	key
	slots []slot // in order, and none where nothing was measured
}

// slot sums up a step of a frame.
type slot struct {
	at             int // steps after the start of the frame
	min, mean, max float32
}

// track are the states of something.
type track struct {
	key
	slots []held
}

// held is for how many seconds of a step something was in its states.
type held struct {
	at     int
	states []share
}

type share struct {
	state   string
	seconds int
}

var errDamaged = errors.New("it is damaged")

// dropBits are those of a float32 that are not kept: 10 of 23 bits of the fraction are, so
// that a value is off by 0.05 % at most, and numbers up to 2048 are not.
const dropBits = 13

// rank numbers values in their order, as far as they are told apart.
func rank(v float32) int64 {
	bits := math.Float32bits(v)
	size := int64((bits&(1<<31-1) + 1<<(dropBits-1)) >> dropBits)
	if bits>>31 == 1 {
		return -size
	}
	return size
}

// maxRank is that of the largest number.
const maxRank = 0xff<<(23-dropBits) - 1

func ranked(r int64) float32 {
	size := min(max(r, -r), maxRank)
	v := math.Float32frombits(uint32(size) << dropBits)
	if r < 0 {
		return -v
	}
	return v
}

// names numbers the strings of a frame.
type names struct {
	list []string
	of   map[string]int
}

func (n *names) number(s string) uint64 {
	i, ok := n.of[s]
	if !ok {
		if n.of == nil {
			n.of = map[string]int{}
		}
		i = len(n.list)
		n.of[s], n.list = i, append(n.list, s)
	}
	return uint64(i)
}

// encode appends a chunk of a frame with so many steps. With summed its slots have a min and
// a max of their own.
func (c chunk) encode(b []byte, n *names, steps int, summed bool) []byte {
	var maps [][]byte // which steps there are; most series of a subject have the same
	index := make([]int, len(c.series))
	for i, s := range c.series {
		m := make([]byte, (steps+7)/8)
		for _, v := range s.slots {
			m[v.at/8] |= 1 << (v.at % 8)
		}
		index[i] = slices.IndexFunc(maps, func(o []byte) bool { return slices.Equal(o, m) })
		if index[i] < 0 {
			index[i], maps = len(maps), append(maps, m)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(maps)))
	for _, m := range maps {
		b = append(b, m...)
	}
	b = binary.AppendUvarint(b, uint64(len(c.series)))
	for i, s := range c.series {
		for _, name := range []string{s.instance, s.name, s.unit} {
			b = binary.AppendUvarint(b, n.number(name))
		}
		b = binary.AppendUvarint(b, uint64(index[i]))
		w := runs{b: b}
		var last int64
		for _, v := range s.slots {
			r := rank(v.mean)
			w.put(zigzag(r - last))
			last = r
		}
		if summed {
			for _, v := range s.slots {
				w.put(uint64(max(0, rank(v.mean)-rank(v.min))))
			}
			for _, v := range s.slots {
				w.put(uint64(max(0, rank(v.max)-rank(v.mean))))
			}
		}
		b = w.end()
	}
	b = binary.AppendUvarint(b, uint64(len(c.tracks)))
	for _, t := range c.tracks {
		b = binary.AppendUvarint(binary.AppendUvarint(b, n.number(t.instance)), n.number(t.name))
		b = t.encode(b, n, steps)
	}
	return b
}

// encode appends runs of steps that are alike.
func (t track) encode(b []byte, n *names, steps int) []byte {
	at := 0
	run := func(length int, states []share) {
		b = binary.AppendUvarint(b, uint64(length))
		b = binary.AppendUvarint(b, uint64(len(states)))
		for _, s := range states {
			b = binary.AppendUvarint(binary.AppendUvarint(b, n.number(s.state)), uint64(s.seconds))
		}
		at += length
	}
	for i := 0; i < len(t.slots); {
		if gap := t.slots[i].at - at; gap > 0 {
			run(gap, nil)
		}
		j := i + 1
		for j < len(t.slots) && t.slots[j].at == t.slots[i].at+j-i && slices.Equal(t.slots[j].states, t.slots[i].states) {
			j++
		}
		run(j-i, t.slots[i].states)
		i = j
	}
	if at < steps {
		run(steps-at, nil)
	}
	return b
}

// runs writes numbers; a zero is followed by how many more there are.
type runs struct {
	b     []byte
	zeros uint64
}

func (r *runs) put(v uint64) {
	if v == 0 {
		r.zeros++
		return
	}
	r.b = binary.AppendUvarint(r.end(), v)
}

func (r *runs) end() []byte {
	if r.zeros > 0 {
		r.b = binary.AppendUvarint(append(r.b, 0), r.zeros-1)
		r.zeros = 0
	}
	return r.b
}

func zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

func zagzig(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// reader takes numbers apart that may be anything.
type reader struct {
	b     []byte
	zeros uint64
	names []string
	bad   bool
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count is a number of things of which each takes a byte at least.
func (r *reader) count() int {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.bad = true
		return 0
	}
	return int(n)
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) name() string {
	n := r.number()
	if n >= uint64(len(r.names)) {
		r.bad = true
		return ""
	}
	return r.names[n]
}

func (r *reader) value() uint64 {
	if r.zeros > 0 {
		r.zeros--
		return 0
	}
	v := r.number()
	if v == 0 {
		r.zeros = r.number()
	}
	return v
}

// decodeChunk reads what encode has written. With wanted only series and tracks of these
// names are kept.
func decodeChunk(b []byte, list []string, steps int, summed bool, wanted func(key) bool) (c chunk, err error) {
	r := &reader{b: b, names: list}
	maps := make([][]int, r.count())
	for i := range maps {
		m := r.bytes((steps + 7) / 8)
		for at := 0; at < steps && !r.bad; at++ {
			if m[at/8]>>(at%8)&1 == 1 {
				maps[i] = append(maps[i], at)
			}
		}
	}
	for range r.count() {
		k := key{r.name(), r.name(), r.name()}
		of := r.number()
		if r.bad || of >= uint64(len(maps)) {
			return c, errDamaged
		}
		slots := r.slots(maps[of], summed)
		if r.bad {
			return c, errDamaged
		}
		if wanted(k) {
			c.series = append(c.series, series{k, slots})
		}
	}
	for range r.count() {
		k := key{instance: r.name(), name: r.name()}
		slots := r.held(steps)
		if r.bad {
			return c, errDamaged
		}
		if wanted(k) {
			c.tracks = append(c.tracks, track{k, slots})
		}
	}
	if r.bad {
		return c, errDamaged
	}
	return c, nil
}

func (r *reader) slots(at []int, summed bool) []slot {
	slots := make([]slot, len(at))
	var rank int64
	ranks := make([]int64, len(at))
	for i := range slots {
		rank = min(max(rank+zagzig(r.value()), -maxRank), maxRank)
		ranks[i] = rank
		v := ranked(rank)
		slots[i] = slot{at[i], v, v, v}
	}
	if summed {
		for i := range slots {
			slots[i].min = ranked(ranks[i] - int64(min(r.value(), 2*maxRank)))
		}
		for i := range slots {
			slots[i].max = ranked(ranks[i] + int64(min(r.value(), 2*maxRank)))
		}
	}
	if r.zeros > 0 {
		r.bad = true
	}
	return slots
}

func (r *reader) held(steps int) (slots []held) {
	for at := 0; at < steps && !r.bad; {
		length := r.number()
		if length == 0 || length > uint64(steps-at) {
			r.bad = true
			return nil
		}
		states := make([]share, r.count())
		for i := range states {
			states[i] = share{r.name(), int(min(r.number(), math.MaxInt32))}
		}
		for i := 0; i < int(length) && len(states) > 0; i++ {
			slots = append(slots, held{at + i, states})
		}
		at += int(length)
	}
	return slots
}
