package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// check judges what concerns several nodes or services.
func (d *document) check(r *reader) {
	if h := d.health; h.SuspectMin != 0 && h.SuspectMax != 0 && h.SuspectMin > h.SuspectMax {
		r.reject(d.healthAt, "write a suspect_max that is not shorter",
			"health.suspect_min is longer than health.suspect_max")
	}
	d.checkBroker(r)
	d.checkNodes(r)
	d.checkNames(r)
	for i := range d.services {
		d.checkService(r, &d.services[i])
	}
	d.checkPorts(r)
	d.checkDependencies(r)
	d.checkRequirements(r)
	d.checkPlacement(r)
	d.warnOfSplits(r)
	d.warnOfSockets(r)
}

func (d *document) checkBroker(r *reader) {
	m := d.mqtt
	if m.Embedded == EmbeddedNever && m.Host == "" {
		r.reject(m.pos, "write mqtt.host, the address of the broker",
			"Otto shall not serve MQTT, but no broker is named")
	}
	if m.Password != "" && m.Username == "" {
		r.reject(m.pos, "write mqtt.username", "MQTT has no password without a user")
	}
}

func (d *document) checkNodes(r *reader) {
	ids, machines := map[string]int{}, map[string]int{} // line of each
	for _, n := range d.nodes {
		if line, twice := ids[n.ID]; twice && n.ID != "" {
			r.reject(n.pos, "give each node an id of its own", "node %s is here already, in line %d", n.ID, line)
			continue
		}
		ids[n.ID] = n.line
		machine := fmt.Sprintf("%s:%d %s", n.Host, n.Port, n.DockerURL)
		if line, twice := machines[machine]; twice && n.Host != "" {
			r.reject(n.pos, "take one of them out", "node %s is the same machine as the one in line %d", n.ID, line)
			continue
		}
		machines[machine] = n.line
	}
}

// checkNames finds containers that would have the same name.
func (d *document) checkNames(r *reader) {
	owners := map[string]service{}
	w := d.wanted()
	for _, s := range d.services {
		for _, inst := range w.InstanceNames(s.Service) {
			name := otto.Instance{Name: inst, Service: s.Name, Spec: s.Spec}.ContainerName()
			owner, taken := owners[name]
			switch {
			case s.Name == "":
			case !taken:
				owners[name] = s
				continue
			case owner.Name == s.Name:
				r.reject(s.pos, "give each service a name of its own", "service %s is here already, in line %d", s.Name,
					owner.line)
			default:
				r.reject(s.pos, "rename one of them", "container %s is of service %s in line %d and of service %s",
					name, owner.Name, owner.line, s.Name)
			}
			break
		}
	}
}

func (d *document) checkService(r *reader, s *service) {
	if s.Node != "" && d.node(s.Node) == nil {
		d.rejectNode(r, s.nodeAt, s.Node)
	}
	if s.Spec.ContainerName != "" && (s.Replicas > 1 || s.Global()) {
		r.reject(s.containerNameAt,
			"take container_name out; the containers are called "+s.Name+", "+s.Name+"-2 and so on",
			"containers of service %s cannot all have one name", s.Name)
	}
	if s.Replicas > 1 && s.Stateful() && !s.leased {
		r.reject(s.pos, "write replicas: 1, or mount its data read-only",
			"service %s keeps data, so that there can be only one of it", s.Name)
	}
	if s.statelessAt != nil && s.Stateful() {
		r.reject(*s.statelessAt, "take it out, or mount its volumes read-only",
			"service %s keeps data in its volumes, so that it is stateful", s.Name)
	}
	if order, why := s.UpdateOrder(); s.orderAt != nil && order != otto.StartFirst {
		r.warn(*s.orderAt, "write stop-first, or leave it to Otto", "service %s cannot be updated start-first: %s",
			s.Name, why)
	}
	if s.Rejoin != "" && s.Node == "" {
		r.reject(s.pos, "write node: ID, or take rejoin out", "service %s has no home to go back to", s.Name)
	}
	if s.Failover == otto.FailoverMove && s.Stateful() && s.Data == "" {
		try := "write data: disposable if it may start without its data, or take failover out"
		for _, m := range s.Spec.Mounts {
			if s.Unit != "" && m.Type == otto.MountBind && isAbs(m.Source) && !m.ReadOnly && !m.MustExist {
				try += fmt.Sprintf("; if all nodes have the same at %s, write `x-otto: {paths: {%s: shared}}` at the top of the "+
					"Compose file", m.Source, m.Source)
				break
			}
		}
		r.reject(s.pos, try,
			"service %s keeps data on its node and cannot be started on another one when that is lost", s.Name)
	}
	if len(s.fixed) > 0 && s.Data == otto.DataDisposable {
		r.reject(s.pos, "take one of them out", "service %s may begin anew on another node (data: disposable), and its volume %s says move: never",
			s.Name, s.fixed[0])
	}
	if p := s.Probe; p != nil &&
		(s.Spec.NetworkMode == "none" || strings.HasPrefix(s.Spec.NetworkMode, "container:")) &&
		len(p.Exec) == 0 {
		r.reject(s.probeAt, "write an exec probe, or take network_mode out",
			"service %s has no network on which its probe could reach it", s.Name)
	}
	if s.Spec.NetworkMode == "host" && len(s.Spec.Ports) > 0 {
		r.warn(s.portsAt[0], "take ports out", "ports mean nothing with network_mode: host")
	}
}

