package docker

import (
	"context"
	"encoding/json"
	"slices"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/otto-edge/otto"
)

// statsAtOnce bounds how many containers an engine is asked about together.
const statsAtOnce = 16

// Stats reads running containers through the engine, for engines on another
// machine, whose cgroup files cannot be read. It takes 1 to 2 s, because the
// engine compares two readings of its own. Containers that have ended are left out.
func (r *Runtime) Stats(ctx context.Context, running []otto.RunningContainer) ([]otto.ContainerSample, error) {
	samples := make([]otto.ContainerSample, len(running))
	err := r.call(ctx, shortCall, "read stats", func(ctx context.Context, c *client.Client) error {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(statsAtOnce)
		for i, rc := range running {
			group.Go(func() error {
				stats, err := readStats(ctx, c, rc.ID)
				if err != nil || stats.Read.IsZero() {
					return err
				}
				samples[i] = sampleOf(rc, stats)
				return nil
			})
		}
		return group.Wait()
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(samples, func(s otto.ContainerSample) bool { return s.ID == "" }), nil
}

// readStats returns zero stats for a container that has ended.
func readStats(ctx context.Context, c *client.Client, id string) (container.StatsResponse, error) {
	var stats container.StatsResponse
	answer, err := c.ContainerStats(ctx, id, client.ContainerStatsOptions{IncludePreviousSample: true})
	if cerrdefs.IsNotFound(err) {
		return stats, nil
	}
	if err != nil {
		return stats, err
	}
	defer answer.Body.Close()
	if err = json.NewDecoder(answer.Body).Decode(&stats); ctx.Err() != nil {
		return stats, ctx.Err()
	}
	return stats, err
}

// sampleOf computes what the docker stats command shows, by the formulas of
// cli/command/container/stats_helpers.go in github.com/docker/cli.
func sampleOf(rc otto.RunningContainer, s container.StatsResponse) otto.ContainerSample {
	sample := otto.ContainerSample{
		ID:          rc.ID,
		Name:        rc.Name,
		CPUPercent:  cpuPercent(s.PreCPUStats, s.CPUStats),
		MemoryUsed:  memoryUsed(s.MemoryStats),
		MemoryLimit: s.MemoryStats.Limit,
	}
	if before, after := s.PreCPUStats.ThrottlingData, s.CPUStats.ThrottlingData; after.Periods > 0 {
		share := 0.0
		if periods := float64(after.Periods) - float64(before.Periods); before.Periods > 0 && periods > 0 {
			share = max(0, min(100, 100*(float64(after.ThrottledPeriods)-float64(before.ThrottledPeriods))/periods))
		}
		sample.Throttled = &share
	}
	for _, n := range s.Networks {
		sample.NetRecv += n.RxBytes
		sample.NetSent += n.TxBytes
	}
	for _, e := range s.BlkioStats.IoServiceBytesRecursive {
		switch e.Op {
		case "Read", "read":
			sample.BlockRead += e.Value
		case "Write", "write":
			sample.BlockWrite += e.Value
		}
	}
	return sample
}

// cpuPercent is of one core.
func cpuPercent(before, after container.CPUStats) float64 {
	used := float64(after.CPUUsage.TotalUsage) - float64(before.CPUUsage.TotalUsage)
	system := float64(after.SystemUsage) - float64(before.SystemUsage)
	if used <= 0 || system <= 0 {
		return 0
	}
	cores := int(after.OnlineCPUs)
	if cores == 0 {
		cores = len(after.CPUUsage.PercpuUsage)
	}
	return used / system * float64(cores) * 100
}

// memoryUsed is without file cache that is not in use, which cgroup v1 and v2
// name differently.
func memoryUsed(m container.MemoryStats) uint64 {
	for _, key := range []string{"total_inactive_file", "inactive_file"} {
		if cache, ok := m.Stats[key]; ok && cache < m.Usage {
			return m.Usage - cache
		}
	}
	return m.Usage
}
