// Package bootstrap makes bare hosts nodes of a cluster over SSH, and bare hosts
// of nodes again. All it needs on a host is an SSH server, a POSIX shell and a
// container engine; the host needs no internet.
//
// It goes in three steps. Check: one read-only script tells everything that
// matters about the host, and a pure function finds the problems, each with its
// mend, before anything is changed. Apply: the agent for the host's architecture
// is uploaded under its own hash, the enrolment beside it, and the agent is
// started; what is so already is left alone. Verify: the caller waits for the
// agent's report, and if an agent that was replaced had to make room for one that
// does not report, it is put back.
//
// SSH is as the user does it: the ssh configuration, the keys and the SSH agent,
// jump hosts, and known_hosts, which is always checked. No value from a
// configuration becomes shell text: scripts are constants and read their values
// from standard input.
package bootstrap

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

const (
	agentName       = "otto-agent"
	commandWithin   = 30 * time.Second
	startWithin     = time.Minute // a former agent has time to end
	uploadWithin    = 10 * time.Minute
	uninstallWithin = 5 * time.Minute // containers have time to stop
)

// Options are how a Fleet reaches its nodes. The zero value of each is what ssh
// does, or what this program has inside.
type Options struct {
	Log *slog.Logger
	// KnownHosts are the files with known host keys, the first of which new keys
	// are added to.
	KnownHosts []string
	SSHConfig  string // file that is read instead of the user's and the system's
	// Binaries returns the agent for an architecture; Embedded by default.
	Binaries func(arch string) (Binary, error)
	Home     string // home directory for the agent of the local node
	// TakeOver lets a host that was another node of the cluster be made a node.
	TakeOver bool
	// DialTimeout is for a TCP connection, 5 s by default; the SSH handshake has
	// twice as long.
	DialTimeout time.Duration
}

// Fleet brings nodes up and down. Its methods may be called for several nodes
// at once; they share nothing but the tunnels that it keeps up until Close.
type Fleet struct {
	opts    Options
	log     *slog.Logger
	ctx     context.Context // ends the tunnels
	cancel  context.CancelFunc
	mu      sync.Mutex
	tunnels map[string]*tunnel // by node

	anew map[string]int // pids of agents that were started in place of stuck ones and not heard yet, by node

	names map[string]string // of nodes, by the address of their SSH servers

	contacts map[string]*contact // with silent nodes, by node
	open     sync.WaitGroup      // of contacts

	lines   map[string][]*line // by node
	dialing singleflight.Group // of lines, by node
}

