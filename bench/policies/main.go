// Command policies compares policies of moving services over many drawn clusters:
// a table, and a plot with a point for each policy and seed.
//
//	go run ./bench/policies -seeds 20 -out bench/results/NAME
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/otto-edge/otto/control/replay"
)

func main() {
	seeds := flag.Int("seeds", 20, "how many clusters")
	names := flag.String("policies", strings.Join(replay.Policies(), ","), "which ones; ours and threshold must be among them")
	first := flag.Uint64("first", 1, "the seed of the first one")
	nodes := flag.Int("nodes", 50, "nodes of each")
	services := flag.Int("services", 200, "services of each")
	days := flag.Int("days", 7, "days of each")
	settle := flag.Duration("settle", 0, "decisions.settle; 0: the default")
	out := flag.String("out", "", "write the table to this name with .txt, and the plot with .svg")
	flag.Parse()
	size := replay.Size{Nodes: *nodes, Services: *services, Length: time.Duration(*days) * 24 * time.Hour}
	results, longest := runAll(strings.Split(*names, ","), *first, uint64(*seeds), size, *settle)
	var text strings.Builder
	fmt.Fprintf(&text, "%d nodes, %d services, %d days, seeds %d to %d, settle %v (0s: the default); %s, %d cores\n\n", *nodes, *services, *days, *first, *first+uint64(*seeds)-1, *settle, runtime.Version(), runtime.NumCPU())
	write(&text, results, *first)
	fmt.Fprintf(&text, "\nlongest run: %.1f s\n", longest.Seconds())
	fmt.Print(text.String())
	if *out == "" {
		return
	}
	for name, content := range map[string]string{*out + ".txt": text.String(), *out + ".svg": plot(results)} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// runAll runs each policy on each seed, as many at a time as there are cores. The
// results of a policy are in the order of seeds.
func runAll(names []string, first, seeds uint64, size replay.Size, settle time.Duration) (results map[string][]replay.Result, longest time.Duration) {
	results = map[string][]replay.Result{}
	var mu sync.Mutex
	var all sync.WaitGroup
	turn := make(chan struct{}, runtime.NumCPU())
	for _, name := range names {
		results[name] = make([]replay.Result, seeds)
	}
	for seed := range seeds {
		turn <- struct{}{}
		all.Go(func() {
			defer func() { <-turn }()
			scenario := replay.Draw(first+seed, size)
			scenario.Wanted.Decisions.Settle = settle
			for _, name := range names {
				policy, err := replay.Named(name, first+seed)
				if err != nil {
					panic(err) // it is one of Policies
				}
				began := time.Now()
				r := replay.Run(scenario, name, policy)
				mu.Lock()
				results[name][seed], longest = r, max(longest, time.Since(began))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return results, longest
}

// write writes means over the seeds, and how ours compares.
func write(to io.Writer, results map[string][]replay.Result, first uint64) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "mean of a seed\tover, h\tearly, h\tviolated, h\tmoves\toutage, min\tdown, min\tfailovers\thasty\treturns\tuseless\t")
	for _, name := range replay.Policies() {
		if len(results[name]) == 0 {
			continue
		}
		fmt.Fprintf(w, "%s\t", name)
		for _, of := range []func(replay.Result) float64{
			over, early, violated, moves,
			func(r replay.Result) float64 { return r.Outage.Minutes() }, func(r replay.Result) float64 { return r.Down.Minutes() },
			func(r replay.Result) float64 { return float64(r.Failovers) }, func(r replay.Result) float64 { return float64(r.Hasty) },
			func(r replay.Result) float64 { return float64(r.Returns) }, func(r replay.Result) float64 { return float64(r.Useless) },
		} {
			fmt.Fprintf(w, "%.1f\t", mean(results[name], of))
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	fmt.Fprint(to, legend)
	ours, other := results["ours"], results["threshold"]
	var ratios []float64
	third, fewer, hasty := 0, 0, 0
	var above strings.Builder
	for i := range ours {
		ratio := over(ours[i]) / over(other[i])
		ratios = append(ratios, ratio)
		if ratio <= 1.0/3 {
			third++
		} else {
			fmt.Fprintf(&above, "seed %d: %.2f, of which %.2f early (%.1f h of %.1f h)\n", first+uint64(i), ratio, early(ours[i])/over(other[i]), early(ours[i]), over(other[i]))
		}
		if ours[i].Moves <= other[i].Moves {
			fewer++
		}
		hasty += ours[i].Hasty + ours[i].Returns
	}
	slices.Sort(ratios)
	fmt.Fprintf(to, "\nours/threshold, time over limits: %.2f of the means; by seed %.2f to %.2f, median %.2f; at most 1/3 in %d of %d seeds\n",
		mean(ours, over)/mean(other, over), ratios[0], ratios[len(ratios)-1], ratios[len(ratios)/2], third, len(ours))
	fmt.Fprint(to, above.String())
	fmt.Fprintf(to, "ours/threshold, time violated by verdicts: %.2f of the means\n", mean(ours, violated)/mean(other, violated))
	fmt.Fprintf(to, "no more moves than threshold in %d of %d seeds; moves of ours within cooldown or back within return_after: %d\n", fewer, len(ours), hasty)
}

// legend says what is counted.
const legend = `
over: newest samples beyond a limit, summed over the requirements of all nodes and instances, of an instance where it
runs, also while it is moved; early: the part of it in which the requirement is not violated by its window and time, so
that no policy may act; violated: as verdicts have it, which begin anew where a service comes to
`

func over(r replay.Result) float64     { return r.Over.Hours() }
func early(r replay.Result) float64    { return r.Early.Hours() }
func violated(r replay.Result) float64 { return r.Violated.Hours() }
func moves(r replay.Result) float64    { return float64(r.Moves) }

func mean(list []replay.Result, of func(replay.Result) float64) (sum float64) {
	for _, r := range list {
		sum += of(r)
	}
	return sum / float64(len(list))
}
