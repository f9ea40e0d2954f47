package health

import (
	"fmt"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// Check is what was found when a silent node's host was asked past its agent.
type Check struct {
	// Own is what this machine has found; nil if its try has not ended.
	Own *otto.Sign
	// Claims are what other nodes say that they have found, those that have answered.
	Claims []Claim
}

// Claim is what a node says of another one's host.
type Claim struct {
	Node  string
	Reply otto.Reply
}

// Weigh says what a check means, one of the three at most: that a program of the host
// answers, that its kernel alone does, or that nothing does. Who has not answered says
// nothing.
func (c Check) Weigh() (reached, mute, unreachable string) {
	if c.Own == nil {
		c.Own = &otto.Sign{}
		defer func() { unreachable = "" }() // not even our own try has ended
	}
	switch c.Own.Reply {
	case otto.ReplyProgram:
		return c.Own.Why, "", ""
	case otto.ReplyKernel:
		return "", c.Own.Why, ""
	}
	var deny []string
	for _, claim := range c.Claims {
		switch claim.Reply {
		case otto.ReplyProgram:
			return fmt.Sprintf("node %s reaches its host, this machine does not", claim.Node), "", ""
		case otto.ReplyKernel:
			mute = fmt.Sprintf("as node %s says, which reaches it; this machine does not", claim.Node)
		default:
			deny = append(deny, claim.Node)
		}
	}
	if mute != "" {
		return "", mute, ""
	}
	unreachable = c.Own.Why
	if len(deny) > 0 {
		unreachable += "; " + strings.Join(deny, " and ") + " cannot reach it either"
	}
	return "", "", unreachable
}

// AskAgain is how long after a check the next one begins. asked is how many there were
// since the node was heard. A server takes who often comes anew for an attacker, so it
// is asked three times and then ever less often, where asking is not free.
func AskAgain(sign otto.Sign, asked int, was otto.NodeState) time.Duration {
	switch {
	case sign.Reply != otto.ReplyNone && !sign.Free && asked >= muteAsked:
		return min(askSoon<<min(asked-muteAsked+1, 16), askRarely)
	case down(was):
		return askDown
	default:
		return askSoon
	}
}

const (
	askSoon   = time.Second
	askDown   = 5 * time.Second // of a node that is lost or unresponsive
	askRarely = time.Minute
)