func (d *document) rejectNode(r *reader, at pos, name string) {
	known := make([]string, 0, len(d.nodes))
	for _, n := range d.nodes {
		known = append(known, n.ID)
	}
	try := "write one of " + strings.Join(known, ", ")
	if n := nearest(name, known); n != "" {
		try = "did you mean " + n + "?"
	}
	r.reject(at, try, "there is no node %.60q", name)
}

func (d *document) node(id string) *node {
	i := slices.IndexFunc(d.nodes, func(n node) bool { return n.ID == id })
	if i < 0 {
		return nil
	}
	return &d.nodes[i]
}

// onlyLocal reports whether a service whose home is the given node, or any,
// can only run on this machine.
func (d *document) onlyLocal(home string) bool {
	if n := d.node(home); n != nil {
		return n.IsLocal()
	}
	return !slices.ContainsFunc(d.nodes, func(n node) bool { return !n.IsLocal() })
}

// checkDependencies finds dependencies on nothing and in circles.
func (d *document) checkDependencies(r *reader) {
	services := make(map[string]*service, len(d.services))
	names := make([]string, 0, len(d.services))
	for i := range d.services {
		services[d.services[i].Name] = &d.services[i]
		names = append(names, d.services[i].Name)
	}
	for k := range d.services { // of those that need not be there
		s := &d.services[k]
		for i := len(s.DependsOn) - 1; i >= 0; i-- {
			if s.DependsOn[i].Optional && services[s.DependsOn[i].Service] == nil {
				s.DependsOn, s.dependsAt = slices.Delete(s.DependsOn, i, i+1), slices.Delete(s.dependsAt, i, i+1)
			}
		}
	}
	for _, s := range d.services {
		for i, dep := range s.DependsOn {
			d.checkDependency(r, s.dependsAt[i], dep, services[dep.Service], names)
		}
	}
	done := map[string]bool{}
	for _, s := range d.services {
		findCycle(r, services, s.Name, nil, done)
	}
}

func (d *document) checkDependency(r *reader, at pos, dep otto.Dependency, on *service, names []string) {
	if on == nil {
		try := "write the name of a service of this file"
		if n := nearest(dep.Service, names); n != "" {
			try = "did you mean " + n + "?"
		}
		r.reject(at, try, "there is no service %.60q", dep.Service)
		return
	}
	if restart := on.Spec.Restart; dep.Condition == otto.ServiceCompleted && restart != "no" &&
		!strings.HasPrefix(restart, "on-failure") {
		r.warn(at, `write restart: "no" there`,
			"service %s is started again whenever it completes, so that this waits forever", on.Name)
	}
}

// findCycle follows the dependencies of a service, depth first. A circle is
// reported once, where it closes.
func findCycle(r *reader, services map[string]*service, name string, way []string, done map[string]bool) {
	s := services[name]
	if s == nil || done[name] {
		return
	}
	way = append(way, name)
	for i, dep := range s.DependsOn {
		if from := slices.Index(way, dep.Service); from >= 0 {
			circle := strings.Join(append(slices.Clone(way[from:]), dep.Service), " > ")
			r.reject(s.dependsAt[i], "take one of them out", "services wait for each other: %.200s", circle)
			continue
		}
		findCycle(r, services, dep.Service, way, done)
	}
	done[name] = true
}

