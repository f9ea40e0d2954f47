// Package service keeps the agent running on its node: it starts the agent so
// that it outlives the SSH session that brought it, knows whether one runs,
// replaces it, stops it, and removes it without a trace.
//
// Everything is about one directory, the node directory of one cluster, which
// the agent's whole life on a machine is in:
//
//	agent.json             the enrolment, 0600
//	agents/HASH/otto-agent the binaries, the one in use and the former one
//	agent.pid              held locked by the agent that runs
//	agent.log              what it says, bounded in size
//	state/                 the agent's own
//
// Where systemd runs and the user may, a unit keeps the agent alive and brings
// it back at boot: a system unit for root, a user unit where lingering is on or
// can be switched on. Everywhere else the agent is a detached process, and the
// control plane brings it back over SSH.
//
// Whether an agent runs is told by the lock on agent.pid and by nothing else. A
// number in a file may belong to anybody after a crash; a lock ends with its
// holder, by whatever way that ends.
package service

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// How long Start and Stop wait. A Pi Zero with a slow card needs seconds to
// load a binary of ten megabytes.
const (
	readyWithin = 20 * time.Second
	stopWithin  = 10 * time.Second // after SIGTERM, before SIGKILL
	killWithin  = 5 * time.Second
	pollEvery   = 10 * time.Millisecond
)

// Start starts the binary that calls it in the background, as the agent of the
// node directory dir, and returns when it holds the directory's lock. It does
// nothing when this binary runs with the present agent.json already; an agent
// of another binary, or one that has read another agent.json, is replaced. An
// error carries the last lines of the agent's log. With anew every agent is replaced.
func Start(dir string, anew bool) error {
	u := unitOf(dir)
	if !u.usable() {
		return start(dir, anew, nil)
	}
	return start(dir, anew, &u)
}

// StartDetached is Start without systemd.
func StartDetached(dir string, anew bool) error { return start(dir, anew, nil) }

func start(dir string, anew bool, u *unit) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return err
	}
	now, err := running(dir)
	if err != nil {
		return err
	}
	if !anew && now.exe() == exe && now.enrolment == enrolmentHash(dir) {
		return nil
	}
	// From here to the end there may be no agent: a lost session must not end it halfway.
	signal.Ignore(syscall.SIGHUP)
	if err := halt(dir); err != nil {
		return err
	}
	from := logSize(dir)
	if u != nil && u.start(exe, dir) == nil {
		return await(dir, exe, from, nil)
	}
	exited, err := spawn(exe, dir)
	if err != nil {
		return fmt.Errorf("start %s: %w", exe, err)
	}
	return await(dir, exe, from, exited)
}

// spawn starts the agent in a session of its own. The channel delivers its end
// for as long as the caller lives.
func spawn(exe, dir string) (<-chan string, error) {
	log, err := os.OpenFile(filepath.Join(dir, logFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(exe, "run", "--dir", dir) //nolint:noctx // it outlives its starter
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan string, 1)
	go func() {
		_ = cmd.Wait()
		exited <- cmd.ProcessState.String()
	}()
	return exited, nil
}

// await returns when an agent of the binary exe holds dir.
func await(dir, exe string, logFrom int64, exited <-chan string) error {
	deadline := time.NewTimer(readyWithin)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if now, _ := running(dir); now.exe() == exe {
			return nil
		}
		select {
		case how := <-exited:
			return fmt.Errorf("the agent ended at once (%s): %s", how, tail(dir, logFrom))
		case <-deadline.C:
			return fmt.Errorf("the agent was not ready within %s: %s", readyWithin, tail(dir, logFrom))
		case <-tick.C:
		}
	}
}

// Stop ends the agent of dir, if one runs, and sees to it that a reboot does
// not bring it back. The containers are left as they are.
func Stop(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	u := unitOf(dir)
	if u.installed() {
		if err := u.ctl("disable"); err != nil {
			return err
		}
	}
	return halt(dir)
}

// Remove stops the agent of dir and removes its unit and everything of Otto's in
// dir, the agent's binaries too. A file that is not Otto's is left, and the
// directories with it.
func Remove(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := Stop(dir); err != nil {
		return err
	}
	if err := unitOf(dir).remove(); err != nil {
		return err
	}
	for _, pattern := range []string{"agents", "state", "agent.*", "snapshot*"} {
		paths, err := filepath.Glob(filepath.Join(globQuote(dir), pattern))
		if err != nil {
			return err
		}
		for _, p := range paths {
			if err := os.RemoveAll(p); err != nil {
				return err
			}
		}
	}
	os.Remove(dir)
	if parent := filepath.Dir(dir); filepath.Base(parent) == "otto" {
		os.Remove(parent)
	}
	return nil
}

// globQuote makes a path match only itself.
func globQuote(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// halt ends the agent of dir, first by its unit, so that systemd does not start
// it again.
func halt(dir string) error {
	if u := unitOf(dir); u.installed() {
		if err := u.ctl("stop"); err != nil {
			return err
		}
	}
	now, err := running(dir)
	if err != nil || now.pid == 0 {
		return err
	}
	steps := []struct {
		signal os.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, stopWithin}, {syscall.SIGKILL, killWithin}}
	if s := stateOf(now.pid); s == "T" || s == "t" { // one that is stopped ends by nothing else
		steps = steps[1:]
	}
	for _, step := range steps {
		if err := now.signal(dir, step.signal); err != nil {
			return fmt.Errorf("stop the agent (pid %d): %w", now.pid, err)
		}
		if released(dir, now.pid, step.wait) {
			return nil
		}
	}
	return fmt.Errorf(
		"the agent (pid %d) does not end, even by SIGKILL: its state is %s (D waits for a disk or a driver)",
		now.pid,
		stateOf(now.pid),
	)
}

// stateOf is how a process is by its kernel: R, S, D, T, ...; empty for none.
func stateOf(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b[bytes.LastIndexByte(b, ')')+1:]), " ")
	state, _, _ := strings.Cut(rest, " ")
	return state
}

func released(dir string, pid int, within time.Duration) bool {
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(pollEvery) {
		if now, err := running(dir); err == nil && now.pid != pid {
			return true
		}
	}
	return false
}

// tail is the end of the log from an offset on, in one line.
func tail(dir string, from int64) string {
	f, err := os.Open(filepath.Join(dir, logFile))
	if err != nil {
		return "it left no log"
	}
	defer f.Close()
	const most = 1 << 10
	if size := logSize(dir); size < from {
		from = 0
	} else {
		from = max(from, size-most)
	}
	b, err := io.ReadAll(io.NewSectionReader(f, from, most))
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	if err != nil || len(lines[0]) == 0 {
		return "it logged nothing"
	}
	return string(bytes.Join(lines[max(0, len(lines)-5):], []byte(" | ")))
}
