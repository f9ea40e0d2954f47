package history

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/otto-edge/otto/durable"
)

// Kinds of files. One of full has the frames of an hour, one after the other, and the others
// have one frame each.
const (
	kindFull = "full"
	kindHour = "hour"
	kindDay  = "day"
)

// What is kept is counted and not judged by its age: a clock that is wrong for a while
// removes nothing.
const (
	keepFull  = 2 // beside the present hour
	keepHours = 26
	keepDays  = 32
	// Bounds for a clock that goes to and fro: frames in a file, hours of a day, and files
	// that could not be put together yet.
	maxFrames  = 240
	maxHours   = 48
	maxPending = 48
	// maxBytes is the bound of all; it is reached with some thousand containers.
	maxBytes = 256 << 20
)

// file is one of them. All that has to be known of it is in its name.
type file struct {
	kind  string
	seq   uint64 // counts the hours, or the days
	group uint64 // the day that an hour is of
	start int64
	size  int64
}

func (f file) name() string { return fmt.Sprintf("%s.%d.%d.%d", f.kind, f.seq, f.group, f.start) }

func parseName(name string) (f file, ok bool) {
	parts := strings.Split(name, ".")
	if len(parts) != 4 || !slices.Contains([]string{kindFull, kindHour, kindDay}, parts[0]) {
		return f, false
	}
	f.kind = parts[0]
	var errs [3]error
	f.seq, errs[0] = strconv.ParseUint(parts[1], 10, 63)
	f.group, errs[1] = strconv.ParseUint(parts[2], 10, 63)
	f.start, errs[2] = strconv.ParseInt(parts[3], 10, 64)
	return f, errors.Join(errs[:]...) == nil && f.name() == name
}

// span is the time that a file is about.
func (f file) span() span {
	if f.kind == kindDay {
		return dayAt(f.start)
	}
	return hourAt(f.start)
}

// disk is what is done to files, for tests to fail.
type disk struct {
	write   func(path string, at int64, b []byte) error // ends the file behind b
	replace func(path string, b []byte) error           // synced
	remove  func(path string) error
}

func realDisk() disk { return disk{writeAt, replaceFile, os.Remove} }

func writeAt(path string, at int64, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	end := at + int64(len(b))
	if err != nil {
		end = at
	}
	return errors.Join(err, f.Truncate(end), f.Close())
}

func replaceFile(path string, b []byte) error { return durable.Replace(path, b, 0o600) }

// shelf are the files of a directory, in the order in which they were begun.
type shelf struct {
	dir               string
	disk              disk
	full, hours, days []file
	end               int64 // of the last of full, where the next frame goes
	frames            int   // in it
}

// open finds the files that are there. What is none of them is left alone.
func openShelf(dir string, d disk) (*shelf, error) {
	s := &shelf{dir: dir, disk: d}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return s, err
	}
	for _, e := range entries {
		f, ok := parseName(e.Name())
		info, err := e.Info()
		if !ok || err != nil {
			continue
		}
		f.size = info.Size()
		*s.list(f.kind) = append(*s.list(f.kind), f)
	}
	for _, kind := range []string{kindFull, kindHour, kindDay} {
		slices.SortFunc(*s.list(kind), func(a, b file) int { return int(a.seq) - int(b.seq) })
	}
	if n := len(s.full); n > 0 {
		list, err := s.read(s.full[n-1])
		if err != nil && !errors.Is(err, errDamaged) {
			return s, err
		}
		s.frames = len(list)
		for _, f := range list {
			s.end = f.at + f.size
		}
	}
	return s, nil
}

// clean removes what a write has left that did not end.
func (s *shelf) clean() {
	temps, _ := filepath.Glob(filepath.Join(s.dir, "*"+durable.Suffix))
	for _, path := range temps {
		if _, ok := parseName(strings.TrimSuffix(filepath.Base(path), durable.Suffix)); ok {
			_ = s.disk.remove(path)
		}
	}
}

func (s *shelf) list(kind string) *[]file {
	switch kind {
	case kindFull:
		return &s.full
	case kindHour:
		return &s.hours
	}
	return &s.days
}

func (s *shelf) path(f file) string { return filepath.Join(s.dir, f.name()) }

// framed is a frame of a file.
type framed struct {
	head
	at int64
}

// read finds the frames of a file, up to one that is damaged.
func (s *shelf) read(f file) (list []framed, err error) {
	opened, err := os.Open(s.path(f))
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	return framesOf(opened)
}

func framesOf(f *os.File) (list []framed, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	for at := int64(0); ; {
		h, err := readHead(f, at, info.Size())
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		list = append(list, framed{h, at})
		at += h.size
	}
}

// add writes the frame of a minute.
func (s *shelf) add(b []byte, start int64) error {
	var late error
	hour := floor(start, 3600)
	n := len(s.full)
	if n > 0 && (s.full[n-1].start != hour || s.frames >= maxFrames) {
		late = s.catchUp(s.full)
	}
	if n == 0 || s.full[len(s.full)-1].start != hour || s.frames >= maxFrames || s.together(s.full[len(s.full)-1]) {
		s.full = append(s.full, file{kind: kindFull, seq: s.next(), start: hour})
		s.end, s.frames = 0, 0
	}
	f := &s.full[len(s.full)-1]
	if err := s.disk.write(s.path(*f), s.end, b); err != nil {
		return errors.Join(late, err)
	}
	s.end += int64(len(b))
	s.frames++
	f.size = s.end
	return late
}

