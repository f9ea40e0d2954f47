package doctor

import (
	"fmt"
	"net"
	"strings"

	"github.com/otto-edge/otto"
)

// Here is what is known of the machine that otto runs on, and of the cluster that
// is kept there.
type Here struct {
	Version  string   // of this otto
	Config   []Remark // what is wrong with otto.yaml
	Warnings []Remark // likewise, but it loads
	// Dir is the directory .otto, empty before the first `otto cluster init`.
	Dir   string
	Modes []string // what in it others may read, or is not ours, with its mode
	Disk  *Disk
	Sync  *Sync
	// Cluster is what the control plane knows, or knew last; nil: never started.
	Cluster *otto.Cluster
	Running bool
	// Control is why the control plane does not answer although it should.
	Control string
	Broker  *Broker // tried from here
	// Remote says that there are nodes on other machines.
	Remote bool
	// Listening are the addresses that the control plane listens at, and Needed the
	// one at which it serves MQTT; empty if it serves none.
	Listening []string
	Needed    string
}

// Remark is about a place in otto.yaml, and says what to write instead.
type Remark struct{ What, Try string }

// Machine judges the machine that otto runs on.
func Machine(h Here) []Finding {
	c := &chart{}
	for _, p := range h.Config {
		c.add(Problem, "config", p.What, p.Try)
	}
	for _, w := range h.Warnings {
		c.add(Warning, "config", w.What, w.Try)
	}
	if len(h.Config)+len(h.Warnings) == 0 {
		c.ok("config", "otto.yaml is right")
	}
	c.control(h)
	c.directory(h)
	if h.Broker != nil {
		c.hereBroker(*h.Broker)
	}
	c.refused(h)
	c.ports(h)
	if h.Disk != nil {
		c.disks([]Disk{*h.Disk})
	}
	c.sync(h.Sync)
	return c.sorted()
}

const seeLog = "look at the end of .otto/control.log"

func (c *chart) control(h Here) {
	switch {
	case h.Control != "":
		c.complaint("control", h.Control, seeLog)
	case h.Cluster == nil:
		c.ok("control", "no cluster has been started here yet: `otto cluster start` does it")
	case !h.Running && h.Cluster.Stopped:
		c.ok("control", h.Cluster.Name+" is stopped, as asked for")
	case !h.Running:
		c.add(Problem, "control", "the control plane does not run: services run on, but nothing is healed or moved",
			"run `otto cluster start`; why it ended is at the end of .otto/control.log")
	case h.Cluster.Problem != "":
		c.complaint("control", h.Cluster.Problem, seeLog)
	case h.Cluster.Version != h.Version:
		c.add(Warning, "control",
			fmt.Sprintf("the control plane is version %s, this otto is %s", h.Cluster.Version, h.Version),
			"run `otto cluster start`, which starts it again as this version; services run on meanwhile")
	default:
		c.ok("control", "the control plane runs, version "+h.Version)
	}
}

func (c *chart) directory(h Here) {
	switch {
	case h.Dir == "":
	case len(h.Modes) > 0:
		c.add(Problem, "secrets", "others may read what only you should: "+strings.Join(h.Modes, ", "),
			fmt.Sprintf("run `sudo chown -R $(id -u) %s; chmod -R go= %s`", h.Dir, h.Dir))
	default:
		c.ok("secrets", h.Dir+" is readable for you alone")
	}
}

func (c *chart) hereBroker(b Broker) {
	if b.Problem != "" {
		c.complaint("broker", b.Problem, seeLog)
		return
	}
	if b.Open {
		c.add(Warning, "broker", "the broker at "+b.Address+" lets everybody publish who reaches it, without a name",
			"what nodes say in this way counts for nothing, but it can be flooded, and the numbers that requirements read can be "+
				"forged: give it `allow_anonymous false` and the access list of docs/broker.md, and otto.yaml mqtt.username and mqtt.password")
		return
	}
	c.ok("broker", fmt.Sprintf("the broker answers at %s, %s for a login", b.Address, length(b.Took)))
}

// refused names what the broker has refused.
func (c *chart) refused(h Here) {
	if !h.Running || h.Cluster == nil {
		return
	}
	for _, r := range h.Cluster.Refused {
		if !r.Often() {
			c.ok("refused", fmt.Sprintf("%s: %d times since the control plane started", r.What, r.Total))
			continue
		}
		c.add(
			Warning,
			"refused",
			"the broker: "+r.String(),
			"see what is at that address and in .otto/control.log: a device with an old password, or somebody who should not be in this network; "+
				"`mqtt: {plain: local}` keeps out who does not speak TLS",
		)
	}
}

// ports names what listens further than it must.
func (c *chart) ports(h Here) {
	var wide []string
	fine := true
	for _, addr := range h.Listening {
		host, port, err := net.SplitHostPort(addr)
		if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsLoopback() {
			continue
		}
		_, needed, _ := net.SplitHostPort(h.Needed)
		switch {
		case port != needed:
			wide = append(wide, addr)
		case !h.Remote:
			fine = false
			c.add(Warning, "ports", "MQTT is served at "+addr+", although all nodes are this machine",
				"set mqtt.host to 127.0.0.1, or leave it out, and run `otto cluster start`")
		}
	}
	if len(wide) > 0 {
		c.add(Problem, "ports", "the control plane listens where nobody needs it: "+strings.Join(wide, ", "),
			"run `otto debug bundle` and report it: this is a mistake in Otto")
	}
	if len(h.Listening) > 0 && fine && len(wide) == 0 {
		c.ok("ports", "it listens at "+strings.Join(h.Listening, ", ")+" only")
	}
}
