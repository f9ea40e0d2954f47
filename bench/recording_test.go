package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto/control/replay"
	"github.com/otto-edge/otto/e2e/lab"
)

// task is what a service of a home does with a processor: a share of a core all the
// time, and more for a while now and then.
type task struct {
	name, home   string
	base, peak   float64       // shares of a core
	every, lasts time.Duration // how often the peak comes, and how long it lasts
	after        time.Duration // when it comes for the first time
}

// household is what runs: a recorder of cameras, which is large and steady, and what
// is small. The limit is 70 % of each host's core, of which Otto and the engine take some
// 10 %: n1 is beyond it when web and backup are busy, and both hosts keep to it, whatever
// is busy, if backup or web is on n2. Not with the recorder there, as photos are.
func household() []task {
	return []task{
		{name: "recorder", home: "n1", base: 0.38},
		{name: "web", home: "n1", base: 0.06, peak: 0.16, every: 4 * time.Minute, lasts: time.Minute, after: 2 * time.Minute},
		{name: "sensors", home: "n2", base: 0.05},
		{name: "backup", home: "n1", base: 0.02, peak: 0.22, every: 5 * time.Minute, lasts: 90 * time.Second, after: time.Minute},
		{name: "photos", home: "n2", base: 0.02, peak: 0.14, every: 4 * time.Minute, lasts: 2 * time.Minute, after: 90 * time.Second},
		{name: "search", home: "n2", base: 0.08},
	}
}

// at is the share that it takes some time after the start.
func (t task) at(since time.Duration) float64 {
	if t.every > 0 && since >= t.after && (since-t.after)%t.every < t.lasts {
		return t.peak
	}
	return t.base
}

// burn has a service take a share of a core for some seconds, on whichever host it is.
func (t task) burn(ctx context.Context, hosts []*lab.Host, port int, share float64, lasts time.Duration) {
	client := http.Client{Timeout: time.Second}
	for _, h := range hosts {
		url := fmt.Sprintf("http://%s:%d/burn?cpu=%.3f&for=%s", h.IP, port, share, lasts)
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
		if err != nil {
			return
		}
		if res, err := client.Do(r); err == nil {
			res.Body.Close()
			return
		}
	}
}

// BenchmarkRecording records a lab of two hosts with a core each, on which services
// take what a household's do, for as long as OTTO_BENCH_SOAK says (two minutes by
// default), and runs all policies on the recording. With OTTO_BENCH_KEEP it is kept
// under that name.
//
//	over-s   by our policy, time that a node's processor is beyond its limit
//	moves    by our policy
//	theirs-  the same by the threshold-only policy
func BenchmarkRecording(b *testing.B) {
	length := soak(b, 2*time.Minute)
	l := lab.Up(b, 2)
	l.Images()
	hosts := []*lab.Host{l.Host("n1"), l.Host("n2")}
	for i, h := range hosts {
		h.Load("otto-echo:1")
		h.Cores(fmt.Sprint(i))
	}
	tasks := household()
	var yaml strings.Builder
	yaml.WriteString(nodes(l, 2, "1s"))
	for i, t := range tasks {
		fmt.Fprintf(&yaml, "  - {name: %s, image: 'otto-echo:1', node: %s, failover: move, ports: ['%d:8080']}\n", t.name, t.home, 8081+i)
	}
	c := lab.NewCluster(b, "requirements: [\"node.cpu < 70% for 10s -> migrate\"]\n"+yaml.String())
	c.Start()

	ctx, cancel := context.WithTimeout(b.Context(), length)
	defer cancel()
	const slice = 2 * time.Second
	for i, t := range tasks {
		go func() {
			began := time.Now()
			for tick := time.NewTicker(slice); ctx.Err() == nil; <-tick.C {
				t.burn(ctx, hosts, 8081+i, t.at(time.Since(began)), slice)
			}
		}()
	}
	file := filepath.Join(b.TempDir(), "lab.otto-recording")
	if keep := os.Getenv("OTTO_BENCH_KEEP"); keep != "" {
		file = keep
	}
	out, err := c.Command(b.Context(), "record", file, "--for", (length - 5*time.Second).String()).CombinedOutput()
	if err != nil {
		b.Fatalf("record: %v\n%s", err, out)
	}
	b.Logf("%s\n%s\n%s", out, c.Run("simulate", "--from", file, "--policy", "all"), c.Run("events"))
	var simulated struct{ Results []replay.Result }
	if err := json.Unmarshal([]byte(c.Run("simulate", "--from", file, "--policy", "ours", "--policy", "threshold", "--output", "json")), &simulated); err != nil {
		b.Fatal(err)
	}
	ours, theirs := simulated.Results[0], simulated.Results[1]
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ours.Over.Seconds(), "over-s")
	b.ReportMetric(theirs.Over.Seconds(), "theirs-over-s")
	b.ReportMetric(float64(ours.Moves), "moves")
	b.ReportMetric(float64(theirs.Moves), "theirs-moves")
}
