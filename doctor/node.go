package doctor

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// Exam is what is known of a node at one moment.
type Exam struct {
	Node otto.Node
	// Err is why the node could not be examined.
	Err   error
	Facts Facts
	Agent Agent
	// Received is when the facts came in, by our clock.
	Received time.Time
	// Status is what the running control plane says of the node; nil without one.
	Status *otto.NodeStatus
	// Serving says that there is a broker to be reached: the control plane runs, or
	// the broker is not Otto's. Started says that agents should run.
	Serving, Started bool
}

// Agent is what is there of Otto's agent on a node.
type Agent struct {
	Installed, Running bool
	// Current says that the one that runs, or is there, is of this build of otto.
	Current bool
	// Problem is why it could not be asked.
	Problem string
}

// The limits. 50 ms is where etcd's and k3s's advice on slow disks begins to bite; a
// pull needs two to three times an image's size.
const (
	clockTolerance = 2 * time.Second
	slowSync       = 50 * time.Millisecond
	diskLow        = 1 << 30   // bytes
	diskFull       = 256 << 20 // bytes
	filesLow       = 20        // one in so many
)

// Node judges a node. The findings are the worst first.
func Node(x Exam) []Finding {
	c := &chart{node: x.Node.ID}
	if x.Status != nil {
		c.state(*x.Status, x.Facts.Engine)
		c.data(x.Status.Lost)
	}
	if x.Err != nil {
		c.complaint("ssh", x.Err.Error(), "try `ssh "+x.Node.Host+"` from here, by hand")
		return c.sorted()
	}
	how := "it answers over SSH"
	if x.Node.IsLocal() {
		how = "it is this machine"
	}
	c.ok("ssh", how)
	c.agent(x)
	c.clock(x)
	c.engine(x.Node, x.Facts)
	c.memory(x.Facts)
	c.power(x.Facts)
	c.wireless(x.Facts)
	c.disks(x.Facts.Disks)
	c.sync(x.Facts.Sync)
	if x.Serving {
		c.brokers(x.Facts.Brokers)
	}
	if len(x.Facts.Unanswered) > 0 {
		c.add(Warning, "answers",
			"the node did not answer in time what was asked of: "+strings.Join(x.Facts.Unanswered, ", "),
			"look whether the node is overloaded or its disk hangs: `uptime` and `dmesg` there; then run this again")
	}
	return c.sorted()
}

// state is what the control plane says, without what the engine has said already.
func (c *chart) state(n otto.NodeStatus, e *Engine) {
	if e != nil && e.Problem != "" && n.Problem == n.Facts.Engine.Problem {
		n.Problem = ""
	}
	more := "see the other findings, and `otto events --node " + n.ID + "`"
	switch why := or(n.Reason, n.Problem); {
	case n.State == otto.NodeReady && n.Problem == "":
		c.ok("state", "the control plane hears it")
	case n.State == otto.NodeReady:
		c.complaint("state", n.Problem, more)
	case n.State == otto.NodeJoining && n.Problem == "":
		c.add(Warning, "state", "it is joining: "+or(n.Step, why, "its agent has not reported yet"),
			"look again in a minute")
	case n.State == otto.NodeDraining, n.State == otto.NodeLeft:
		c.ok("state", "it is "+string(n.State)+", as asked for")
	case why != "":
		c.add(Problem, "state", fmt.Sprintf("the control plane takes it for %s: %s", n.State, why), more)
	default:
		c.add(Problem, "state", "the control plane takes it for "+string(n.State), more)
	}
}

// data names what services wait for.
func (c *chart) data(lost []otto.Data) {
	for _, d := range lost {
		c.add(
			Problem,
			"data",
			"the "+d.Lost()+": what has run with it waits for it",
			"look whether its disk is plugged in and mounted there; if it is lost, or restored by hand, run `otto service accept-data SERVICE`",
		)
	}
}

func (c *chart) agent(x Exam) {
	const again = "run `otto cluster start`"
	switch a := x.Agent; {
	case !a.Installed && !x.Started:
		c.add(Warning, "agent", "no agent is there yet, so only little can be said of this node",
			again+", which brings it, and then this again")
	case !a.Installed:
		c.add(Problem, "agent", "there is no agent", again)
	case !a.Running && x.Started:
		c.add(Problem, "agent", "the agent does not run",
			again+"; why it ended is at the end of agent.log: `otto debug bundle` has it")
	case a.Problem != "" && !a.Current:
		c.add(
			Warning,
			"agent",
			"the agent is of another build than this otto and cannot examine its node, so only little can be said of it",
			again+", which replaces it; services run on meanwhile",
		)
	case a.Problem != "":
		c.add(Warning, "agent", "the agent cannot examine its node, so little can be said of it: "+a.Problem,
			"look whether the node is overloaded or its memory is full, and run this again")
	case !a.Current:
		c.add(Warning, "agent", fmt.Sprintf("the agent (%s) is of another build than this otto", x.Facts.Agent),
			again+", which replaces it; services run on meanwhile")
	case !a.Running:
		c.ok("agent", "the agent is there and does not run, as the cluster is stopped")
	default:
		c.ok("agent", "the agent runs, version "+x.Facts.Agent)
	}
}

