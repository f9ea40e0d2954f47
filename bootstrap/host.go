package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/otto-edge/otto/durable"
)

// host is a machine as a node to be: the local one, or one over SSH.
type host interface {
	// run runs a constant script with sh and returns its standard output. Values
	// reach it as lines of its standard input, so that none is ever shell text.
	run(ctx context.Context, script string, values ...string) (string, error)
	// put writes a file in one step: whoever looks sees the former content or the
	// new one, also after a crash. The directory must exist.
	put(ctx context.Context, path string, mode fs.FileMode, content io.Reader) error
	// get reads a file of at most limit bytes; fs.ErrNotExist says that there is none.
	get(ctx context.Context, path string, limit int64) ([]byte, error)
	// list is what is at a path and below it, most entries of it.
	list(ctx context.Context, path string, most int) ([]Found, error)
	// open runs a program, which must be closed before the host is.
	open(exe string, args ...string) (*Session, error)
	// seenFrom is the address by which the node can answer this machine, empty if
	// it is not known. sshConnection is that variable's value in the node's shell.
	seenFrom(sshConnection string) string
	Close() error
}

// Scripts, each for a POSIX sh (dash and busybox too). On their way through the
// login shell, whichever that is, they are in single quotes and so have none inside.
const (
	execScript  = `set --; while IFS= read -r word; do set -- "$@" "$word"; done; exec "$@"`
	mkdirScript = `umask 077; while IFS= read -r dir; do mkdir -p "$dir" || exit; done`
	pruneScript = `IFS= read -r dir; IFS= read -r keep; IFS= read -r former
cd "$dir/agents" || exit
for hash in *; do case "$hash" in "$keep"|"$former") ;; *) rm -rf "./$hash";; esac; done`
	removeScript = `IFS= read -r dir; [ -d "$dir" ] || exit 0
rm -rf "$dir/agents" "$dir/state" "$dir"/agent.* "$dir"/snapshot* || exit
rmdir "$dir" "${dir%/*}" 2>/dev/null; exit 0`
	disownScript = `IFS= read -r dir; rm -f "$dir/state/adopted.json"`
	logScript    = `IFS= read -r dir; tail -n 3 "$dir/agent.log"`
)

// stdin is values as a script's standard input.
func stdin(values []string) (io.Reader, error) {
	for _, v := range values {
		if strings.ContainsAny(v, "\n\x00") {
			return nil, fmt.Errorf("%q cannot be a path or an address", v)
		}
	}
	return strings.NewReader(strings.Join(append(values, ""), "\n")), nil
}

// output keeps the beginning of what a node says, however much that is.
type output struct{ bytes.Buffer }

const maxOutput = 1 << 20

func (o *output) Write(p []byte) (int, error) {
	o.Buffer.Write(p[:min(len(p), maxOutput-o.Len())])
	return len(p), nil
}

// reason is why a script failed: the last line of its complaint.
func reason(err error, stderr string) error {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return errors.New(last)
	}
	return err
}

// local is this machine.
type local struct {
	home string // HOME for the scripts; empty for the user's
}

func (l local) run(ctx context.Context, script string, values ...string) (string, error) {
	in, err := stdin(values)
	if err != nil {
		return "", err
	}
	var out, complaint output
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &complaint
	cmd.Env = os.Environ()
	if l.home != "" {
		cmd.Env = append(cmd.Env, "HOME="+l.home)
	}
	if err := cmd.Run(); err != nil {
		return out.String(), reason(err, complaint.String())
	}
	return out.String(), nil
}

func (l local) put(_ context.Context, path string, mode fs.FileMode, content io.Reader) error {
	f, err := os.OpenFile(path+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

func (local) get(_ context.Context, path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAtMost(f, limit)
}

func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("it is larger than %s", megabytes(limit))
	}
	return b, err
}

func (local) seenFrom(string) string { return "127.0.0.1" }

func (local) Close() error { return nil }
