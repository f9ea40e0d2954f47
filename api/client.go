package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// Client asks a control plane.
type Client struct {
	http   *http.Client
	by     string
	base   string // what a path is put behind
	remote string // the address of a control plane on another machine
	secret string // of the token for it
}

// safeToAsk fails for a socket in a directory for temporary files that another user has
// made: he would be told what is to run, and its secrets.
func safeToAsk(socket string) error {
	if !strings.HasPrefix(filepath.Base(filepath.Dir(socket)), socketDir) {
		return nil // beside otto.yaml
	}
	err := safeDir(socket, os.Geteuid())
	if errors.Is(err, os.ErrNotExist) {
		return nil // then nobody answers
	}
	return err
}

// NewClient returns a client of the control plane that listens on a socket. by
// is who asks, for the events.
func NewClient(socket, by string) *Client {
	return &Client{by: by, base: "http://otto", http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if err := safeToAsk(socket); err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		IdleConnTimeout: idle,
	}}}
}

// idle is how long a connection waits for another question. A program that goes on may ask
// with one client after the other: none of them is to hold a connection.
const idle = time.Second

// Cluster returns everything known now.
func (c *Client) Cluster(ctx context.Context) (*otto.Cluster, error) {
	var cluster otto.Cluster
	return &cluster, c.do(ctx, http.MethodGet, "/v1/cluster", nil, &cluster)
}

// Apply replaces what is wanted and returns the changes; see Plane.
func (c *Client) Apply(ctx context.Context, w otto.Wanted, base uint64,
	dryRun bool,
) (changes []otto.Change, err error) {
	path := fmt.Sprintf("/v1/wanted?base=%d", base)
	if dryRun {
		path += "&dry"
	}
	return changes, c.do(ctx, http.MethodPut, path, asked(w), &changes)
}

// Plan says what would change if w were applied.
func (c *Client) Plan(ctx context.Context, w otto.Wanted) (p otto.Plan, err error) {
	return p, c.do(ctx, http.MethodPost, "/v1/plan", asked(w), &p)
}

// Refresh makes the containers of a service anew from what its image is in the registry.
func (c *Client) Refresh(ctx context.Context, service string) error {
	return c.do(ctx, http.MethodPost, "/v1/services/"+url.PathEscape(service)+"/refresh", nil, nil)
}

// Restart restarts the instances of a service, one after the other.
func (c *Client) Restart(ctx context.Context, service string) error {
	return c.do(ctx, http.MethodPost, "/v1/services/"+url.PathEscape(service)+"/restart", nil, nil)
}

// AcceptData has a service go on with what is there of the data that it waits for.
func (c *Client) AcceptData(ctx context.Context, service string) error {
	return c.do(ctx, http.MethodPost, "/v1/services/"+url.PathEscape(service)+"/accept-data", nil, nil)
}

// AdoptVolume makes a volume of a node the cluster's, whoever made it.
func (c *Client) AdoptVolume(ctx context.Context, node, volume string) error {
	return c.do(ctx, http.MethodPost, "/v1/nodes/"+url.PathEscape(node)+"/volumes/"+url.PathEscape(volume)+"/adopt",
		nil, nil)
}

// Adopt makes containers, networks and volumes of a Compose project the cluster's.
func (c *Client) Adopt(ctx context.Context, of otto.Adoption) error {
	return c.do(ctx, http.MethodPost, "/v1/adopt", of, nil)
}

// Release begins to give a stack back to Compose.
func (c *Client) Release(ctx context.Context, ask otto.ReleaseRequest) error {
	return c.do(ctx, http.MethodPost, "/v1/release", ask, nil)
}

// Stop stops all services and agents.
func (c *Client) Stop(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/v1/stop", nil, nil)
}

// Uninstall stops everything and takes Otto off every node.
func (c *Client) Uninstall(ctx context.Context, volumes bool) error {
	path := "/v1/uninstall"
	if volumes {
		path += "?volumes"
	}
	return c.do(ctx, http.MethodPost, path, nil, nil)
}

// AcceptMachine says that the machine that a node was is off for good.
func (c *Client) AcceptMachine(ctx context.Context, node string) error {
	return c.do(ctx, http.MethodPost, "/v1/nodes/"+url.PathEscape(node)+"/machine", nil, nil)
}

