package docker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/docker/go-units"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent/sampler"
)

// TestSamplerAgreesWithDockerStats compares a busy and an idle container over
// the same window: CPU within 2 points, memory within 1 %.
func TestSamplerAgreesWithDockerStats(t *testing.T) {
	r := startDockerd(t)
	half := instance("half", "sh", "-c", "while :; do :; done")
	half.Spec.Resources = otto.Resources{CPU: 0.5, MemoryBytes: 32 << 20}
	idle := instance("idle", "sleep", "600")
	// File cache that is in use and some that is not, so that both ways of
	// counting would be told apart.
	idle.Spec.Command = []string{"sh", "-c", "cat /bin/busybox /bin/busybox > /copy; cat /copy > /copy2; exec sleep 600"}
	for _, inst := range []otto.Instance{half, idle} {
		inst.Spec.StopGrace = time.Second
		start(t, r, inst)
	}
	running, err := r.Running(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := sampler.New(sampler.Options{})
	defer s.Close()

	// A quota is dealt out in slices of 100 ms and the machine has other work: what
	// is measured in a few windows must agree, taken together.
	var why string
	var sums [2][2]float64 // of CPU, ours and theirs
	for n := range 10 {
		s.Containers(time.Now(), running)
		theirs, err := r.Stats(t.Context(), running) // lasts its window of 1 to 2 s
		if err != nil {
			t.Fatal(err)
		}
		ours := s.Containers(time.Now(), running)
		why = disagreement(t, ours, theirs)
		for i := range ours {
			sums[i][0] += ours[i].CPUPercent
			sums[i][1] += theirs[i].CPUPercent
			if off := math.Abs(sums[i][0]-sums[i][1]) / float64(n+1); off > 2 {
				why += fmt.Sprintf("; %s: CPU differs by %.1f points", ours[i].Name, off)
			}
		}
		if why == "" {
			break
		}
	}
	if why != "" {
		t.Error(why)
	}
	for range 5 { // what is in the file cache changes while the command runs
		before := s.Containers(time.Now(), running)
		printed := printedMemory(t, r)
		if why = differs(before, s.Containers(time.Now(), running), printed); why == "" {
			return
		}
	}
	t.Error(why)
}

func disagreement(t *testing.T, ours, theirs []otto.ContainerSample) string {
	t.Helper()
	if len(ours) != 2 || len(theirs) != 2 {
		t.Fatalf("%d and %d samples, want 2", len(ours), len(theirs))
	}
	var why []string
	for i, a := range ours {
		b := theirs[i]
		if (a.Throttled != nil) != (a.Name == "half") {
			why = append(why, a.Name+": only half has a CPU limit")
		}
		t.Logf("%-5s CPU %6.2f %% and %6.2f %%, memory %d and %d of %d", a.Name, a.CPUPercent, b.CPUPercent, a.MemoryUsed, b.MemoryUsed, a.MemoryLimit)
		if !within(a.MemoryUsed, b.MemoryUsed, 0.01) {
			why = append(why, a.Name+": memory differs")
		}
		if a.MemoryLimit != b.MemoryLimit || a.BlockRead != b.BlockRead {
			why = append(why, a.Name+": limit or block I/O differs")
		}
		if (a.Throttled == nil) != (b.Throttled == nil) || a.Throttled != nil && math.Abs(*a.Throttled-*b.Throttled) > 10 {
			why = append(why, fmt.Sprintf("%s: what its CPU limit does differs: %v, %v", a.Name, a.Throttled, b.Throttled))
		}
		if a.NetSent != b.NetSent {
			why = append(why, a.Name+": network differs")
		}
	}
	return strings.Join(why, "; ")
}

// printedMemory is what docker stats prints, which is rounded to four digits, by
// container; nil where the command is not installed.
func printedMemory(t *testing.T, r *Runtime) map[string]uint64 {
	t.Helper()
	docker, err := exec.LookPath("docker")
	if err != nil {
		t.Log("the docker command is not installed: compared with the engine's API alone")
		return nil
	}
	cmd := exec.Command(docker, "-H", r.url, "stats", "--no-stream", "--no-trunc", "--format", "{{json .}}")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	printed := make(map[string]uint64)
	for line := range bytes.Lines(out) {
		var row struct{ ID, MemUsage string }
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatal(err)
		}
		used, _, _ := strings.Cut(row.MemUsage, " / ")
		n, err := units.RAMInBytes(used)
		if err != nil {
			t.Fatal(err)
		}
		printed[row.ID] = uint64(n)
	}
	return printed
}

// differs says what is printed that was not measured, before, after or between.
func differs(before, after []otto.ContainerSample, printed map[string]uint64) string {
	var why []string
	for i, s := range before {
		low, high := min(s.MemoryUsed, after[i].MemoryUsed), max(s.MemoryUsed, after[i].MemoryUsed)
		if p := printed[s.ID]; printed != nil && !within(low, p, 0.01) && !within(high, p, 0.01) && (p < low || p > high) {
			why = append(why, fmt.Sprintf("%s: memory %d to %d, docker stats prints %d", s.Name, low, high, p))
		}
	}
	return strings.Join(why, "; ")
}

func within(a, b uint64, share float64) bool {
	return math.Abs(float64(a)-float64(b)) <= share*float64(b)
}
