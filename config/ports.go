package config

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/otto-edge/otto"
)

// Bounds of the ports of a service and of a file: a short range may hold many,
// and an alias repeats it.
const (
	maxPorts    = 1000
	maxAllPorts = 5000
)

func portsKey() key[service] {
	long := portObject()
	s := listOf(form[int]{schema: oneOf(oneOfKinds("string", "integer"), long.schema())}).schema
	return key[service]{`Ports of the node, such as "8080:80".`, s, func(r *reader, v value, into *service) {
		if !r.wants(v, list, `one port an item, such as - "8080:80"`) {
			return
		}
		for _, item := range v.items {
			if r.ports > maxAllPorts {
				return
			}
			var ports []otto.Port
			if item.kind == mapping {
				ports = readLongPort(r, item, long)
			} else {
				ports = readShortPort(r, item)
			}
			if len(into.Spec.Ports)+len(ports) > maxPorts {
				r.reject(item.pos, "use network_mode: host for so many", "a service can publish at most %d ports",
					maxPorts)
				return
			}
			if r.ports += len(ports); r.ports > maxAllPorts {
				r.reject(item.pos, "use network_mode: host for so many", "a file can publish at most %d ports",
					maxAllPorts)
				return
			}
			for _, p := range ports {
				into.Spec.Ports = append(into.Spec.Ports, p)
				into.portsAt = append(into.portsAt, item.pos)
			}
		}
	}}
}

// readShortPort reads [[ip:]host:]container[/protocol], with ranges.
func readShortPort(r *reader, v value) []otto.Port {
	const example = `"8080:80", "53:53/udp" or "127.0.0.1:8080:80"`
	spec, ok := text(example).read(r, v)
	if !ok {
		return nil
	}
	if longRange(spec) {
		r.reject(v.pos, "use network_mode: host for so many", "a service can publish at most %d ports", maxPorts)
		return nil
	}
	parsed, err := types.ParsePortConfig(spec)
	if err != nil || len(parsed) == 0 {
		r.reject(v.pos, "write "+example, "%.60q is not a port", spec)
		return nil
	}
	ports := make([]otto.Port, 0, len(parsed))
	for _, p := range parsed {
		port, ok := r.port(v.pos, p)
		if !ok {
			return nil
		}
		ports = append(ports, port)
	}
	return ports
}

var portRange = regexp.MustCompile(`(\d{1,5})-(\d{1,5})`)

func longRange(spec string) bool {
	for _, m := range portRange.FindAllStringSubmatch(spec, -1) {
		first, _ := strconv.Atoi(m[1])
		last, _ := strconv.Atoi(m[2])
		if last-first >= maxPorts {
			return true
		}
	}
	return false
}

// port turns Compose's form of one port into Otto's.
func (r *reader) port(at pos, p types.ServicePortConfig) (otto.Port, bool) {
	out := otto.Port{HostIP: p.HostIP, Container: uint16(p.Target), Protocol: p.Protocol}
	if p.HostIP != "" {
		if _, err := netip.ParseAddr(p.HostIP); err != nil {
			r.reject(at, "write an address of the node, such as 127.0.0.1", "%.60q is not an IP address", p.HostIP)
			return out, false
		}
	}
	switch {
	case strings.Contains(p.Published, "-"):
		r.reject(at, "write one port", "a range of host ports to choose one from is not supported yet")
		return out, false
	case p.Published != "" && p.Published != "0":
		if !isPort(p.Published) {
			r.reject(at, "write a port from 1 to 65535", "%.60q is not a port", p.Published)
			return out, false
		}
		n, _ := strconv.Atoi(p.Published)
		out.Host = uint16(n)
	}
	if p.Target == 0 || p.Target > 65535 {
		r.reject(at, "write a port from 1 to 65535", "%d is not a port", p.Target)
		return out, false
	}
	return out, true
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

func portObject() object[types.ServicePortConfig] {
	type port = types.ServicePortConfig
	return object[port]{
		noun: "a port",
		keys: map[string]key[port]{
			"target": {"Port in the container.", integer(1, 65535).schema, func(r *reader, v value, p *port) {
				n, _ := integer(1, 65535).read(r, v)
				p.Target = uint32(n)
			}},
			"published": as("Port of the node; without it the engine chooses.", text("a port such as 8080"),
				func(p *port) *string { return &p.Published }),
			"host_ip": as("Address of the node to listen on, all by default.", text("an address such as 127.0.0.1"),
				func(p *port) *string { return &p.HostIP }),
			"protocol": as("tcp by default.", lower(choice("tcp", "udp", "sctp")),
				func(p *port) *string { return &p.Protocol }),
			"mode": as("host or ingress; both publish on the service's node.", choice("host", "ingress"),
				func(p *port) *string { return &p.Mode }),
			"name": as("For people.", text("a name"), func(p *port) *string { return &p.Name }),
			"app_protocol": as("For people.", text("a protocol such as http"),
				func(p *port) *string { return &p.AppProtocol }),
		},
		required: map[string]string{"target": "target: 80"},
	}
}

func readLongPort(r *reader, v value, o object[types.ServicePortConfig]) []otto.Port {
	p := types.ServicePortConfig{Protocol: "tcp"}
	if !o.read(r, v, &p) || p.Target == 0 {
		return nil
	}
	port, ok := r.port(v.pos, p)
	if !ok {
		return nil
	}
	return []otto.Port{port}
}

// lower is a form whose words may be written in capitals, too.
func lower(f form[string]) form[string] {
	return form[string]{f.schema, func(r *reader, v value) (string, bool) {
		v.text = strings.ToLower(v.text)
		return f.read(r, v)
	}}
}