// Rotate begins to renew all keys of the cluster; with compromised those of before end at once.
func (c *Client) Rotate(ctx context.Context, compromised bool) error {
	path := "/v1/rotate"
	if compromised {
		path += "?compromised"
	}
	return c.do(ctx, http.MethodPost, path, nil, nil)
}

// Rekey gives a node a new key.
func (c *Client) Rekey(ctx context.Context, node string) error {
	return c.do(ctx, http.MethodPost, "/v1/nodes/"+url.PathEscape(node)+"/rekey", nil, nil)
}

// Intend says what a person wants of a node.
func (c *Client) Intend(ctx context.Context, node string, intent otto.Intent) error {
	return c.do(ctx, http.MethodPut, "/v1/nodes/"+url.PathEscape(node)+"/intent", intent, nil)
}

// Remove takes a node out of the cluster at once.
func (c *Client) Remove(ctx context.Context, node string) error {
	return c.do(ctx, http.MethodDelete, "/v1/nodes/"+url.PathEscape(node), nil, nil)
}

// Events calls f with each event numbered above after, with follow also with
// those to come, until f returns false, ctx ends or the control plane does.
func (c *Client) Events(ctx context.Context, after uint64, follow bool, f func(otto.Event) bool) error {
	path := fmt.Sprintf("/v1/events?after=%d", after)
	if follow {
		path += "&follow"
	}
	resp, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for dec := json.NewDecoder(resp.Body); ; {
		var e otto.Event
		switch err := dec.Decode(&e); {
		case errors.Is(err, io.EOF) && !follow:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return ErrNotRunning
		}
		if !f(e) {
			return nil
		}
	}
}

// Backup returns everything that the control plane keeps, as a backup's file.
func (c *Client) Backup(ctx context.Context) ([]byte, error) {
	resp, err := c.send(ctx, http.MethodGet, "/v1/backup", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, ErrNotRunning // it ended in the middle
	}
	return content, nil
}

// Move moves an instance to a node, to the best one where none is named, or with
// advised where it is advised to go.
func (c *Client) Move(ctx context.Context, name, to string, advised bool) (d otto.Decision, err error) {
	q := url.Values{"to": {to}}
	if advised {
		q.Set("advised", "")
	}
	return d, c.do(ctx, http.MethodPost, "/v1/services/"+url.PathEscape(name)+"/move?"+q.Encode(), nil, &d)
}

// ExplainService says why a service is where it is.
func (c *Client) ExplainService(ctx context.Context, name string) (e otto.Explanation, err error) {
	return e, c.do(ctx, http.MethodGet, "/v1/services/"+url.PathEscape(name)+"/explanation", nil, &e)
}

// ExplainNode says why a node is as it is.
func (c *Client) ExplainNode(ctx context.Context, id string) (e otto.Explanation, err error) {
	return e, c.do(ctx, http.MethodGet, "/v1/nodes/"+url.PathEscape(id)+"/explanation", nil, &e)
}

// TakeOver makes a control plane that has stepped down decide again.
func (c *Client) TakeOver(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/v1/lead", nil, nil)
}

// Exit ends the control plane.
func (c *Client) Exit(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/v1/exit", nil, nil)
}

func (c *Client) do(ctx context.Context, method, path string, body, into any) error {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("the control plane's answer: %w", err)
	}
	return nil
}

// send returns an answer with a good status. header is pairs of names and values.
func (c *Client) send(ctx context.Context, method, path string, body any, header ...string) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	return c.stream(ctx, method, path, content, header...)
}

// stream is send of a body as it is.
func (c *Client) stream(ctx context.Context, method, path string, content io.Reader,
	header ...string,
) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, err
	}
	req.Header.Set(headerBy, c.by)
	if c.secret != "" {
		req.Header.Set("Authorization", "Bearer "+c.secret)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if c.remote != "" {
			return nil, c.unreached(err)
		}
		return nil, fmt.Errorf("%w: %w", ErrNotRunning, errors.Unwrap(err))
	}
	if resp.StatusCode < http.StatusBadRequest {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	message := strings.TrimSpace(string(text))
	if resp.StatusCode == http.StatusConflict {
		return nil, fmt.Errorf("%w (%s)", otto.ErrConflict, message)
	}
	return nil, errors.New(message)
}
