package recording

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/replay"
)

func recorded(t testing.TB) ([]byte, replay.Recording) {
	t.Helper()
	var b bytes.Buffer
	r := replay.Recording{Interval: 5 * time.Second, Wanted: otto.Wanted{Nodes: []otto.Node{{ID: "a"}}, Services: []otto.Service{{Name: "web", Replicas: 1}}}}
	w, err := NewWriter(&b, r.Interval, r.Wanted)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		f := replay.Frame{
			Time:      time.Date(2026, 6, 1, 0, 0, 5*i, 0, time.UTC),
			Nodes:     []replay.NodeFrame{{ID: "a", Cores: 4, Memory: 4 << 30, Lost: i == 20, Sample: &otto.NodeSample{CPUPercent: float64(3 * i), MemoryTotal: 4 << 30, MemoryUsed: 1 << 30}}},
			Instances: []replay.InstanceFrame{{Name: "web", Node: "a", Cores: 0.5, Memory: 1 << 28}},
		}
		r.Frames = append(r.Frames, f)
		if err := w.Add(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), r
}

func TestReadsWhatWasWritten(t *testing.T) {
	b, want := recorded(t)
	got, err := Read(bytes.NewReader(b))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatalf("%v %s", err, diff)
	}
	s, err := got.Scenario()
	if err != nil {
		t.Fatal(err)
	}
	m := s.Machines[0]
	if len(m.Lost) != 1 || m.Lost[0] != (replay.Span{From: 100 * time.Second, To: 105 * time.Second}) || m.CPU.At(50*time.Second) != 4*0.3-0.5 || s.Demands["web"].Cores.At(0) != 0.5 || s.Placement["web"] != "a" {
		t.Errorf("%+v", m)
	}
}

// TestTornFileIsNamed cuts a recording at each byte.
func TestTornFileIsNamed(t *testing.T) {
	b, want := recorded(t)
	most := 0
	for n := range b {
		r, err := Read(bytes.NewReader(b[:n]))
		switch {
		case err == nil:
			t.Fatalf("cut at %d of %d: no error", n, len(b))
		case errors.Is(err, ErrTorn):
			if diff := cmp.Diff(want.Frames[:len(r.Frames)], r.Frames, cmp.Transformer("", func(f []replay.Frame) []replay.Frame { return append([]replay.Frame{}, f...) })); len(r.Frames) > 0 && diff != "" {
				t.Fatal(diff)
			}
			most = max(most, len(r.Frames))
		case !strings.Contains(err.Error(), "no recording"):
			t.Fatal(err)
		}
	}
	if most < 24 {
		t.Errorf("of 30 frames %d were read at most", most)
	}
}

func FuzzRead(f *testing.F) {
	whole, _ := recorded(f)
	z, _ := zstd.NewReader(nil)
	plain, err := z.DecodeAll(whole, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Add([]byte(`{"otto_recording":2}`))
	f.Add([]byte(`{"otto_recording":1,"interval_ns":-1,"wanted":{"nodes":[{"id":"a"}]}}` + "\n{}\n{}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		Read(bytes.NewReader(b))
		var packed bytes.Buffer // so that the lines are reached, too
		z, _ := zstd.NewWriter(&packed, zstd.WithEncoderConcurrency(1))
		z.Write(b)
		z.Close()
		r, err := Read(&packed)
		if err != nil && !errors.Is(err, ErrTorn) {
			return
		}
		s, err := r.Scenario()
		if err != nil || s.Length/s.Wanted.Interval > 1000 || len(s.Wanted.Services) > 20 {
			return
		}
		for _, of := range s.Wanted.Services {
			if of.Replicas > 20 {
				return
			}
		}
		p, _ := replay.Named("ours", 1)
		replay.Run(s, "ours", p)
	})
}

// TestOursIsBetterOnALab runs what BenchmarkRecording of bench has recorded: a household
// on two hosts that have room for all of it in one way, and before that one that was
// somewhat too large for them.
func TestOursIsBetterOnALab(t *testing.T) {
	for name, share := range map[string]float64{"household": 1.0 / 3, "crowded": 1.0 / 2} {
		f, err := os.Open("testdata/" + name + ".otto-recording")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := Read(f)
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.Scenario()
		if err != nil {
			t.Fatal(err)
		}
		of := map[string]replay.Result{}
		for _, policy := range []string{"ours", "threshold"} {
			p, err := replay.Named(policy, 1)
			if err != nil {
				t.Fatal(err)
			}
			of[policy] = replay.Run(s, policy, p)
		}
		ours, theirs := of["ours"], of["threshold"]
		if ours.Over.Seconds() > share*theirs.Over.Seconds() || ours.Moves == 0 || ours.Moves > theirs.Moves || ours.Hasty+ours.Returns > 0 {
			t.Errorf("%s: %+v, and by thresholds %+v", name, ours, theirs)
		}
	}
}
