package otto

import (
	"context"
	"strings"
	"time"
)

// Event is something that happened, kept for people.
type Event struct {
	Seq     uint64    `json:"seq"` // counts the events of a cluster
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"` // such as node-ready, service-failed, change
	Node    string    `json:"node,omitempty"`
	Service string    `json:"service,omitempty"`
	Message string    `json:"message"`
	By      string    `json:"by,omitempty"` // who asked for it, if a person did
	// Source is how a node numbered it, if a node noticed it: boot id and number.
	Source string `json:"source,omitempty"`
}

// Wording is a text without its numbers: what differs in them alone is the same, told
// again.
func Wording(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r == '.' {
			return -1
		}
		return r
	}, text)
}

type byKey struct{}

// WithBy notes who asks for what is done with ctx.
func WithBy(ctx context.Context, who string) context.Context {
	return context.WithValue(ctx, byKey{}, who)
}

// By is who asks, or empty.
func By(ctx context.Context) string {
	who, _ := ctx.Value(byKey{}).(string)
	return who
}
