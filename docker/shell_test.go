package docker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/shell"
)

// personInAContainer runs commands as `otto exec` does, without the network between.
func personInAContainer(t *testing.T, r *Runtime) {
	inst := instance("person", "sleep", "600")
	inst.Spec.StopGrace = time.Second
	id := start(t, r, inst)
	run := func(ctx context.Context, c shell.Command, e shell.Ends) (int, error) {
		client, node := net.Pipe()
		defer client.Close()
		go func() {
			_ = shell.Serve(context.WithoutCancel(ctx), r, node, node)
			node.Close()
		}()
		if err := shell.Ask(client, shell.Place{Instance: "person"}, c); err != nil {
			return 0, err
		}
		return shell.Attach(ctx, client, e)
	}
	sh := func(script string) shell.Command {
		return shell.Command{Args: []string{"sh", "-c", script}, In: true}
	}
	terminal := func(script string) shell.Command {
		c := sh(script)
		c.TTY, c.Size = true, shell.Size{Width: 80, Height: 24}
		return c
	}
	as := sh("id -u; pwd; echo $A")
	as.User, as.Dir, as.Env = "1000:1000", "/bin", []string{"A=b c"}
	resized := make(chan shell.Size, 1)
	resized <- shell.Size{Width: 120, Height: 40}
	for name, test := range map[string]struct {
		command  shell.Command
		in       io.Reader
		sizes    chan shell.Size
		out, err string
		code     int
	}{
		"output, errors, input and exit code": {command: sh("cat; echo err >&2; exit 7"), in: strings.NewReader("in\n"), out: "in\n", err: "err\n", code: 7},
		"as another user":                     {command: as, out: "1000\n/bin\nb c\n"},
		"no such program":                     {command: shell.Command{Args: []string{"/no/such"}}, code: 126},
		"a terminal":                          {command: terminal(untilSize("24 80") + "echo err >&2"), out: "err\r\n"},
		"a terminal that is resized":          {command: terminal(untilSize("40 120") + "echo seen"), sizes: resized, out: "seen\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var out, errs bytes.Buffer
			code, err := run(ctx, test.command, shell.Ends{In: test.in, Out: &out, Err: &errs, Sizes: test.sizes})
			if code != test.code || err != nil {
				t.Fatalf("exit code %d, %v\n%s%s", code, err, &out, &errs)
			}
			if name == "no such program" {
				return // what is said of it is the engine's
			}
			if diff := cmp.Diff([]string{test.out, test.err}, []string{out.String(), errs.String()}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("Ctrl-C on a terminal", func(t *testing.T) {
		in, keys := io.Pipe()
		ready := sync.OnceFunc(func() { go func() { _, _ = io.WriteString(keys, "\x03") }() })
		code, err := run(t.Context(), terminal("busybox stty -echo; echo ready; sleep 601; exit 1"),
			shell.Ends{In: in, Out: then(ready), Err: io.Discard})
		if code != 130 || err != nil {
			t.Errorf("exit code %d, %v", code, err)
		}
	})
	t.Run("an interrupt", func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		code, err := run(ctx, sh("trap 'exit 5' INT; echo ready; while :; do sleep 0.1; done"),
			shell.Ends{Out: then(interrupt), Err: io.Discard})
		if code != 5 || err != nil {
			t.Errorf("exit code %d, %v", code, err)
		}
	})
	t.Run("nobody waits any more", func(t *testing.T) {
		client, node := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- shell.Serve(t.Context(), r, node, node) }()
		if err := shell.Ask(client, shell.Place{Instance: "person"}, sh("echo ready; exec sleep 602")); err != nil {
			t.Fatal(err)
		}
		_, err := shell.Attach(t.Context(), client, shell.Ends{Out: refuses{}, Err: io.Discard})
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Fatal(err)
		}
		node.Close()
		<-served
		if failed, err := r.Exec(t.Context(), id,
			[]string{"sh", "-c", "! busybox pgrep -f 'sleep 602'"}); failed != "" ||
			err != nil {
			t.Errorf("it still runs: %s, %v", failed, err)
		}
	})
}

// untilSize is a script that waits until the terminal has a size, in rows and columns.
func untilSize(size string) string {
	return `until [ "$(busybox stty size 2>/dev/null)" = "` + size + `" ]; do busybox usleep 10000; done; `
}

// then calls a function when something is written.
type then func()

func (f then) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

// refuses is an output that is closed.
type refuses struct{}

func (refuses) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
