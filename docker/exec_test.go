package docker

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// execEngine has a container x in which commands say output, and go on until the
// connection is closed if they hang; state is what the engine says of them then.
func execEngine(t *testing.T, output, state string, hang bool) (*Runtime, *atomic.Int64) {
	var started atomic.Int64
	f := &fakeEngine{handlers: map[string]http.HandlerFunc{
		"POST /containers/x/exec": says(`{"Id": "e"}`),
		"GET /exec/e/json":        says(state),
		"POST /exec/e/start": func(w http.ResponseWriter, r *http.Request) {
			started.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
			for part := range strings.Lines(output) {
				frame := binary.BigEndian.AppendUint32([]byte{2, 0, 0, 0}, uint32(len(part)))
				if _, err := conn.Write(append(frame, part...)); err != nil {
					return
				}
			}
			if hang {
				_, _ = conn.Read(make([]byte, 1))
			}
		},
	}}
	return fake(t, f), &started
}

func TestExecSaysWhyACommandFailed(t *testing.T) {
	long := strings.Repeat("much to say\n", 100_000)
	for name, tc := range map[string]struct{ output, state, failed, err string }{
		"well":           {"fine\n", `{"ExitCode": 0}`, "", ""},
		"badly":          {"trying\nno answer\n", `{"ExitCode": 2}`, "exit code 2: no answer", ""},
		"silently":       {"", `{"ExitCode": 1}`, "exit code 1", ""},
		"at length":      {long, `{"ExitCode": 1}`, "exit code 1: much to say", ""},
		"nobody knows":   {"", `nonsense`, "", "exec in x: "},
		"without an end": {strings.Repeat("x", 1<<20), `{"ExitCode": 1}`, "exit code 1: " + strings.Repeat("x", execOutput), ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := execEngine(t, tc.output, tc.state, false)
			failed, err := r.Exec(t.Context(), "x", []string{"check"})
			if failed != tc.failed || (err == nil) != (tc.err == "") || err != nil && !strings.HasPrefix(err.Error(), tc.err) {
				t.Errorf("failed %q, error %v", failed, err)
			}
		})
	}
}

// TestCommandThatHangsIsNotJoinedByOthers: one that cannot be killed, because
// its process is not known here.
func TestCommandThatHangsIsNotJoinedByOthers(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	r, started := execEngine(t, "", `{"Running": true, "Pid": 0}`, true)
	for _, want := range []string{"it did not end in time", "the command before it has not ended yet"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if failed, err := r.Exec(ctx, "x", []string{"hang"}); failed != want || err != nil {
			t.Errorf("failed %q, error %v, want %q", failed, err, want)
		}
		cancel()
	}
	if n := started.Load(); n != 1 {
		t.Errorf("%d commands were started", n)
	}
	if r.client.Load() == nil {
		t.Error("the connection to the engine was dropped, which did nothing wrong")
	}
	r.Close()
	waitFor(t, "nothing left behind", func() bool { return goleak.Find(ignore, goleak.IgnoreAnyFunction("net/http.(*Server).Serve")) == nil })
}

func TestExecGivenUpByItsCallerIsNoFailure(t *testing.T) {
	r, _ := execEngine(t, "", `{"Running": true, "Pid": 0}`, true)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if failed, err := r.Exec(ctx, "x", []string{"hang"}); failed != "" || err == nil {
		t.Errorf("failed %q, error %v", failed, err)
	}
}