func (c *chart) clock(x Exam) {
	if x.Facts.Time.IsZero() || x.Received.IsZero() {
		return
	}
	off := x.Facts.Time.Sub(x.Received)
	if off.Abs() <= clockTolerance {
		c.ok("clock", "its clock agrees with this machine's")
		return
	}
	way := "ahead of"
	if off < 0 {
		way = "behind"
	}
	c.add(
		Warning,
		"clock",
		fmt.Sprintf("its clock is %s %s this machine's: times in logs do not fit, and TLS may fail", length(off.Abs()),
			way),
		"run `sudo timedatectl set-ntp true` there; if its clock is right, run it here",
	)
}

func (c *chart) engine(n otto.Node, f Facts) {
	e := f.Engine
	switch {
	case e == nil:
		return
	case e.Problem != "":
		c.complaint("engine", e.Problem, "look at its log there, as a rule by `journalctl -u docker`")
		return
	}
	if version := strings.Join(strings.Fields(e.Name+" "+e.Version+", API "+e.API), " "); tooOld(e.API) {
		c.add(Problem, "engine", fmt.Sprintf("%s is too old: Otto needs API 1.%d", version, oldestAPI),
			"upgrade the engine there, to Docker 20.10 at least")
	} else {
		c.ok("engine", version)
	}
	if len(e.Open) > 0 {
		c.add(
			Problem,
			"engine",
			fmt.Sprintf("the engine takes orders at %s without TLS: whoever reaches that is root on this machine",
				strings.Join(e.Open, ", ")),
			"take tcp:// out of dockerd's -H and out of hosts in /etc/docker/daemon.json there; Otto needs "+or(
				n.DockerURL,
				"the socket",
			)+" only",
		)
	}
	switch e.Storage {
	case "":
	case "vfs":
		c.add(Warning, "storage", "the engine's storage driver is vfs, which copies the whole image for each container",
			"set \"storage-driver\": \"overlay2\" in /etc/docker/daemon.json there and pull the images again")
	case "aufs", "devicemapper", "overlay":
		c.add(Warning, "storage", "the engine's storage driver is "+e.Storage+", which newer engines cannot read",
			"move to overlay2 before the engine is upgraded")
	default:
		c.ok("storage", "storage driver "+e.Storage)
	}
	c.logs(*e)
}

// oldestAPI is the minor version of the oldest engine API that package docker speaks.
const oldestAPI = 41

func tooOld(api string) bool {
	major, minor, _ := strings.Cut(api, ".")
	n, err := strconv.Atoi(minor)
	return err == nil && major == "1" && n < oldestAPI
}

func (c *chart) logs(e Engine) {
	switch {
	case e.LogDriver == "" || e.LogLimit == nil:
	case *e.LogLimit:
		c.ok("logs", "the engine bounds logs by default ("+e.LogDriver+")")
	default:
		c.add(
			Warning,
			"logs",
			fmt.Sprintf(
				"the engine does not bound logs by default (%s): a container that Otto did not make can fill the disk; Otto's are bounded",
				e.LogDriver,
			),
			"put \"log-driver\": \"local\" into /etc/docker/daemon.json there and restart the engine; it holds for containers made from then on",
		)
	}
}

func (c *chart) memory(f Facts) {
	off := f.Memory != nil && !*f.Memory || f.Engine != nil && f.Engine.NoMemoryLimit
	switch {
	case off && strings.Contains(f.Model, "Raspberry"):
		c.add(
			Problem,
			"memory",
			"the kernel's memory cgroup is off: memory limits are taken and ignored, and one service can take the node down",
			"append `cgroup_enable=memory` to the one line of /boot/firmware/cmdline.txt there (on older systems /boot/cmdline.txt) and reboot",
		)
	case off:
		c.add(
			Problem,
			"memory",
			"memory limits are taken and ignored: the kernel's memory cgroup is off, or the engine may not use it",
			"boot there with `cgroup_enable=memory` on the kernel's command line; a rootless engine needs cgroup v2 with the memory controller delegated",
		)
	case f.Memory != nil:
		c.ok("memory", "memory limits work")
	}
}

// Bits of get_throttled, see vcgencmd in the Raspberry Pi documentation.
const (
	underVoltage    = 1 << 0
	throttled       = 1 << 2
	wasUnderVoltage = 1 << 16
	wasThrottled    = 1<<17 | 1<<18 | 1<<19
	isThrottled     = 1<<1 | 1<<2 | 1<<3
)