// next is the number of the next hour.
func (s *shelf) next() uint64 {
	var last uint64
	for _, list := range [][]file{s.full, s.hours} {
		if n := len(list); n > 0 {
			last = max(last, list[n-1].seq)
		}
	}
	return last + 1
}

// together reports whether there is an hour of a file of minutes.
func (s *shelf) together(f file) bool {
	return slices.ContainsFunc(s.hours, func(o file) bool { return o.seq == f.seq })
}

// summed reports whether there is a day of hours.
func (s *shelf) summed(group uint64) bool {
	return slices.ContainsFunc(s.days, func(o file) bool { return o.seq == group })
}

// sumHour puts the minutes of an hour together.
func (s *shelf) sumHour(f file) error {
	group := uint64(1)
	if n := len(s.days); n > 0 {
		group = s.days[n-1].seq + 1
	}
	if open := s.hoursOf(s.open()); len(open) > 0 {
		group = max(group, open[0].group)
		other := floor(open[0].start, 86400) != floor(f.start, 86400)
		if group == open[0].group && (other || len(open) >= maxHours) {
			group++
		}
	}
	into := file{kind: kindHour, seq: f.seq, group: group, start: f.start}
	return s.sum(into, []file{f})
}

// open is the number of the day that is not over.
func (s *shelf) open() (group uint64) {
	for _, f := range s.hours {
		group = max(group, f.group)
	}
	return group
}

// hoursOf are those of a day.
func (s *shelf) hoursOf(group uint64) (list []file) {
	for _, f := range s.hours {
		if f.group == group {
			list = append(list, f)
		}
	}
	return list
}

// sumDays puts the hours of days together that are over.
func (s *shelf) sumDays() error {
	open := s.open()
	for _, f := range s.hours {
		if f.group == open || s.summed(f.group) {
			continue
		}
		into := file{kind: kindDay, seq: f.group, start: floor(f.start, 86400)}
		if err := s.sum(into, s.hoursOf(f.group)); err != nil {
			return err
		}
	}
	return nil
}

// sum writes a file with what is in others.
func (s *shelf) sum(into file, of []file) error {
	chunks := map[subject]chunk{}
	type source struct {
		*os.File
		frames []framed
	}
	var sources []source
	defer func() {
		for _, from := range sources {
			from.Close()
		}
	}()
	subjects := map[subject]bool{}
	for _, f := range of {
		opened, err := os.Open(s.path(f))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		from := source{File: opened}
		sources = append(sources, from)
		if from.frames, err = framesOf(opened); err != nil && !errors.Is(err, errDamaged) {
			return err
		}
		sources[len(sources)-1] = from
		for _, h := range from.frames {
			for k := range h.subjects {
				subjects[k] = true
			}
		}
	}
	for k := range subjects {
		all := newSummer(into.span())
		for _, from := range sources {
			for _, h := range from.frames {
				c, err := h.chunk(from, h.at, k, func(key) bool { return true })
				if errors.Is(err, errDamaged) {
					continue
				}
				if err != nil {
					return err
				}
				all.add(h.span, c)
			}
		}
		chunks[k] = all.chunk()
	}
	b := frame(into.span(), into.group, chunks)
	if err := s.disk.replace(s.path(into), b); err != nil {
		return err
	}
	into.size = int64(len(b))
	list := s.list(into.kind)
	*list = append(*list, into)
	slices.SortFunc(*list, func(a, b file) int { return int(a.seq) - int(b.seq) })
	return nil
}

// catchUp puts together what is not yet of these files of minutes, and of days.
func (s *shelf) catchUp(full []file) error {
	var errs []error
	for _, f := range slices.Clone(full) {
		if !s.together(f) {
			errs = append(errs, s.sumHour(f))
		}
	}
	return errors.Join(append(errs, s.sumDays(), s.prune())...)
}

// prune removes what is too much, the oldest first.
func (s *shelf) prune() error {
	var errs []error
	drop := func(kind string, keep int, spare func(file) bool) {
		list := s.list(kind)
		var left []file
		for i, f := range *list {
			if old := len(*list) - i; old <= keep || spare(f) {
				left = append(left, f)
				continue
			}
			if err := s.disk.remove(s.path(f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
				left = append(left, f)
			}
		}
		*list = left
	}
	drop(kindFull, maxPending, func(file) bool { return false })
	drop(kindFull, keepFull, func(f file) bool { return !s.together(f) })
	drop(kindHour, keepHours+maxHours, func(file) bool { return false })
	drop(kindHour, keepHours, func(f file) bool { return !s.summed(f.group) })
	drop(kindDay, keepDays, func(file) bool { return false })
	for n := len(s.days); s.size() > maxBytes && n > 0; n-- {
		drop(kindDay, n-1, func(file) bool { return false })
	}
	return errors.Join(errs...)
}

// size is that of all files, in bytes.
func (s *shelf) size() (n int64) {
	for _, kind := range []string{kindFull, kindHour, kindDay} {
		for _, f := range *s.list(kind) {
			n += f.size
		}
	}
	return n
}
