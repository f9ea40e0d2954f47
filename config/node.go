package config

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

const defaultDockerURL = "unix:///var/run/docker.sock"

// node is a node as it is being read.
type node struct {
	otto.Node
	pos
	requirements []requirement
}

func nodesKey() key[document] {
	o := nodeObject()
	return key[document]{
		"The machines. Without any there is one, named local: this machine.", listOf(o.one()).schema,
		func(r *reader, v value, d *document) {
			if !r.wants(v, list, "one node an item, beginning with `- id: `") {
				return
			}
			for _, item := range v.items {
				n := node{Node: otto.Node{DockerURL: defaultDockerURL}, pos: item.pos}
				if o.read(r, item, &n) {
					d.nodes = append(d.nodes, n)
				}
			}
		},
	}
}

func nodeObject() object[node] {
	return object[node]{
		noun: "a node",
		keys: map[string]key[node]{
			"id": {"Name of the node.", id("rpi-01").schema, func(r *reader, v value, n *node) {
				n.ID, _ = id("rpi-01").read(r, v) // also an invalid one, so that services find it
			}},
			"host": as("Address, or a Host of ~/.ssh/config; localhost is this machine.", host("rpi-01.local or 192.0.2.7"), func(n *node) *string { return &n.Host }),
			"user": as("User for SSH.", checked("a user name such as pi", isWord), func(n *node) *string { return &n.User }),
			"port": as("Port of SSH.", integer(1, 65535), func(n *node) *int { return &n.Port }),
			"docker_url": as("The engine's address as seen from the node, "+defaultDockerURL+" by default.",
				checked(defaultDockerURL+" or tcp://127.0.0.1:2375", isDockerURL), func(n *node) *string { return &n.DockerURL }),
			"heartbeat": as("Time between two of its heartbeats; more for a metered link.", heartbeat(), func(n *node) *time.Duration { return &n.Heartbeat }),
			"labels":    as("Labels of the node.", pairs(), func(n *node) *map[string]string { return &n.Labels }),
			"requirements": requirementsKey("What must hold on the node, such as node.temperature < 75C for 60s.", ofNode,
				func(n *node) *[]requirement { return &n.requirements }),
			"identity_file": as("Private key for SSH, relative to this file.", localPath(),
				func(n *node) *string { return &n.IdentityFile }),
		},
		required: map[string]string{"id": "id: rpi-01", "host": "host: rpi-01.local"},
	}
}

// host is a name or an address without anything around it.
func host(example string) form[string] {
	return form[string]{schema{"type": "string"}, func(r *reader, v value) (string, bool) {
		h, ok := text(example).read(r, v)
		if !ok || isHost(h) {
			return h, ok
		}
		try := "write only a name or an address, such as " + example
		if user, rest, found := strings.Cut(h, "@"); found && isWord(user) && isHost(rest) {
			try = "write host: " + rest + " and user: " + user
		}
		r.reject(v.pos, try, "%.60q is not a host", h)
		return "", false
	}}
}

func isHost(h string) bool {
	if _, err := netip.ParseAddr(h); err == nil {
		return true
	}
	return len(h) <= 253 && regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?$`).MatchString(h) &&
		!strings.Contains(h, "..") && !looksLikeAddress(h)
}

// looksLikeAddress tells an IPv4 address with a slip from a name.
func looksLikeAddress(h string) bool {
	return strings.Contains(h, ".") && strings.Trim(h, "0123456789.") == ""
}

func isWord(s string) bool {
	return s != "" && s[0] != '-' && !strings.ContainsAny(s, " \t\r\n@:/")
}

func isDockerURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	switch u.Scheme {
	case "unix":
		return u.Host == "" && strings.HasPrefix(u.Path, "/") && len(u.Path) > 1
	case "tcp":
		return isHost(u.Hostname()) && isPort(u.Port()) && (u.Path == "" || u.Path == "/")
	}
	return false
}

// localPath is a path on this machine.
func localPath() form[string] {
	f := text("a path such as ./keys/id_ed25519")
	return form[string]{schema{"type": "string"}, func(r *reader, v value) (string, bool) {
		p, ok := f.read(r, v)
		if !ok {
			return "", false
		}
		return r.path(p), true
	}}
}
