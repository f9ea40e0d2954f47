package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/otto-edge/otto/wire"
)

// Context is a control plane on another machine, and how to get in.
type Context struct {
	Address string `json:"address"` // host:port
	Access
}

// inviteBegin marks the text of an Access.
const inviteBegin = "otto1-"

// Invite is the access as one word, for somebody to carry to another machine. Who has it has
// the token.
func (a Access) Invite() (string, error) {
	b, err := json.Marshal(a)
	return inviteBegin + base64.RawURLEncoding.EncodeToString(b), err
}

// ReadInvite is the access that an Invite is of.
func ReadInvite(text string) (a Access, err error) {
	encoded, ok := strings.CutPrefix(strings.TrimSpace(text), inviteBegin)
	if !ok {
		return a, errors.New("this is no invitation: it begins with " + inviteBegin + ", see `otto token create`")
	}
	b, err := base64.RawURLEncoding.DecodeString(encoded)
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil || a.ClusterID == "" || a.Authorities == "" || a.Secret == "" {
		return a, errors.New("the invitation is not whole: copy all of it")
	}
	return a, nil
}

// Client returns a client of the control plane. by is who asks.
func (c Context) Client(by string) (*Client, error) {
	t, err := (&wire.TLS{CA: c.Authorities, ServerName: c.ClusterID, Own: true}).Config()
	if err != nil {
		return nil, err
	}
	return &Client{
		by: by, base: "https://" + c.Address, remote: c.Address, secret: c.Secret,
		http: &http.Client{
			Transport: &http.Transport{TLSClientConfig: t, IdleConnTimeout: idle},
			CheckRedirect: func(*http.Request, []*http.Request) error { // it would take the token along
				return http.ErrUseLastResponse
			},
		},
	}, nil
}

// unreached is why a control plane on another machine has not answered.
func (c *Client) unreached(err error) error {
	if errors.Is(err, wire.ErrForeignBroker) {
		return fmt.Errorf("who answers at %s is not this cluster's control plane, or its keys have been renewed since: "+
			"make a token there with `otto token create`, and run `otto context add` here", c.remote)
	}
	return fmt.Errorf("the control plane at %s does not answer: %w", c.remote, errors.Unwrap(err))
}
