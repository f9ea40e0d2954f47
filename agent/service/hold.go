package service

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	pidFile       = "agent.pid"
	logFile       = "agent.log"
	enrolmentFile = "agent.json"
	maxLog        = 1 << 20 // bytes of agent.log; as much again in agent.log.1
	checkLogEvery = time.Minute
)

// Hold makes the calling process the agent of dir until release is called or
// the process ends, however it ends. It fails while another agent holds dir. The
// pid file says who holds it, and the hash of the agent.json that was there: read
// agent.json after Hold. Until release the log is kept within its bounds.
func Hold(dir string) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, pidFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("hold the node directory: %w", err)
	}
	// An open file description lock is, unlike that of flock(2), one that others
	// can ask about without taking it for a moment.
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return nil, fmt.Errorf("another agent (pid %d) serves %s", readPidFile(f).pid, dir)
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if err := writePidFile(f, agent{pid: os.Getpid(), enrolment: enrolmentHash(dir)}); err != nil {
		f.Close()
		return nil, fmt.Errorf("write %s: %w", f.Name(), err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		boundLogs(dir, stop)
	}()
	return func() {
		close(stop)
		<-stopped
		f.Close()
	}, nil
}

// agent is who holds a node directory; the zero agent is nobody.
type agent struct {
	pid       int
	enrolment string // hash of the agent.json that it has read
}

// running returns the agent that holds dir.
func running(dir string) (agent, error) {
	f, err := os.Open(filepath.Join(dir, pidFile))
	if errors.Is(err, fs.ErrNotExist) {
		return agent{}, nil
	}
	if err != nil {
		return agent{}, err
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return agent{}, fmt.Errorf("ask for the lock of %s: %w", f.Name(), err)
	}
	if lock.Type == unix.F_UNLCK {
		return agent{}, nil
	}
	return readPidFile(f), nil
}

// exe is the path of the agent's binary, empty for nobody.
func (a agent) exe() string {
	if a.pid == 0 {
		return ""
	}
	path, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", a.pid))
	return path
}

// signal reaches the process that holds dir, and never one that was given its
// number afterwards: the handle is taken first and the lock is asked again then.
func (a agent) signal(dir string, s os.Signal) error {
	p, err := os.FindProcess(a.pid)
	if err != nil {
		return err
	}
	defer func() { _ = p.Release() }()
	if now, err := running(dir); err != nil || now.pid != a.pid {
		return err
	}
	if err := p.Signal(s); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func writePidFile(f *os.File, a agent) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(fmt.Appendf(nil, "%d\n%s\n", a.pid, a.enrolment), 0)
	return err
}

func readPidFile(r io.ReaderAt) agent {
	b := make([]byte, 64)
	n, _ := r.ReadAt(b, 0)
	return parsePidFile(string(b[:n]))
}

func parsePidFile(s string) agent {
	first, rest, _ := strings.Cut(s, "\n")
	pid, err := strconv.Atoi(first)
	if err != nil || pid <= 1 {
		return agent{}
	}
	enrolment, _, _ := strings.Cut(rest, "\n")
	return agent{pid: pid, enrolment: enrolment}
}

// enrolmentHash is the first 16 hex digits of the SHA-256 of agent.json, empty
// when there is none.
func enrolmentHash(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, enrolmentFile))
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

func boundLogs(dir string, stop <-chan struct{}) {
	tick := time.NewTicker(checkLogEvery)
	defer tick.Stop()
	for {
		_ = boundLog(filepath.Join(dir, logFile), maxLog) // tried again at the next look
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// boundLog moves the content of a log over the limit to a second file. The log
// itself is emptied in place, because its writers have it open for appending;
// lines written between copy and truncation are lost.
func boundLog(path string, limit int64) error {
	info, err := os.Stat(path)
	if err != nil || info.Size() <= limit {
		return err
	}
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(path+".1", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, io.NewSectionReader(in, max(0, info.Size()-limit), limit)); err != nil {
		return err
	}
	return os.Truncate(path, 0)
}

func logSize(dir string) int64 {
	info, err := os.Stat(filepath.Join(dir, logFile))
	if err != nil {
		return 0
	}
	return info.Size()
}
