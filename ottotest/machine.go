package ottotest

import (
	"cmp"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/wire"
)

// Sampler is an agent.Sampler that reads the same from every node.
type Sampler struct{ of *Host }

// Node implements agent.Sampler.
func (s Sampler) Node(now time.Time) (otto.NodeSample, error) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	return otto.NodeSample{Time: now.Add(s.of.skew), CPUPercent: 7, MemoryUsed: 1 << 30, MemoryTotal: 4 << 30, DiskUsed: 1 << 30, DiskTotal: 8 << 30}, nil
}

// Containers implements agent.Sampler.
func (Sampler) Containers(_ time.Time, running []otto.RunningContainer) []otto.ContainerSample {
	list := make([]otto.ContainerSample, len(running))
	for i, r := range running {
		list[i] = otto.ContainerSample{ID: r.ID, Name: r.Name, CPUPercent: 1, MemoryUsed: 1 << 20, MemoryLimit: 1 << 30}
	}
	return list
}

// Host is a machine: a container engine, a disk, and perhaps an agent.
type Host struct {
	Runtime *Runtime
	Dir     string
	// Arch is the machine's; empty means amd64.
	Arch string
	CPUs int // cores; 0 as if nobody knew
	// Claims, if set, is what agents that start from now on say of the machine, in the
	// place of what SSH finds.
	Claims *otto.MachineFacts
	// Renamed, if set, is the machine's host name now.
	Renamed string
	// Nameless makes agents that start from now on say nothing of the hardware, as in
	// most virtual machines.
	Nameless bool
	// SSHTime is how long it takes to do anything there over SSH.
	SSHTime time.Duration
	// unreachable is why SSH does not work; nil when it does.
	unreachable error

	measure atomic.Pointer[func(*otto.NodeSample, []otto.ContainerSample)]
	rtt     atomic.Int64 // nanoseconds that a packet from anywhere takes to it and back
	devices sync.Map     // by path, of those that are plugged in

	name string
	// Former says that its agent is of a build that can neither open secrets nor prove anything,
	// and takes in no files.
	Former bool

	life    chan struct{} // taken by who starts or ends the agent
	cut     bool          // its network
	off     bool          // its power
	frozen  bool          // all its processes, which stand still
	killed  bool          // all its processes, which are dead
	refuses bool          // its SSH server does not run
	stuck   bool          // its agent cannot be ended
	apart   bool          // from the control plane's machine, which does not reach it

	forwardsNothing bool // its SSH server
	lie             func(address string) otto.Reply
	powered         int           // how often it was switched on again
	poweredAt       time.Time     // the last time
	skew            time.Duration // of its wall clock
	mu              sync.Mutex
	enrolment       *wire.Enrolment
	read            *wire.Enrolment // by the agent that runs, or has run last
	floor           otto.Revision   // that came with it
	conn            *Conn
	agent           *agent.Agent // that runs, or has run last
	stop            func()
	boots           int
	wrap            func(agent.Runtime) agent.Runtime
}

// memory is where in a host's directory is what a power cut empties.
const memory = "memory"

// filesOf is the directory of a host to which files of projects are brought.
const filesOf = "files"

// FoldersDir is the same of this host.
func (h *Host) FoldersDir() string { return filepath.Join(h.Dir, filesOf) }

// SeedsDir is where the data of projects is on this host.
func (h *Host) SeedsDir() string { return filepath.Join(h.Dir, "data") }

// FilesDir is where its agent has secrets and configs.
func (h *Host) FilesDir() string { return filepath.Join(h.Dir, memory) }

// KillAgent ends a host's agent as kill -9 would; its containers run on.
func (c *Cluster) KillAgent(host string) {
	h := c.Hosts[host]
	h.life <- struct{}{}
	defer func() { <-h.life }()
	if conn, stop := h.unplug(); stop != nil {
		conn.by.Kill()
		conn.Break()
		stop()
	}
}

// WithoutAgent ends a host's agent likewise, and does something before anybody starts
// it again.
func (c *Cluster) WithoutAgent(host string, do func()) {
	h := c.Hosts[host]
	h.StopSSH()
	defer h.StartSSH()
	c.KillAgent(host)
	do()
}

// unplug takes the agent out of the host; whoever does it ends it, without the
// lock, because the agent may need it to come to its end.
func (h *Host) unplug() (*Conn, func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	stop := h.stop
	h.stop = nil
	return h.conn, stop
}

