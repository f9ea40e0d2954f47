package docker

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func containsSecret(s string) bool { return strings.Contains(s, "hunter2") }

// home is who the containers of these tests are made for.
var home = otto.Owner{Cluster: "home", ClusterID: "c1", Node: "n1"}

func newRuntime(t *testing.T, url string) *Runtime {
	t.Helper()
	r, err := New(url, home, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestEngineOutOfReachSaysWhatToTry(t *testing.T) {
	r := newRuntime(t, "unix:///var/run/docker.sock")
	name := userName()
	for _, tc := range []struct {
		err  error
		want string
	}{
		{syscall.ENOENT, "no container engine at unix:///var/run/docker.sock: install docker.io there, or set docker_url"},
		{syscall.EACCES, "user " + name + " may not use /var/run/docker.sock: run `sudo usermod -aG docker " + name + "` there and log in again"},
		{syscall.ECONNREFUSED, "nothing answers at unix:///var/run/docker.sock: is the engine running? Try `sudo systemctl start docker` there"},
	} {
		got := r.explain(fmt.Errorf("dial: %w", tc.err))
		if got.Error() != tc.want {
			t.Errorf("got  %v\nwant %s", got, tc.want)
		}
		if !errors.Is(got, tc.err) {
			t.Errorf("%v has lost its cause", got)
		}
	}
	if err := r.explain(syscall.ENOENT); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
}

func TestTidy(t *testing.T) {
	for in, want := range map[string]string{
		"": "",
		"Error response from daemon: No such image: x": "No such image: x",
		"driver failed programming external connectivity on endpoint web (1b2c3d): Bind for 0.0.0.0:8080 failed: port is already allocated":                                          "Bind for 0.0.0.0:8080 failed: port is already allocated",
		"OCI runtime create failed: container_linux.go:380: starting container process caused: exec: \"foo\": executable file not found in $PATH: unknown":                           `exec: "foo": executable file not found in $PATH`,
		"failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"foo\":\n executable file not found in $PATH: unknown": `exec: "foo": executable file not found in $PATH`,
	} {
		if diff := cmp.Diff(want, tidy(in)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestEngineAddress(t *testing.T) {
	for _, url := range []string{"", "/var/run/docker.sock", "ssh://pi@host", "unix://", "http://x"} {
		if _, err := New(url, home, nil); err == nil {
			t.Errorf("%q is accepted", url)
		}
	}
	if r := newRuntime(t, "tcp://10.0.0.1:2375"); r.Local() {
		t.Error("a tcp engine is taken for a local one")
	}
}

func FuzzTidy(f *testing.F) {
	f.Add("Error response from daemon: x")
	f.Add("OCI runtime create failed: : unknown")
	f.Fuzz(func(t *testing.T, msg string) {
		if got := tidy(msg); strings.ContainsAny(got, "\n\r") || len(got) > len(msg) {
			t.Errorf("%q became %q", msg, got)
		}
	})
}

func FuzzLastLines(f *testing.F) {
	f.Add("a\nb\r\n", 1)
	f.Add("\xff\xfe\n", 3)
	f.Fuzz(func(t *testing.T, text string, n int) {
		n = min(max(n, 0), 100)
		for _, l := range lastLines(text, n) {
			if len(l) > logLineMax || strings.Contains(l, "\n") {
				t.Errorf("line of %d bytes", len(l))
			}
		}
		if got := lastLines(text, n); len(got) > n {
			t.Errorf("%d lines, want at most %d", len(got), n)
		}
	})
}
