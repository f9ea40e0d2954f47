package examine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/otto-edge/otto/doctor"
)

// Disks are the file systems of the paths that are there.
func Disks(paths ...string) []doctor.Disk {
	var list []doctor.Disk
	for _, p := range paths {
		var st unix.Statfs_t
		if p == "" || unix.Statfs(p, &st) != nil {
			continue
		}
		block := uint64(st.Bsize)
		list = append(list, doctor.Disk{
			Path: p, Free: uint64(st.Bavail) * block, Total: uint64(st.Blocks) * block, //nolint:unconvert // likewise
			FreeFiles: uint64(st.Ffree), TotalFiles: uint64(st.Files), //nolint:unconvert // likewise
		})
	}
	return list
}

// distinct keeps one path of each file system.
func distinct(disks []doctor.Disk) []doctor.Disk {
	seen := map[uint64]bool{}
	return slices.DeleteFunc(disks, func(d doctor.Disk) bool {
		var st unix.Stat_t
		if unix.Stat(d.Path, &st) != nil {
			return false
		}
		dev := uint64(st.Dev) //nolint:unconvert // another type on other systems
		twice := seen[dev]
		seen[dev] = true
		return twice
	})
}

const (
	syncWrites = 100
	syncSize   = 4 << 10 // bytes, about what a small change of the store is
	syncWithin = 4 * time.Second
	syncHangs  = 6 * time.Second
)

// Sync measures how long small writes to dir take until they are on the disk. It
// ends early on a slow one. Nothing is left in dir, whatever happens.
func Sync(ctx context.Context, dir string) doctor.Sync {
	type result struct {
		took []time.Duration
		err  error
	}
	done := make(chan result, 1)
	go func() {
		took, err := syncTimes(ctx, dir)
		done <- result{took, err}
	}()
	s := doctor.Sync{Path: dir}
	hangs := time.NewTimer(syncHangs)
	defer hangs.Stop()
	select {
	case r := <-done:
		if r.err != nil {
			s.Problem = reason(r.err)
		}
		if s.Writes = len(r.took); s.Writes > 0 {
			slices.Sort(r.took)
			s.P50, s.P99 = rank(r.took, 50), rank(r.took, 99)
		}
	case <-hangs.C:
		s.Problem = fmt.Sprintf("a write is not done within %s", syncHangs)
	}
	return s
}

// rank is the nearest-rank percentile of sorted times.
func rank(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)*percent+99)/100-1]
}

func syncTimes(ctx context.Context, dir string) ([]time.Duration, error) {
	f, err := os.CreateTemp(dir, "agent.fsync-*")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	var took []time.Duration
	block := make([]byte, syncSize)
	for began := time.Now(); len(took) < syncWrites && ctx.Err() == nil && time.Since(began) < syncWithin; {
		from := time.Now()
		if _, err := f.WriteAt(block, int64(len(took))*syncSize); err != nil {
			return took, err
		}
		if err := f.Sync(); err != nil {
			return took, err
		}
		took = append(took, time.Since(from))
	}
	return took, nil
}

// reason leaves out the path, which changes each time.
func reason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}