// New returns a Fleet. Close ends it.
func New(opts Options) *Fleet {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Binaries == nil {
		opts.Binaries = Embedded()
	}
	if opts.DialTimeout == 0 {
		opts.DialTimeout = dialWithin
	}
	f := &Fleet{opts: opts, log: opts.Log, tunnels: map[string]*tunnel{}, contacts: map[string]*contact{}, anew: map[string]int{}, names: map[string]string{}, lines: map[string][]*line{}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// Close ends the tunnels and all other connections that are kept, and waits for them.
func (f *Fleet) Close() {
	f.mu.Lock() // who begins a contact holds it
	f.cancel()
	f.mu.Unlock()
	f.open.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, t := range f.tunnels {
		t.close()
		delete(f.tunnels, id)
	}
	for key, list := range f.lines {
		for _, l := range list {
			l.idle.Stop()
			_ = l.Close()
		}
		delete(f.lines, key)
	}
}

// Ensure makes the node run the agent of this build with the enrolment e. Where
// that is so already, nothing is changed.
//
// e.Brokers are the broker's addresses as far as they are configured; with a
// brokerPort above 0 the broker is on this machine too, and the address that the
// node sees this machine under is added. When the node can reach none of them, a
// tunnel through SSH is kept up until Close.
//
// When by.Verify fails after an agent of another build was replaced, that one is put
// back. An error has one line for each problem; the warnings are what a person should
// mend although the node works.
func (f *Fleet) Ensure(ctx context.Context, node otto.Node, e wire.Enrolment, brokerPort int, by otto.Bringing) (warnings []string, err error) {
	by.Step("connecting")
	h, err := f.connect(ctx, node)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	found, err := probe(ctx, h, e.Cluster, node.DockerURL)
	if err != nil {
		return nil, fmt.Errorf("examine %s: %w", node.ID, err)
	}
	r := request{node: node, enrolment: e, takeOver: f.opts.TakeOver}
	if arch := architecture(found); arch != "" {
		if r.agent, err = f.opts.Binaries(arch); err != nil {
			return nil, fmt.Errorf("%s: %w", node.ID, err)
		}
	}
	if had, err := wire.DecodeEnrolment([]byte(found.enrolment)); err == nil && had.Replaced(e.ControlKey) &&
		had.ClusterID == e.ClusterID {
		return nil, wire.ReplacedError{Node: node.ID, By: had.ControlKey}
	}
	v := decide(r, found, time.Now())
	if err := v.err(); err != nil {
		return nil, err
	}
	in := install{fleet: f, host: h, request: r, found: found, step: by.Step, floor: by.Floor}
	if err := in.claim(ctx); err != nil {
		return nil, err
	}
	by.Found(found.ofMachine())
	if v.upload {
		if err := in.upload(ctx); err != nil {
			return nil, fmt.Errorf("upload the agent to %s: %w", node.ID, err)
		}
	}
	wanted, err := in.enrolment(ctx, brokerPort)
	if err != nil {
		return nil, err
	}
	if err := in.apply(ctx, wanted, by.Verify); err != nil {
		return nil, fmt.Errorf("%s: %w", node.ID, err)
	}
	return v.warnings, nil
}

// Address is where the node's SSH server listens, host:port; empty for the local
// node and for one behind a jump host, which others cannot try.
func (f *Fleet) Address(node otto.Node) string {
	if node.IsLocal() {
		return ""
	}
	config, err := f.sshConfig()
	if err != nil {
		return ""
	}
	route, err := config.route(node)
	if err != nil || len(route) != 1 {
		return ""
	}
	return route[0].addr()
}

// install is one host on its way to run the wanted agent.
type install struct {
	fleet *Fleet
	host  host
	request
	found facts
	step  func(string)
	floor otto.Revision
}

func (in *install) exe(hash string) string { return path.Join(in.found.dir, "agents", hash, agentName) }

func (in *install) upload(ctx context.Context) error {
	in.step(fmt.Sprintf("uploading the agent (%s)", megabytes(in.agent.Size)))
	ctx, cancel := context.WithTimeout(ctx, uploadWithin)
	defer cancel()
	exe := in.exe(in.agent.Hash)
	if _, err := in.host.run(ctx, mkdirScript, path.Dir(exe)); err != nil {
		return err
	}
	content, err := in.agent.open()
	if err != nil {
		return err
	}
	return in.host.put(ctx, exe, 0o700, content)
}

// enrolment is agent.json as the node should have it: with the ways to the broker
// that work from there.
func (in *install) enrolment(ctx context.Context, brokerPort int) ([]byte, error) {
	e := in.request.enrolment
	candidates := unique(e.Brokers)
	if brokerPort > 0 {
		if addr := in.host.seenFrom(in.found.client); addr != "" {
			candidates = unique(append(candidates, net.JoinHostPort(addr, strconv.Itoa(brokerPort))))
		}
	}
	reachable, err := in.reach(ctx, candidates)
	if err != nil {
		return nil, fmt.Errorf("the agent does not run on %s: %w", in.node.ID, err)
	}
	if len(reachable) == 0 && !in.node.IsLocal() {
		in.step("opening a tunnel for MQTT")
		addr, err := in.fleet.tunnel(ctx, in.node, e.Cluster, localBrokers(brokerPort, e.Brokers))
		if err != nil {
			return nil, fmt.Errorf("%s cannot reach the broker at %s, and a tunnel is not possible: %w; open that port in this machine's firewall, or set mqtt.host to an address that the node can reach",
				in.node.ID, strings.Join(candidates, " or "), err)
		}
		reachable = []string{addr}
	} else {
		in.fleet.closeTunnel(in.node.ID)
	}
	had, _ := wire.DecodeEnrolment([]byte(in.found.enrolment))
	e.Brokers = brokers(candidates, reachable, had.Brokers)
	e.FormerSealKey = formerSealKey(had, e)
	return json.Marshal(e)
}

// formerSealKey is what opens what the node has on its disk if it gets another key: the
// last one that it had.
func formerSealKey(had, gets wire.Enrolment) []byte {
	switch {
	case had.ClusterID != gets.ClusterID:
		return nil
	case bytes.Equal(had.SealKey, gets.SealKey):
		return had.FormerSealKey
	}
	return had.SealKey
}

// reach asks the agent on the node which addresses it can reach.
func (in *install) reach(ctx context.Context, candidates []string) ([]string, error) {
	if len(candidates) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	out, err := in.host.run(ctx, execScript, append([]string{in.exe(in.agent.Hash), "reach"}, candidates...)...)
	if err != nil {
		return nil, err
	}
	said := set(strings.Fields(out))
	var reachable []string
	for _, c := range candidates {
		if said[c] {
			reachable = append(reachable, c)
		}
	}
	return reachable, nil
}

// apply makes the agent run with the wanted enrolment and verifies that.
func (in *install) apply(ctx context.Context, wanted []byte, verify func(context.Context) error) error {
	written := in.found.enrolment == string(wanted)
	if !written {
		if err := in.writeEnrolment(ctx, wanted); err != nil {
			return fmt.Errorf("write the enrolment: %w", err)
		}
	}
	runs := in.found.running == in.agent.Hash && in.found.enrolmentRead == shortHash(wanted)
	if !in.found.told && in.floor.Epoch != in.found.floor.Epoch {
		if err := in.writeFloor(ctx); err != nil {
			return fmt.Errorf("write the floor of assignments: %w", err)
		}
		runs = false
	}
	var err error
	if !runs {
		in.step("starting the agent")
		err = in.start(ctx, in.agent.Hash)
	}
	if err == nil && verify != nil {
		err = in.await(ctx, runs, verify)
	}
	if err != nil {
		return in.failed(ctx, err)
	}
	if !runs {
		in.prune(ctx)
	}
	return nil
}

func (in *install) writeEnrolment(ctx context.Context, content []byte) error {
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	return in.host.put(ctx, path.Join(in.found.dir, "agent.json"), 0o600, strings.NewReader(string(content)))
}

// writeFloor says on the node which assignments are too old for an agent that has none.
func (in *install) writeFloor(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	content, err := wire.EncodeFloor(in.floor)
	if err != nil {
		return err
	}
	return in.host.put(ctx, path.Join(in.found.dir, wire.FloorFile), 0o600, bytes.NewReader(content))
}

func (in *install) start(ctx context.Context, hash string, flags ...string) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	args := append([]string{in.exe(hash), "start", "--dir", in.found.dir}, flags...)
	if _, err := in.host.run(ctx, execScript, args...); err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	return nil
}

// failed puts the former agent back, if it was one of another build, with the
// enrolment it had. An interrupt by the user says nothing about the new one. The
// connection is a new one: the former may be why the agent was not heard.
func (in *install) failed(ctx context.Context, cause error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*startWithin)
	defer cancel()
	h, err := in.fleet.connect(ctx, in.node)
	if err != nil {
		return cause
	}
	defer h.Close()
	again := *in
	again.host = h
	former := in.found.running
	if former == "" || former == in.agent.Hash {
		return again.withLog(ctx, cause)
	}
	in.step("putting the former agent back")
	cause = again.withLog(ctx, cause)
	// What the former build makes may lack the cluster's id: the next one is to adopt it.
	_, err = h.run(ctx, disownScript, in.found.dir)
	if err := errors.Join(err, again.writeEnrolment(ctx, []byte(in.found.enrolment)), again.start(ctx, former)); err != nil {
		return fmt.Errorf("%w; the former agent could not be put back: %w", cause, err)
	}
	return fmt.Errorf("%w; the former agent runs again", cause)
}

// withLog adds the end of the agent's log to an error, in the same line.
func (in *install) withLog(ctx context.Context, err error) error {
	log, logErr := in.host.run(ctx, logScript, in.found.dir)
	log = strings.Join(strings.Split(strings.TrimSpace(log), "\n"), " | ")
	if logErr != nil || log == "" || strings.Contains(err.Error(), log) {
		return err
	}
	return fmt.Errorf("%w (the agent's log ends with: %s)", err, log)
}

// prune removes all agents but the one that runs and the one before it.
func (in *install) prune(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	former := in.found.running
	if former == "" {
		former = in.agent.Hash
	}
	if _, err := in.host.run(ctx, pruneScript, in.found.dir, in.agent.Hash, former); err != nil {
		in.fleet.log.Warn("former agents were not removed", "node", in.node.ID, "error", err)
	}
}

// shortHash is how the agent's pid file names the enrolment that it has read.
func shortHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
