package gather

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/logs"
)

// flood is an engine with one container that has written as many lines as are read,
// and sends them in frames, as engines do.
type flood struct{ lines int }

func (flood) Containers(context.Context) ([]otto.Container, error) {
	return []otto.Container{
		{ID: "web", Name: "web", Service: "web", Instance: "web", State: otto.ContainerRunning},
	}, nil
}

func (flood) Watch(ctx context.Context, changed func(images bool)) error {
	changed(false)
	<-ctx.Done()
	return ctx.Err()
}

func (f flood) ReadLog(ctx context.Context, _ string, _ logs.Window, take func(logs.Line) error) error {
	text := "2026-05-01T12:00:00.000000000Z " + strings.Repeat("x", 100) + "\n"
	frame := string([]byte{1, 0, 0, 0, 0, 0, 0, byte(len(text))}) + text
	s := logs.NewScanner(io.LimitReader(endless(frame), int64(f.lines*len(frame))), false)
	for {
		l, err := s.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = take(l)
		}
		if err != nil {
			return err
		}
	}
}

func endless(text string) io.Reader { return &repeated{text: text, rest: text} }

type repeated struct{ text, rest string }

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.rest)
	if r.rest = r.rest[n:]; r.rest == "" {
		r.rest = r.text
	}
	return n, nil
}

// BenchmarkLines is how long a line takes from an engine's frame to the control
// plane's API, with the program on the node and the control plane in one process.
func BenchmarkLines(b *testing.B) {
	c := newCluster(map[string]string{"web": "a"}, "a")
	c.readers = flood{lines: b.N}
	b.SetBytes(100)
	b.ReportAllocs()
	got := 0
	var most uint64
	began := time.Now()
	err := Read(b.Context(), c, logs.Query{Name: "web"}, func(e logs.Entry) error {
		if got++; got%20_000 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
		}
		return nil
	}, func() error { return nil })
	if err != nil || got != b.N {
		b.Fatalf("%d lines of %d: %v", got, b.N, err)
	}
	b.ReportMetric(float64(got)/time.Since(began).Seconds(), "lines/s")
	b.ReportMetric(float64(most)/(1<<20), "heap-MB")
}
