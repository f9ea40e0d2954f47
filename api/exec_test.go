package api

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/otto-edge/otto/shell"
)

// link is a connection with a node: a pipe, and why it has ended.
type link struct {
	net.Conn
	half chan struct{} // closed when nothing more is sent
	why  error
}

func (l link) CloseWrite() error { close(l.half); return nil }
func (l link) Wait() error       { return l.why }

func newLink(why error) (ours link, node net.Conn) {
	a, b := net.Pipe()
	return link{Conn: a, half: make(chan struct{}), why: why}, b
}

func TestExecPassesOnWhatBothEndsSend(t *testing.T) {
	p := newPlane()
	ours, node := newLink(nil)
	p.node = ours
	c, _ := serve(t, p)
	conn, err := c.Exec(t.Context(), shell.Query{Name: "web", Command: shell.Command{Args: []string{"sh"}}})
	if err != nil {
		t.Fatal(err)
	}
	there, back := bytes.Repeat([]byte("question"), 10_000), bytes.Repeat([]byte("answer"), 10_000)
	go func() {
		_, _ = conn.Write(there)
	}()
	got := make([]byte, len(there))
	if _, err := io.ReadFull(node, got); err != nil || !bytes.Equal(got, there) {
		t.Fatalf("the node got something else: %v", err)
	}
	go func() {
		_, _ = node.Write(back)
		node.Close()
	}()
	if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, back) {
		t.Errorf("the client got something else: %v", err)
	}
	conn.Close()
	if p.calls[0] != "exec in web: [sh]" {
		t.Error(p.calls)
	}
}

func TestRunIsNoExec(t *testing.T) {
	p := newPlane()
	p.err = errors.New("enough")
	c, _ := serve(t, p)
	if _, err := c.Once(t.Context(), shell.Query{Name: "web"}); err == nil || err.Error() != "enough" || p.calls[0] != "run web: []" {
		t.Errorf("%v, %q", err, p.calls)
	}
}

// TestExecEndsOnTheNodeWithItsClient: the node is told at once that nobody waits any more.
func TestExecEndsOnTheNodeWithItsClient(t *testing.T) {
	p := newPlane()
	ours, node := newLink(nil)
	p.node = ours
	c, _ := serve(t, p)
	conn, err := c.Exec(t.Context(), shell.Query{Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	<-ours.half
	node.Close()
}

// TestWhoRunsACommandIsAnEvent: with the program, and without its arguments.
func TestWhoRunsACommandIsAnEvent(t *testing.T) {
	p := newPlane()
	c, _ := serve(t, p)
	for _, x := range []struct {
		q    shell.Query
		want string
	}{
		{shell.Query{Name: "web", Command: shell.Command{Args: []string{"sh", "-c", "login hunter2"}}}, "note exec of web by me: exec in web: sh"},
		{shell.Query{Name: "web", Command: shell.Command{Port: 80}}, ""},
	} {
		ours, node := newLink(nil)
		p.node, p.calls = ours, nil
		conn, err := c.Exec(t.Context(), x.q)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		<-ours.half
		node.Close()
		p.mu.Lock()
		if got := strings.Join(p.calls[1:], "\n"); got != x.want {
			t.Errorf("%+v: %q", x.q, got)
		}
		p.mu.Unlock()
	}
}

func TestExecSaysWhatWentWrong(t *testing.T) {
	p := newPlane()
	lost := errors.New("the SSH connection was lost")
	ours, node := newLink(lost)
	p.node = ours
	c, _ := serve(t, p)
	conn, err := c.Exec(t.Context(), shell.Query{Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	node.Close()
	_, err = shell.Attach(t.Context(), conn, shell.Ends{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
	if err == nil || err.Error() != lost.Error() {
		t.Errorf("got %v", err)
	}
	p.err = errors.New("web is on no node")
	if _, err := c.Exec(t.Context(), shell.Query{Name: "web"}); err == nil || err.Error() != p.err.Error() {
		t.Errorf("got %v", err)
	}
}
