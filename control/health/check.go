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
	// Claimed is for how long it has been claimed, without proof, that the host is there.
	Claimed time.Duration
}

// Claim is what a node says of another one's host.
type Claim struct {
	Node  string
	Reply otto.Reply
	// Proven says that the host has shown by its own key, through that node, that it works.
	Proven bool
}

// claimHolds is how long a claim without proof is believed: a node may be mistaken, or
// lie, and its SSH server may forward nothing, so that there can be no proof.
const claimHolds = 30 * time.Second

// Claims reports whether a claim says that the host is there and does not prove it.
func (c Claim) Claims() bool { return c.Reply != otto.ReplyNone && !c.Proven }

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
	var deny, doubted []string
	for _, claim := range c.Claims {
		switch {
		case claim.Proven:
			return fmt.Sprintf("its host has proven through node %s that it works, this machine does not reach it",
				claim.Node), "", ""
		case claim.Reply == otto.ReplyNone:
			deny = append(deny, claim.Node)
		case c.Claimed > claimHolds:
			doubted = append(doubted, claim.Node)
		case claim.Reply == otto.ReplyProgram:
			reached = fmt.Sprintf("node %s says that it reaches its host, this machine does not", claim.Node)
		default:
			mute = fmt.Sprintf("as node %s says, which reaches it; this machine does not", claim.Node)
		}
	}
	switch {
	case reached != "":
		return reached, "", ""
	case mute != "":
		return "", mute, ""
	}
	unreachable = c.Own.Why
	if len(deny) > 0 {
		unreachable += "; " + strings.Join(deny, " and ") + " cannot reach it either"
	}
	if len(doubted) > 0 {
		unreachable += fmt.Sprintf("; %s claims to, but the host has not proven it", strings.Join(doubted, " and "))
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
