package bench

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/otto-edge/otto/e2e/lab"
)

// BenchmarkAgentBeside is an agent with 50 containers, sampled every second, beside that of a
// former build in the same run: OTTO_FORMER is the path of that otto, see scripts/former.
//
//	rss-MB     the agent's resident memory, the mean of the last quarter of a minute
//	rss-more   how much more that is than the former one's, in MB
//	back-s     from the moment an agent is killed until the control plane has a new sample of
//	           its node, the median of eleven; up to a second of that is the interval
//	back-ratio that divided by the former one's
func BenchmarkAgentBeside(b *testing.B) {
	former := os.Getenv("OTTO_FORMER")
	if former == "" {
		b.Skip("needs an otto of before: OTTO_FORMER=$(scripts/former b0120a9)")
	}
	soak := soak(b, time.Minute)
	l := lab.Up(b, 1)
	l.Images()
	l.Host("n1").Load("otto-echo:1")
	yaml := nodes(l, 1, "1s") + "  - {name: echo, image: 'otto-echo:1', replicas: 50}\n"
	measured := func(program string) (rss, back float64) {
		c := lab.NewCluster(b, yaml)
		now := c.Path
		if program != "" {
			c.Path = program
		}
		c.Start()
		lab.Until(b, "50 containers are sampled", func() bool { return sampled(c.Status()) == 50 })
		var times []float64
		for range 11 {
			killed := time.Now()
			l.Host("n1").Exec("pkill", "-KILL", "-x", "otto-agent")
			lab.Until(b, "a new sample", func() bool {
				s := c.Status().Nodes[0].Sample
				return s != nil && s.Time.After(killed)
			})
			times = append(times, time.Since(killed).Seconds())
			time.Sleep(2 * time.Second)
		}
		slices.Sort(times)
		lab.Until(b, "50 containers are sampled again", func() bool { return sampled(c.Status()) == 50 })
		list := watch(b, l.Host("n1").Processes("otto-agent")[0], soak)
		c.Path = now // which has the flags that are written here
		c.Run("cluster", "uninstall", "--volumes", "--yes")
		return mean(list[len(list)*3/4:]), times[len(times)/2]
	}
	for b.Loop() {
		wasRSS, wasBack := measured(former)
		rss, back := measured("")
		b.Logf("former: %.1f MB, back after %.2f s; now: %.1f MB, %.2f s", wasRSS, wasBack, rss, back)
		b.ReportMetric(rss, "rss-MB")
		b.ReportMetric(rss-wasRSS, "rss-more")
		b.ReportMetric(back, "back-s")
		b.ReportMetric(back/wasBack, "back-ratio")
		b.ReportMetric(0, "ns/op")
	}
}
