package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sync/errgroup"

	"github.com/otto-edge/otto"
)

var (
	errUnknownKey = errors.New("unknown host key")
	errKeySeen    = errors.New("the key has been seen") // ends a handshake that was only for it
)

// otherKeyError is that of a server whose host key is not the one that is known: it may
// be another machine.
type otherKeyError struct{ error }

func (e otherKeyError) Unwrap() error { return e.error }

// hostKeys checks the keys of one server against the known_hosts files.
type hostKeys struct {
	hop   hop
	db    *knownhosts.HostKeyDB
	names map[string]string // of nodes, by address
}

func newHostKeys(h hop) (hostKeys, error) {
	var files []string
	for _, f := range h.knownHosts {
		if _, err := os.Stat(f); err == nil {
			files = append(files, f)
		}
	}
	db, err := knownhosts.NewDB(files...)
	if err != nil {
		return hostKeys{}, fmt.Errorf("check the host key of %s: %w", h.name, err)
	}
	return hostKeys{hop: h, db: db}, nil
}

// algorithms are those of the keys that are known, so that a server with several
// keys shows one of these; for an unknown server the usual ones, best first.
func (k hostKeys) algorithms() []string {
	if known := k.db.HostKeyAlgorithms(k.hop.addr()); len(known) > 0 {
		return known
	}
	return []string{
		ssh.KeyAlgoED25519,
		ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
}

// check returns nil for a known key, errUnknownKey within an error that says what
// to do, or why the key must not be trusted.
func (k hostKeys) check(address string, remote net.Addr, key ssh.PublicKey) error {
	err := k.db.HostKeyCallback()(address, remote, key)
	var mismatch *xknownhosts.KeyError
	switch {
	case err == nil:
		return nil
	case knownhosts.IsHostUnknown(err):
		return fmt.Errorf("%w of %s (%s): run `otto cluster start` in a terminal, or pass --accept-new-host-keys",
			errUnknownKey, k.hop.name, ssh.FingerprintSHA256(key))
	case errors.As(err, &mismatch):
		if other := k.holder(remote, key); other != "" {
			return otherKeyError{
				fmt.Errorf(
					"the host key of %s (%s) is that of %s: have the two swapped their addresses? Correct their hosts in otto.yaml, or give each its address back",
					k.hop.name,
					k.hop.addr(),
					other,
				),
			}
		}
		return k.changed(mismatch.Want, ssh.FingerprintSHA256(key))
	}
	return fmt.Errorf("the host key of %s must not be trusted: %w", k.hop.name, err)
}

// holder is the other node that a key is known to be of; empty if there is none.
func (k hostKeys) holder(remote net.Addr, key ssh.PublicKey) string {
	for _, address := range slices.Sorted(maps.Keys(k.names)) {
		if name := k.names[address]; name != k.hop.name && k.db.HostKeyCallback()(address, remote, key) == nil {
			return name
		}
	}
	return ""
}

func (k hostKeys) changed(want []xknownhosts.KnownKey, got string) error {
	slices.SortFunc(want, func(a, b xknownhosts.KnownKey) int { return a.Line - b.Line })
	return otherKeyError{
		fmt.Errorf(
			"the host key of %s has CHANGED: %s is not the one in %s:%d. If that machine was installed anew, run `ssh-keygen -f %s -R %s`; if not, somebody may be in between",
			k.hop.name,
			got,
			want[0].Filename,
			want[0].Line,
			want[0].Filename,
			knownhosts.Normalize(k.hop.addr()),
		),
	}
}

// accept adds a key to the user's known_hosts.
func (k hostKeys) accept(key ssh.PublicKey) error {
	path := k.hop.knownHosts[0]
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	name := knownhosts.Normalize(k.hop.addr())
	if k.hop.hashHosts {
		name = xknownhosts.HashHostname(name)
	}
	line := name + " " + string(ssh.MarshalAuthorizedKey(key))
	if len(before) > 0 && before[len(before)-1] != '\n' {
		line = "\n" + line
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}

// Trust fetches the host keys of all nodes, and of the jump hosts before them,
// and asks about those that are not known, one after the other. What is accepted
// is added to known_hosts. A changed key, a refusal to accept one, or an error of
// ask is an error; a node that cannot be reached is not, as others go on without it.
func (f *Fleet) Trust(ctx context.Context, nodes []otto.Node,
	ask func(node otto.Node, fingerprint string) (bool, error),
) error {
	config, err := f.sshConfig()
	if err != nil {
		return err
	}
	var routes [][]hop
	for _, node := range nodes {
		if node.IsLocal() {
			continue
		}
		route, err := config.route(node)
		if err != nil {
			return err
		}
		f.learn(route)
		routes = append(routes, route)
	}
	for depth := 0; ; depth++ {
		level := level(routes, depth)
		if len(level) == 0 {
			return nil
		}
		if err := f.trustLevel(ctx, level, nodes, ask); err != nil {
			return err
		}
	}
}

// level are the ways to the servers that are depth jumps away, each server once.
func level(routes [][]hop, depth int) [][]hop {
	var out [][]hop
	seen := map[string]bool{}
	for _, r := range routes {
		if len(r) > depth && !seen[r[depth].addr()] {
			seen[r[depth].addr()] = true
			out = append(out, r[:depth+1])
		}
	}
	return out
}

func (f *Fleet) trustLevel(ctx context.Context, routes [][]hop, nodes []otto.Node,
	ask func(otto.Node, string) (bool, error),
) error {
	keys := make([]ssh.PublicKey, len(routes))
	errs := make([]error, len(routes))
	var group errgroup.Group
	for i, route := range routes {
		group.Go(func() error {
			keys[i], errs[i] = f.fetchKey(ctx, route)
			return nil
		})
	}
	_ = group.Wait()
	for i, route := range routes {
		if keys[i] == nil {
			f.log.Debug("no host key", "node", route[len(route)-1].name, "error", errs[i])
			continue
		}
		if err := trust(route[len(route)-1], keys[i], errs[i], nodes, ask); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func trust(h hop, key ssh.PublicKey, err error, nodes []otto.Node, ask func(otto.Node, string) (bool, error)) error {
	if !errors.Is(err, errUnknownKey) {
		return err
	}
	node := otto.Node{ID: h.name, Host: h.host, User: h.user, Port: h.port}
	if i := slices.IndexFunc(nodes, func(n otto.Node) bool { return n.ID == h.name }); i >= 0 {
		node = nodes[i]
	}
	yes, err := ask(node, ssh.FingerprintSHA256(key))
	if err != nil {
		return err
	}
	if !yes {
		return fmt.Errorf("the host key of %s was not accepted", h.name)
	}
	k, err := newHostKeys(h)
	if err != nil {
		return err
	}
	if err := k.accept(key); err != nil {
		return fmt.Errorf("remember the host key of %s: %w", h.name, err)
	}
	return nil
}

// knownKeyWithin is how long Trust waits for a server whose key is known.
const knownKeyWithin = time.Second

// fetchKey returns the key that the last server of a route shows, and what is
// wrong with it. No key is returned for a server that cannot be reached.
func (f *Fleet) fetchKey(ctx context.Context, route []hop) (key ssh.PublicKey, verdict error) {
	inspect := func(k hostKeys) ssh.HostKeyCallback {
		return func(address string, remote net.Addr, shown ssh.PublicKey) error {
			key, verdict = shown, k.check(address, remote, shown)
			return errKeySeen
		}
	}
	// A server whose key is known will be checked again when it is used: a dead one
	// must not hold up the others here.
	if k, err := newHostKeys(route[len(route)-1]); err == nil && len(k.db.HostKeyAlgorithms(k.hop.addr())) > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, knownKeyWithin)
		defer cancel()
	}
	_, err := f.dial(ctx, route, inspect)
	if key == nil {
		return nil, err
	}
	return key, verdict
}
