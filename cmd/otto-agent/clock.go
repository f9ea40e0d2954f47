package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/otto-edge/otto/agent"
)

// bootClock is the machine's time since boot, suspensions included.
func bootClock() (agent.Clock, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return agent.Clock{}, fmt.Errorf("the kernel does not name its boot: %w", err)
	}
	return agent.Clock{Hardware: hardware("/sys"), Boot: strings.TrimSpace(string(boot)), Now: sinceBoot}, nil
}

func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // a clock that every kernel has: cannot happen
	}
	return time.Duration(t.Nano())
}
