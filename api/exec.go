package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/shell"
)

// execProtocol is what a connection is upgraded to.
const execProtocol = "otto-exec"

// attach connects a client with a command that begin starts on a node. Who runs which
// program is an event of that kind; its arguments, which may be secret, are in none.
func (s *Server) attach(w http.ResponseWriter, r *http.Request, kind string,
	begin func(context.Context, shell.Query) (shell.Conn, error),
) {
	var q shell.Query
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&q)
	if err == nil && r.Header.Get("Upgrade") != execProtocol {
		err = errors.New("the header Upgrade is not " + execProtocol)
	}
	if err != nil {
		http.Error(w, fmt.Sprintf("bad request: %v", err), http.StatusBadRequest)
		return
	}
	node, err := begin(r.Context(), q)
	if answerError(w, err) {
		return
	}
	defer node.Close()
	if q.Command.Port == 0 { // else each connection of a forwarded port
		e := otto.Event{Kind: kind, Service: q.Name, Node: q.Node, Message: ran(kind, q)}
		if answerError(w, s.plane.Note(r.Context(), e)) {
			return
		}
	}
	client, buffered, err := http.NewResponseController(w).Hijack()
	if answerError(w, err) {
		return
	}
	defer client.Close()
	_ = client.SetDeadline(time.Time{}) // a terminal may be silent for days
	if _, err := fmt.Fprintf(client, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n",
		execProtocol); err != nil {
		return
	}
	go func() { // it ends with the client's connection, which is closed below
		_, _ = io.Copy(node, buffered)
		_ = node.CloseWrite()
	}()
	_, _ = io.Copy(client, node)
	if err := node.Wait(); err != nil {
		_ = shell.Fail(client, err)
	}
}

// ran says what somebody does.
func ran(kind string, q shell.Query) string {
	program := "its own command"
	if len(q.Command.Args) > 0 {
		program = q.Command.Args[0]
	}
	return fmt.Sprintf("%s in %s: %s", kind, q.Name, program)
}

// Exec starts a command in a container. The connection, which shell.Attach takes, ends
// when it is closed or the control plane ends.
func (c *Client) Exec(ctx context.Context, q shell.Query) (io.ReadWriteCloser, error) {
	return c.attach(ctx, "/v1/exec", q)
}

// Once is Exec in a container of a service that is made for the command.
func (c *Client) Once(ctx context.Context, q shell.Query) (io.ReadWriteCloser, error) {
	return c.attach(ctx, "/v1/run", q)
}

func (c *Client) attach(ctx context.Context, path string, q shell.Query) (io.ReadWriteCloser, error) {
	resp, err := c.send(context.WithoutCancel(ctx), http.MethodPost, path, q, "Connection", "Upgrade", "Upgrade",
		execProtocol)
	if err != nil {
		return nil, err
	}
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		resp.Body.Close()
		return nil, errors.New("the control plane is of another version: run `otto cluster start`")
	}
	return conn, nil
}