// hostPort is a port that the replicas of a service take on their nodes.
type hostPort struct {
	pos
	otto.Port
	*service
	address netip.Addr // to listen on, unspecified for all
}

// checkPorts finds ports of a node that two containers would want.
func (d *document) checkPorts(r *reader) {
	type socket struct {
		port     uint16
		protocol string
	}
	wanted := map[socket][]hostPort{}
	var order []socket
	for i := range d.services {
		s := &d.services[i]
		for j, p := range s.Spec.Ports {
			if p.Host == 0 || s.Spec.NetworkMode == "host" || s.Spec.NetworkMode == "none" {
				continue
			}
			at := socket{p.Host, p.Protocol}
			if wanted[at] == nil {
				order = append(order, at)
			}
			wanted[at] = append(wanted[at], hostPort{s.portsAt[j], p, s, listenAddress(p.HostIP)})
		}
	}
	for _, at := range order {
		d.checkPort(r, wanted[at])
	}
}

// checkPort judges all who want the same port, in the file's order.
func (d *document) checkPort(r *reader, all []hostPort) {
	for i, p := range all {
		what := fmt.Sprintf("port %d/%s", p.Host, p.Protocol)
		if i > 0 && all[i-1].pos == p.pos && all[i-1].service == p.service && overlap(all[i-1].address, p.address) {
			r.reject(p.pos, "give each container port a host port of its own", "%s is published twice by one line",
				what)
			continue
		}
		if d.mqtt.Embedded == EmbeddedAlways && p.Protocol == "tcp" && int(p.Host) == d.mqtt.Port &&
			d.onlyLocal(p.Node) {
			r.reject(p.pos, "write another host port, or another mqtt.port", "%s is where Otto serves MQTT", what)
		}
		switch {
		case p.Replicas < 2:
		case p.Node != "":
			r.reject(p.pos, "leave the host port out, or node", "%s of node %s cannot be had by %d replicas of %s",
				what, p.Node, p.Replicas, p.Name)
			continue
		case p.Unit != "":
			r.reject(p.pos, "leave the host port out", "%s of one node cannot be had by %d replicas of %s", what,
				p.Replicas, p.Name)
			continue
		}
		before := all[:i]
		if rival := slices.IndexFunc(before, func(o hostPort) bool { return collide(o, p) }); rival >= 0 {
			o := before[rival]
			r.reject(p.pos, "write another host port", "%s is taken by service %s in line %d", what, o.Name, o.line)
			continue
		}
		if free := d.freeNodes(before, p); p.Node == "" && !p.Global() && p.Replicas > free {
			r.reject(p.pos, "leave the host port out, or ask for fewer replicas",
				"%s is free on %d nodes, too few for %d of %s", what, free, p.Replicas, p.Name)
		}
	}
}

// collide reports whether two want the same port of the same node for certain.
func collide(a, b hostPort) bool {
	sameNode := a.Node == b.Node && a.Node != "" || a.service == b.service || a.Unit == b.Unit && a.Unit != ""
	return sameNode && overlap(a.address, b.address)
}

// overlap reports whether two addresses to listen on exclude each other. None means
// all of both kinds; 0.0.0.0 and :: are different sockets, as the engine makes them.
func overlap(a, b netip.Addr) bool {
	switch {
	case !a.IsValid() || !b.IsValid():
		return true
	case a.Is4() != b.Is4():
		return false
	}
	return a.IsUnspecified() || b.IsUnspecified() || a == b
}

// listenAddress is the address to listen on, the zero one for all.
func listenAddress(ip string) netip.Addr {
	address, err := netip.ParseAddr(ip)
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap()
}

// freeNodes counts the nodes that are left for p after those before it.
func (d *document) freeNodes(before []hostPort, p hostPort) int {
	free := len(d.nodes)
	for _, o := range before {
		if o.service != p.service && overlap(o.address, p.address) {
			free -= o.Replicas
		}
	}
	return max(free, 0)
}