// StartAgent starts a host's agent from what is on its disk.
func (c *Cluster) StartAgent(host string) error {
	h := c.Hosts[host]
	h.life <- struct{}{}
	defer func() { <-h.life }()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stop != nil || h.enrolment == nil || h.off || h.killed {
		return nil
	}
	conn, stop, err := c.agent(host, h.Dir, h.Runtime, h.clock(host, c.booted))
	if err == nil {
		h.conn, h.stop, h.read = conn, stop, h.enrolment
	}
	return err
}

// Twin starts a second agent of a host, from a copy of its disk on another machine
// that has an engine of its own: on the same machine an agent would find its
// directory held. It returns what cuts the power of that machine; nil where there
// is no agent to be doubled.
func (c *Cluster) Twin(host string, engine *Runtime) (off func(), err error) {
	h := c.Hosts[host]
	dir := c.T.TempDir()
	if err := os.CopyFS(dir, os.DirFS(h.Dir)); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(filepath.Join(dir, memory)); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stop == nil {
		return nil, nil
	}
	clock := h.clock(host+"-twin", time.Now())
	conn, end, err := c.agent(host, dir, engine, clock)
	if err != nil {
		return nil, err
	}
	return func() {
		conn.by.Kill()
		conn.Break()
		end()
		engine.PowerOff()
	}, nil
}

// agent starts an agent of a host; the caller holds the host's lock.
func (c *Cluster) agent(host, dir string, on *Runtime, clock agent.Clock) (*Conn, func(), error) {
	h := c.Hosts[host]
	h.boots++
	e := *h.enrolment
	folders, seeds := filepath.Join(dir, filesOf), h.SeedsDir()
	if h.Former {
		e.SealKey, e.Proofs, folders, seeds = nil, false, "", ""
	}
	boot := host + "-boot-" + strconv.Itoa(h.boots)
	conn := c.Bus.Client(host)
	conn.by = c.process(host)
	if c.OwnBroker {
		conn.key, conn.admit = keyOf(e), func() bool { return c.admits(e) }
	}
	var runtime agent.Runtime = engine{on, conn.by}
	if h.wrap != nil {
		runtime = h.wrap(runtime)
	}
	a, err := agent.New(agent.Options{
		Enrolment: e, BootID: boot, Facts: h.says(), StateDir: dir, Floor: h.floor,
		Runtime: runtime, Conn: conn, Sampler: measuring{Sampler{h}}, Clock: clock, Knock: c.knock(host), RoundTrip: c.roundTrip(host), Try: c.try(host), Exists: h.plugged, Directory: on.Directory, FilesDir: filepath.Join(dir, memory), FoldersDir: folders, SeedsDir: seeds, Log: c.Log.With("who", host),
	})
	if err != nil {
		return nil, nil, err
	}
	h.agent = a
	conn.OnConnect(a.Connected)
	conn.WillOf(a.Will)
	return conn, run(a.Run, conn.Run), nil
}

// Say publishes a message as the host's agent may that somebody has taken over: proven to be
// the node's where that is asked for and the message is one.
func (c *Cluster) Say(host string, kind wire.Kind, retain bool, payload []byte) {
	h := c.Hosts[host]
	h.mu.Lock()
	a := h.agent
	h.mu.Unlock()
	if b, err := a.Prove(kind, payload); err == nil {
		payload = b
	}
	c.Bus.Inject(wire.NodeTopic(host, kind), retain, payload)
}

// found is what SSH finds out about the host.
func (h *Host) found() otto.MachineFacts {
	return otto.MachineFacts{Hostname: cmp.Or(h.Renamed, h.name), Arch: cmp.Or(h.Arch, "amd64"), CPUs: h.CPUs}
}

// says is what the host's agent says of it.
func (h *Host) says() otto.NodeFacts {
	m := h.found()
	if h.Claims != nil {
		m = *h.Claims
	}
	return otto.NodeFacts{Hostname: m.Hostname, Arch: m.Arch, CPUs: m.CPUs, MemoryBytes: m.MemoryBytes}
}

// Plug plugs a device into a host, or pulls it out. The agent looks for it when it
// looks at the engine.
func (h *Host) Plug(path string, in bool) {
	if in {
		h.devices.Store(path, true)
	} else {
		h.devices.Delete(path)
	}
}

func (h *Host) plugged(path string) bool {
	_, in := h.devices.Load(path)
	return in
}

// Clone copies a host's disk, as far as its agent's enrolment goes, to another
// host and starts the agent there: two agents of one node.
func (c *Cluster) Clone(from, to string) error {
	f, t := c.Hosts[from], c.Hosts[to]
	f.mu.Lock()
	enrolment := f.enrolment
	f.mu.Unlock()
	t.mu.Lock()
	t.enrolment = enrolment
	t.mu.Unlock()
	return c.StartAgent(to)
}