func (c *chart) power(f Facts) {
	const supply = "use the power supply that is made for the board and a short, thick cable; take off what draws power from its USB ports"
	if f.Throttled == nil {
		return
	}
	bits := *f.Throttled
	word := fmt.Sprintf("get_throttled 0x%x", bits)
	switch {
	case bits&underVoltage != 0 && bits&throttled != 0:
		c.add(
			Problem,
			"power",
			"the supply voltage is too low right now, and the board slows itself down ("+word+"): expect freezes and damaged cards",
			supply,
		)
	case bits&underVoltage != 0:
		c.add(Problem, "power", "the supply voltage is too low right now ("+word+"): expect freezes and damaged cards",
			supply)
	case bits&wasUnderVoltage != 0:
		c.add(Warning, "power", "the supply voltage was too low since the last boot ("+word+")", supply)
	case bits&isThrottled != 0:
		c.add(Warning, "power", "the board is too hot and slows itself down ("+word+")",
			"cool it: a heat sink, a fan, air around it")
	case bits&wasThrottled != 0:
		c.add(Warning, "power", "the board was too hot since the last boot and slowed itself down ("+word+")",
			"cool it: a heat sink, a fan, air around it")
	default:
		c.ok("power", "no low voltage and no throttling since the last boot")
	}
}

func (c *chart) wireless(f Facts) {
	for _, w := range f.Wireless {
		switch {
		case w.PowerSave == nil:
		case *w.PowerSave:
			c.add(
				Warning,
				"wifi",
				w.Name+" saves power: answers may take seconds, and the node may be taken for lost",
				fmt.Sprintf(
					"run `sudo iw dev %s set power_save off` there; to keep it so, with NetworkManager: `sudo nmcli connection modify NAME wifi.powersave 2`",
					w.Name,
				),
			)
		default:
			c.ok("wifi", w.Name+" does not save power")
		}
	}
}

func (c *chart) disks(disks []Disk) {
	for _, d := range disks {
		free := fmt.Sprintf("%s free at %s", bytes(d.Free), d.Path)
		if d.Total > 0 {
			free = fmt.Sprintf("%s of %s free at %s", bytes(d.Free), bytes(d.Total), d.Path)
		}
		const prune = "remove what is not needed, such as images that nobody uses: `docker image prune -a`"
		switch {
		case d.Free < diskFull:
			c.add(Problem, "disk", "the disk is full: "+free, prune)
		case d.Free < diskLow:
			c.add(Warning, "disk", "the disk is nearly full: "+free, prune)
		case d.TotalFiles > 0 && d.FreeFiles < d.TotalFiles/filesLow:
			c.add(Warning, "disk", fmt.Sprintf("the disk can hold only %d more files at %s", d.FreeFiles, d.Path),
				"remove what has many small files: `df -i` and `docker system df` show more")
		default:
			c.ok("disk", free)
		}
	}
}

func (c *chart) sync(s *Sync) {
	switch {
	case s == nil:
	case s.Problem != "":
		c.add(Problem, "fsync", "nothing can be written to "+s.Path+": "+s.Problem,
			"look for a full disk, a read-only file system (`mount -o remount,rw`), or a worn card (`dmesg`)")
	case s.P99 > slowSync:
		c.add(
			Warning,
			"fsync",
			fmt.Sprintf("the disk is slow: one write in a hundred takes %s until it is safe (%s as a rule), at %s",
				length(s.P99), length(s.P50), s.Path),
			"use an SSD or a card of class A1 or better, and keep services that write much off this machine",
		)
	default:
		c.ok("fsync", fmt.Sprintf("a write is safe within %s (p99 of %d)", length(s.P99), s.Writes))
	}
}

// brokers is about the addresses of one broker, one of which is enough.
func (c *chart) brokers(list []Broker) {
	var failed []string
	for _, b := range list {
		if b.Problem == "" {
			c.ok("broker", fmt.Sprintf("it reaches the broker at %s, %s for a login", b.Address, length(b.Took)))
			return
		}
		failed = append(failed, b.Problem)
	}
	if len(failed) > 0 {
		c.add(
			Problem,
			"broker",
			"it cannot reach the broker: "+strings.Join(failed, "; "),
			"open that port in the firewall of the broker's machine, or set mqtt.host to an address that this node can reach, and run `otto cluster start`",
		)
	}
}

func or(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// length is a duration as people say it.
func length(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Millisecond/10:
		return "0.1 ms"
	default:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	}
}

func bytes(n uint64) string {
	if n >= otto.GB {
		return fmt.Sprintf("%.1f GB", float64(n)/otto.GB)
	}
	return fmt.Sprintf("%.0f MB", float64(n)/otto.MB)
}
