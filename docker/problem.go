package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/otto-edge/otto"
)

// explain turns an error of the engine, or of the way to it, into one line that
// says what to try. The cause stays in the chain.
func (r *Runtime) explain(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return silence{fmt.Sprintf("the engine at %s does not answer in time: look at its log, or restart it", r.url), err}
	case errors.Is(err, fs.ErrNotExist):
		return silence{fmt.Sprintf("no container engine at %s: install docker.io there, or set docker_url", r.url), err}
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		name, path := userName(), strings.TrimPrefix(r.url, "unix://")
		return silence{fmt.Sprintf("user %s may not use %s: run `sudo usermod -aG docker %s` there and log in again", name, path, name), err}
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
		return silence{fmt.Sprintf("nothing answers at %s: is the engine running? Try `sudo systemctl start docker` there", r.url), err}
	case unreachable(err):
		return silence{fmt.Sprintf("the connection to the engine at %s broke: is it being restarted?", r.url), err}
	}
	return problem{tidy(err.Error()), err}
}

// problem is an error in words for people, with its cause.
type problem struct {
	text  string
	cause error
}

func (p problem) Error() string { return p.text }
func (p problem) Unwrap() error { return p.cause }

// silence is a problem for which an otto.ErrNoAnswer is the reason.
type silence problem

func (silence) Is(target error) bool { return target == otto.ErrNoAnswer }
func (s silence) Error() string      { return s.text }
func (s silence) Unwrap() error      { return s.cause }

var (
	// noise is what engines and runtimes put around the cause of an error.
	noise = regexp.MustCompile(`(?i)^(error response from daemon|failed to create (shim task|task for container)|oci runtime create failed|runc create failed|container_linux\.go:\d+|process_linux\.go:\d+|starting container process caused|unable to start container process|error during container init|driver failed programming external connectivity on endpoint \S+ \([0-9a-f]+\)): `)
	tail  = regexp.MustCompile(`(: unknown)?\.?\s*$`)
)

// tidy leaves the cause of an engine's message, on one line.
func tidy(msg string) string {
	msg = strings.Join(strings.Fields(msg), " ")
	for noise.MatchString(msg) {
		msg = noise.ReplaceAllString(msg, "")
	}
	return tail.ReplaceAllString(msg, "")
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}
