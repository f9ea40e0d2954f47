package bootstrap

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kevinburke/ssh_config"

	"github.com/otto-edge/otto"
)

const maxJumps = 8

// hop is one SSH server on the way to a node, the last of which is the node.
type hop struct {
	name           string // for people: the node's id, or the jump host's name
	user           string
	host           string
	port           int
	identities     []string // key files that were asked for
	identitiesOnly bool     // of the SSH agent's keys only those with such a file
	agentSocket    string
	knownHosts     []string // files; the first is written to
	hashHosts      bool
}

func (h hop) addr() string { return net.JoinHostPort(h.host, strconv.Itoa(h.port)) }

// sshConfig answers as ssh does: the first value found counts, in the user's
// file before the system's.
type sshConfig struct {
	files      []*ssh_config.Config
	home       string
	me         string
	knownHosts []string // instead of what the files say
}

func (f *Fleet) sshConfig() (sshConfig, error) {
	c := sshConfig{knownHosts: f.opts.KnownHosts}
	var err error
	if c.home, err = os.UserHomeDir(); err != nil {
		return c, err
	}
	me, err := user.Current()
	if err != nil {
		return c, err
	}
	c.me = me.Username
	paths := []string{f.opts.SSHConfig}
	if f.opts.SSHConfig == "" {
		paths = []string{filepath.Join(c.home, ".ssh", "config"), "/etc/ssh/ssh_config"}
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return c, err
		}
		parsed, err := ssh_config.DecodeBytes(b)
		if err != nil {
			return c, fmt.Errorf("%s: %w", path, err)
		}
		c.files = append(c.files, parsed)
	}
	return c, nil
}

func (c sshConfig) get(alias, key string) string {
	all := c.all(alias, key)
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

func (c sshConfig) all(alias, key string) []string {
	for _, file := range c.files {
		if values, err := file.GetAll(alias, key); err == nil && len(values) > 0 {
			return values
		}
	}
	return nil
}

// route is the way to a node: its jump hosts, then itself. What otto.yaml says of
// the node goes before what the ssh configuration says.
func (c sshConfig) route(node otto.Node) ([]hop, error) {
	if c.get(node.Host, "ProxyCommand") != "" && c.get(node.Host, "ProxyJump") == "" {
		return nil, fmt.Errorf("%s: ProxyCommand of %s in the ssh config is not supported: use ProxyJump", node.ID, node.Host)
	}
	last, err := c.hop(node.Host)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", node.ID, err)
	}
	last.name = node.ID
	if node.User != "" {
		last.user = node.User
	}
	if node.Port != 0 {
		last.port = node.Port
	}
	if node.IdentityFile != "" {
		last.identities = []string{c.expand(node.IdentityFile, last)}
	}
	jumps, err := c.jumps(node.Host, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", node.ID, err)
	}
	return append(jumps, last), nil
}

// jumps are the hosts that lead to alias; the first of them may need some itself.
func (c sshConfig) jumps(alias string, depth int) ([]hop, error) {
	list := c.get(alias, "ProxyJump")
	if list == "" || strings.EqualFold(list, "none") {
		return nil, nil
	}
	if depth == maxJumps {
		return nil, fmt.Errorf("ProxyJump of %s in the ssh config goes in a circle", alias)
	}
	var route []hop
	for i, spec := range strings.Split(list, ",") {
		username, host, port, err := splitTarget(strings.TrimSpace(spec))
		if err != nil {
			return nil, fmt.Errorf("ProxyJump of %s in the ssh config: %w", alias, err)
		}
		if i == 0 {
			if route, err = c.jumps(host, depth+1); err != nil {
				return nil, err
			}
		}
		h, err := c.hop(host)
		if err != nil {
			return nil, err
		}
		if username != "" {
			h.user = username
		}
		if port != 0 {
			h.port = port
		}
		route = append(route, h)
	}
	return route, nil
}

func (c sshConfig) hop(alias string) (hop, error) {
	h := hop{
		name:           alias,
		user:           c.get(alias, "User"),
		host:           strings.ReplaceAll(c.get(alias, "HostName"), "%h", alias),
		port:           22,
		identitiesOnly: strings.EqualFold(c.get(alias, "IdentitiesOnly"), "yes"),
		agentSocket:    c.get(alias, "IdentityAgent"),
		knownHosts:     c.knownHosts,
		hashHosts:      strings.EqualFold(c.get(alias, "HashKnownHosts"), "yes"),
	}
	if h.host == "" {
		h.host = alias
	}
	if h.user == "" {
		h.user = c.me
	}
	if p := c.get(alias, "Port"); p != "" {
		port, err := parsePort(p)
		if err != nil {
			return h, fmt.Errorf("port of %s in the ssh config: %w", alias, err)
		}
		h.port = port
	}
	switch h.agentSocket {
	case "", "SSH_AUTH_SOCK":
		h.agentSocket = os.Getenv("SSH_AUTH_SOCK")
	case "none":
		h.agentSocket = ""
	default:
		h.agentSocket = c.expand(os.ExpandEnv(h.agentSocket), h)
	}
	for _, file := range c.all(alias, "IdentityFile") {
		h.identities = append(h.identities, c.expand(file, h))
	}
	if len(h.knownHosts) == 0 {
		h.knownHosts = c.knownHostsFiles(alias, h)
	}
	return h, nil
}

func (c sshConfig) knownHostsFiles(alias string, h hop) []string {
	files := strings.Fields(c.get(alias, "UserKnownHostsFile"))
	if len(files) == 0 {
		files = []string{"~/.ssh/known_hosts", "~/.ssh/known_hosts2"}
	}
	for i := range files {
		files[i] = c.expand(files[i], h)
	}
	return append(files, "/etc/ssh/ssh_known_hosts")
}

// expand fills in ~ and those tokens of ssh_config(5) that name files.
func (c sshConfig) expand(path string, h hop) string {
	path = strings.Trim(path, `"`)
	if path == "~" || strings.HasPrefix(path, "~/") {
		path = c.home + path[1:]
	}
	return strings.NewReplacer("%%", "%", "%d", c.home, "%u", c.me, "%h", h.host, "%r", h.user).Replace(path)
}

// splitTarget reads [user@]host[:port], also as an ssh:// address.
func splitTarget(s string) (username, host string, port int, err error) {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "ssh://"), "/")
	if i := strings.LastIndex(s, "@"); i >= 0 {
		username, s = s[:i], s[i+1:]
	}
	host = s
	if h, p, err := net.SplitHostPort(s); err == nil {
		if port, err = parsePort(p); err != nil {
			return "", "", 0, err
		}
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "" {
		return "", "", 0, fmt.Errorf("%q names no host", s)
	}
	return username, host, port, nil
}

func parsePort(s string) (int, error) {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%q is not a port", s)
	}
	return int(port), nil
}
