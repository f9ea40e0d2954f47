package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto/e2e/lab"
)

// commandsRun runs commands in the container of a service on another host.
func commandsRun(t *testing.T, c *lab.Cluster, service string) {
	t.Helper()
	const size = 20 << 20
	sent, got := sha256.New(), sha256.New()
	var complaint bytes.Buffer
	cat := c.Command(t.Context(), "exec", service, "--", "cat")
	cat.Stdin, cat.Stdout, cat.Stderr = io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), size),
		sent), got, &complaint
	began := time.Now()
	if err := cat.Run(); err != nil || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Errorf("%d bytes there and back: %v\n%s", size, err, &complaint)
	}
	t.Logf("%d MiB there and back in %s", size>>20, time.Since(began).Round(time.Millisecond))

	var exit *exec.ExitError
	if out, err := c.Try("exec", service, "sh", "-c",
		"echo out; echo err >&2; exit 7"); !errors.As(err, &exit) || exit.ExitCode() != 7 ||
		!strings.Contains(out, "out\n") ||
		!strings.Contains(out, "err\n") {
		t.Errorf("exit code 7: %v\n%s", err, out)
	}
	if out, err := c.Try("exec", "nowhere"); err == nil ||
		!strings.HasPrefix(out, `otto: no service or node "nowhere"`) {
		t.Errorf("no service: %v\n%s", err, out)
	}
	shell := c.Command(t.Context(), "exec", service)
	terminal := exec.CommandContext(t.Context(), "script", "-qefc", shell.Path+" exec "+service, "/dev/null")
	terminal.Dir, terminal.Env = shell.Dir, shell.Env
	keys, err := terminal.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var screen bytes.Buffer
	terminal.Stdout = &screen
	if err := terminal.Start(); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"[ -t 0 ] && [ -t 1 ] && echo a ter''minal", "exit 9"} {
		if _, err := io.WriteString(keys, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	if err := terminal.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 9 ||
		!strings.Contains(screen.String(), "a terminal\r\n") {
		t.Errorf("a shell: %v\n%s", err, &screen)
	}
}

// portIsReached reaches a port that nothing publishes, of a server that is itself
// started by a command in the container.
func portIsReached(t *testing.T, c *lab.Cluster, service string) {
	t.Helper()
	begin := func(args ...string) (line string, end func() error) {
		cmd := c.Command(t.Context(), args...)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err = bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatalf("otto %s: %v", args, err)
		}
		return line, func() error {
			_ = cmd.Process.Signal(os.Interrupt)
			return cmd.Wait()
		}
	}
	_, stop := begin("exec", service, "--", "echo-server", "-addr", ":9090")
	line, end := begin("port-forward", service, "0:9090")
	address, _, _ := strings.Cut(line, " ")
	for range 3 {
		resp, err := http.Get("http://" + address + "/")
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != http.StatusOK {
			t.Error(resp.Status)
		}
	}
	if err := end(); err != nil {
		t.Errorf("Ctrl-C of port-forward: %v", err)
	}
	_ = stop() // the agent's user may not end what is root's
}

// commandUnderWay begins a command and returns what it says when it has ended.
func commandUnderWay(t *testing.T, c *lab.Cluster, service string) (ended <-chan string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	cmd := c.Command(ctx, "exec", service, "--", "sh", "-c", "echo ready; sleep 600")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	list := make(chan string, 1)
	go func() {
		defer cancel()
		err := cmd.Wait()
		if err == nil {
			said.WriteString("it has ended well")
		}
		list <- said.String()
	}()
	return list
}