// clock is the host's, which begins anew whenever its power is switched on.
func (h *Host) clock(machine string, since time.Time) agent.Clock {
	if !h.poweredAt.IsZero() {
		since = h.poweredAt
	}
	hardware := machine
	if h.Nameless {
		hardware = ""
	}
	return agent.Clock{Hardware: hardware, Boot: machine + "-" + strconv.Itoa(h.powered), Now: func() time.Duration { return time.Since(since) }}
}

// PowerOff cuts a host's power: agent and containers end at once, and the broker
// learns of it when the connection has been silent for long enough.
func (c *Cluster) PowerOff(host string) {
	h := c.Hosts[host]
	c.Bus.Cut(host)
	h.mu.Lock()
	h.off, h.frozen, h.killed, h.refuses = true, false, false, false
	h.mu.Unlock()
	h.life <- struct{}{}
	defer func() { <-h.life }()
	if conn, stop := h.unplug(); stop != nil {
		conn.by.Kill()
		stop()
	}
	h.Runtime.PowerOff()
	if err := os.RemoveAll(filepath.Join(h.Dir, memory)); err != nil {
		c.T.Error(err)
	}
}

// PowerOn switches a host on again: the engine starts what it would at boot, and
// the agent if withAgent is set, as systemd does.
func (c *Cluster) PowerOn(host string, withAgent bool) error {
	c.Bus.Heal(host)
	h := c.Hosts[host]
	h.mu.Lock()
	h.off = false
	h.powered, h.poweredAt = h.powered+1, time.Now()
	h.mu.Unlock()
	h.Runtime.PowerOn()
	if withAgent {
		return c.StartAgent(host)
	}
	return nil
}

// FreezeAgent stops a host's agent as SIGSTOP does, and nothing else there.
func (c *Cluster) FreezeAgent(host string) {
	if conn := c.Hosts[host].Conn(); conn != nil {
		conn.by.Freeze()
	}
}

// ThawAgent ends that.
func (c *Cluster) ThawAgent(host string) {
	if conn := c.Hosts[host].Conn(); conn != nil {
		conn.by.Thaw()
	}
}

// Freeze stops every process of a host, its containers too, which do not know that
// later. Its kernel answers.
func (c *Cluster) Freeze(host string) {
	c.Hosts[host].setFrozen(true)
	c.FreezeAgent(host)
}

// Thaw ends that.
func (c *Cluster) Thaw(host string) {
	c.Hosts[host].setFrozen(false)
	c.ThawAgent(host)
}

// Wrap puts w between the engine and the agents that start from now on; nil for nothing.
func (h *Host) Wrap(w func(agent.Runtime) agent.Runtime) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wrap = w
}

func (h *Host) setFrozen(yes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.frozen = yes
}

// SetApart breaks the path from the control plane's machine to the host, for SSH alone.
func (h *Host) SetApart(yes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.apart = yes
}

// SetForwarding is whether the host's SSH server forwards connections, as it does at first.
func (h *Host) SetForwarding(yes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forwardsNothing = !yes
}

// SetLie has the host's agent say of others what is not so.
func (h *Host) SetLie(lie func(address string) otto.Reply) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lie = lie
}

// SetStuck has the host's agent not end, whoever tries.
func (h *Host) SetStuck(yes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stuck = yes
}

// StopSSH stops a host's SSH server, and nothing else there; StartSSH starts it again.
func (h *Host) StopSSH() { h.setRefuses(true) }

// StartSSH ends StopSSH.
func (h *Host) StartSSH() { h.setRefuses(false) }

func (h *Host) setRefuses(yes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuses = yes
}

// KillPrograms kills every process of a host, its containers too. Its kernel answers.
// PowerOff and PowerOn bring it back.
func (c *Cluster) KillPrograms(host string) {
	h := c.Hosts[host]
	h.mu.Lock()
	h.killed, h.refuses = true, true
	h.mu.Unlock()
	c.KillAgent(host)
	h.Runtime.PowerOff()
}

// Conn is the connection of a host's agent.
func (h *Host) Conn() *Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conn
}

// Alive reports whether the host's agent runs.
func (h *Host) Alive() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stop != nil
}

// SetUnreachable says why SSH does not work, or with nil that it does.
func (h *Host) SetUnreachable(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unreachable = why
}

// SetSkew sets how far the host's wall clock is off.
func (h *Host) SetSkew(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.skew = d
}

// Boots is how often the host's agent has been started.
func (h *Host) Boots() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.boots
}
