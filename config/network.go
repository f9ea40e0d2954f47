package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/otto-edge/otto"
)

// attachment is a network that a service names.
type attachment struct {
	pos
	name     string // of the file; default is the one that services have without any
	priority int    // the highest one's is the first
	otto.Network
}

// link is another service that a service knows by a name of its own.
type link struct {
	pos
	service, alias string
}

// network is one that the file defines.
type network struct {
	pos
	otto.Network
}

// volume is one that the file defines.
type volume struct {
	pos
	name       string // of the engine
	implied    bool   // the name is not in the file
	external   bool
	driver     string
	driverOpts map[string]string
	labels     map[string]string
	move       string // never, or empty
}

// moveNever is what a volume says that stays where it is, whatever services say.
const moveNever = "never"

// defaultNetwork is what a service is attached to that names no network.
const defaultNetwork = "default"

func networkKeys() map[string]key[service] {
	a := attachmentObject()
	s := oneOf(listOf(text("")).schema,
		schema{"type": "object", "additionalProperties": oneOf(a.schema(), schema{"type": "null"})})
	return map[string]key[service]{
		"networks": {
			"Networks to be attached to, instead of the usual one.",
			s,
			func(r *reader, v value, into *service) {
				switch v.kind {
				case list:
					for _, item := range v.items {
						if name, ok := text("the name of a network").read(r, item); ok {
							into.attach(attachment{pos: item.pos, name: name})
						}
					}
				case mapping:
					for _, f := range v.fields {
						n := attachment{pos: f.pos, name: f.name}
						if f.kind == null || a.read(r, f.value, &n) {
							into.attach(n)
						}
					}
				default:
					r.wants(v, list, "one network an item, after a dash")
				}
			},
		},
		"links": {
			"Services under names of its own, such as db:database.",
			listOf(text("")).schema,
			func(r *reader, v value, into *service) {
				list, _ := listOf(text("the name of a service, or service:name")).read(r, v)
				for _, entry := range list {
					name, alias, _ := strings.Cut(entry, ":")
					into.links = append(into.links, link{v.pos, name, alias})
				}
			},
		},
		"external_links": {
			"Containers of the node under other names.",
			listOf(text("")).schema,
			func(r *reader, v value, into *service) {
				list, _ := listOf(text("the name of a container, or container:name")).read(r, v)
				for _, entry := range list {
					name, alias, given := strings.Cut(entry, ":")
					if !given {
						alias = name
					}
					into.Spec.Links = append(into.Spec.Links, name+":"+alias)
				}
			},
		},
	}
}

func (s *service) attach(n attachment) {
	if !slices.ContainsFunc(s.networks, func(o attachment) bool { return o.name == n.name }) {
		s.networks = append(s.networks, n)
	}
}

func attachmentObject() object[attachment] {
	type to = attachment
	return object[to]{
		noun:  "a network of a service",
		later: composeKeys[types.ServiceNetworkConfig](),
		keys: map[string]key[to]{
			"aliases": as("Further names of the service there.", listOf(text("a name")),
				func(n *to) *[]string { return &n.Aliases }),
			"ipv4_address": as("Its address there.", checked("172.20.0.5", isAddress),
				func(n *to) *string { return &n.IPv4 }),
			"ipv6_address": as("Its IPv6 address there.", checked("fd00::5", isAddress),
				func(n *to) *string { return &n.IPv6 }),
			"link_local_ips": as(
				"Its link-local addresses there.",
				listOf(checked("169.254.8.8", isAddress)),
				func(n *to) *[]string {
					return &n.LinkLocal
				},
			),
			"mac_address": as("Its network card's address there.", checked("02:42:ac:11:65:43", isMAC),
				func(n *to) *string { return &n.MACAddress }),
			"gw_priority": as("The network with the highest one has the default route.", integer(-1<<31, 1<<31-1),
				func(n *to) *int { return &n.GatewayPriority }),
			"priority": as("The network with the highest one is attached first.", integer(-1<<31, 1<<31-1),
				func(n *to) *int { return &n.priority }),
			"driver_opts": as("Options of the driver for it.", pairs(),
				func(n *to) *map[string]string { return &n.EndpointOpts }),
		},
	}
}

// networksKey reads the networks that the file defines.
func networksKey() key[project] {
	o := networkObject()
	s := schema{"type": "object", "additionalProperties": oneOf(o.schema(), schema{"type": "null"})}
	return key[project]{
		"Networks of the node for services to be attached to.",
		s,
		func(r *reader, v value, p *project) {
			if !r.wants(v, mapping, "one name a line, each with a colon after it") {
				return
			}
			p.networks = map[string]network{}
			for _, f := range v.fields {
				n := network{pos: f.pos}
				if f.kind == null || o.read(r, f.value, &n) {
					p.networks[f.name] = n
				}
			}
		},
	}
}

func networkObject() object[network] {
	type pool = otto.IPPool
	one := object[pool]{noun: "a range of addresses", later: composeKeys[types.IPAMPool](), keys: map[string]key[pool]{
		"subnet": as("Addresses of the network, such as 172.28.0.0/16.", checked("172.28.0.0/16", isPrefix),
			func(p *pool) *string { return &p.Subnet }),
		"ip_range": as("Those that containers get.", checked("172.28.5.0/24", isPrefix),
			func(p *pool) *string { return &p.Range }),
		"gateway": as("Address of the gateway.", checked("172.28.0.1", isAddress),
			func(p *pool) *string { return &p.Gateway }),
		"aux_addresses": as("Addresses that are taken.", pairs(), func(p *pool) *map[string]string { return &p.Aux }),
	}}
	ipam := object[otto.IPAM]{noun: "ipam", later: composeKeys[types.IPAMConfig](), keys: map[string]key[otto.IPAM]{
		"driver":  as("Driver that gives addresses.", text("default"), func(i *otto.IPAM) *string { return &i.Driver }),
		"config":  as("Ranges of addresses.", listOf(one.one()), func(i *otto.IPAM) *[]pool { return &i.Pools }),
		"options": as("Options of that driver.", pairs(), func(i *otto.IPAM) *map[string]string { return &i.Options }),
	}}
	return object[network]{noun: "a network", later: composeKeys[types.NetworkConfig](), keys: map[string]key[network]{
		"name": as("Its name in the engine.", checked("a name of letters, digits, _ . and -", isVolumeName),
			func(n *network) *string { return &n.Name }),
		"external": {
			"Whether it is there already, and not Otto's.",
			externalSchema(),
			func(r *reader, v value, n *network) {
				n.External = readExternal(r, v, &n.Name)
			},
		},
		"driver": as("Driver, bridge by default.", checked("a driver such as bridge or macvlan", isWord),
			func(n *network) *string { return &n.Driver }),
		"driver_opts": as("Options of the driver.", pairs(),
			func(n *network) *map[string]string { return &n.DriverOpts }),
		"internal": as("Whether nothing outside of it can be reached.", boolean(),
			func(n *network) *bool { return &n.Internal }),
		"attachable": as("Whether other containers may join; of Swarm.", boolean(),
			func(n *network) *bool { return &n.Attachable }),
		"enable_ipv4": as("Whether it has IPv4 addresses.", pointer(boolean()),
			func(n *network) **bool { return &n.EnableIPv4 }),
		"enable_ipv6": as("Whether it has IPv6 addresses.", pointer(boolean()),
			func(n *network) **bool { return &n.EnableIPv6 }),
		"ipam":   as("Which addresses it has.", pointer(ipam.one()), func(n *network) **otto.IPAM { return &n.IPAM }),
		"labels": as("Labels of the network.", labels(), func(n *network) *map[string]string { return &n.Labels }),
	}}
}

func isPrefix(s string) bool {
	_, err := netip.ParsePrefix(s)
	return err == nil
}

func externalSchema() schema {
	return oneOf(schema{"type": "boolean"},
		schema{"type": "object", "properties": schema{"name": schema{"type": "string"}}})
}

// readExternal reads true or false, or Compose's older form that holds the name.
func readExternal(r *reader, v value, name *string) bool {
	if v.kind == mapping {
		o := object[string]{
			noun: "external",
			keys: map[string]key[string]{"name": as("Its name.", text("a name"), func(n *string) *string { return n })},
		}
		return o.read(r, v, name)
	}
	external, _ := boolean().read(r, v)
	return external
}

// volumesKey reads the volumes that the file defines.
func volumesKey() key[project] {
	o := object[volume]{noun: "a volume", later: composeKeys[types.VolumeConfig](), keys: map[string]key[volume]{
		"name": as("Its name in the engine.", checked("a name of letters, digits, _ . and -", isVolumeName),
			func(d *volume) *string { return &d.name }),
		"external": {
			"Whether it is there already, and not Otto's.",
			externalSchema(),
			func(r *reader, v value, d *volume) {
				d.external = readExternal(r, v, &d.name)
			},
		},
		"driver": as("Driver, local by default.", text("local"), func(d *volume) *string { return &d.driver }),
		"driver_opts": as("Options of the driver.", pairs(),
			func(d *volume) *map[string]string { return &d.driverOpts }),
		"labels": as("Labels of the volume.", labels(), func(d *volume) *map[string]string { return &d.labels }),
		xOtto: nested("What Compose has no key for.", object[volume]{noun: xOtto, keys: map[string]key[volume]{
			"move": as("never: no service leaves it for another node, and it is not brought to one.",
				choice(moveNever), func(d *volume) *string { return &d.move }),
		}}),
	}}
	s := schema{"type": "object", "additionalProperties": oneOf(o.schema(), schema{"type": "null"})}
	return key[project]{"Named volumes. They need not be listed.", s, func(r *reader, v value, p *project) {
		if !r.wants(v, mapping, "one name a line, each with a colon after it") {
			return
		}
		p.volumes = map[string]volume{}
		for _, f := range v.fields {
			d := volume{pos: f.pos}
			if f.kind == null || o.read(r, f.value, &d) {
				p.volumes[f.name] = d
			}
		}
	}}
}

// project are services that share one name space, with the networks and volumes
// that are defined for them: those of otto.yaml itself, or of a stack.
type project struct {
	stack    string // empty for those of otto.yaml itself
	prefix   string // of the names of its networks: the stack, or the cluster
	services []service
	networks map[string]network
	volumes  map[string]volume
	secrets  map[string]*fileSource
	configs  map[string]*fileSource
	contents otto.Contents // of those that services have
	paths    []pathRule
	brought  brought // what goes to the nodes of its relative paths
}

// resolve replaces the file's names of networks, volumes and services in what the
// services ask for by those of the engine.
func (p *project) resolve(r *reader) {
	for i := range p.services {
		s := &p.services[i]
		p.resolveNetworks(r, s)
		p.resolveVolumes(r, s)
		p.resolveFiles(r, s)
		p.resolveVariables(r, s)
		p.resolveLinks(r, s)
		p.resolveBorrows(r, s)
	}
}

func (p *project) resolveNetworks(r *reader, s *service) {
	_, redefined := p.networks[defaultNetwork]
	if len(s.networks) == 0 && s.Spec.NetworkMode == "" && (p.stack != "" || redefined) {
		s.networks = []attachment{{pos: s.pos, name: defaultNetwork}}
	}
	if s.Spec.NetworkMode != "" && len(s.networks) > 0 {
		r.reject(s.networks[0].pos, "keep one of them", "network_mode and networks exclude each other")
		return
	}
	usual := len(s.networks) == 1 && s.networks[0].name == defaultNetwork && !redefined && p.stack == "" &&
		plainlyAttached(s.networks[0])
	if usual {
		return
	}
	slices.SortStableFunc(s.networks, func(a, b attachment) int { return b.priority - a.priority })
	for _, a := range s.networks {
		def, known := p.networks[a.name]
		if !known && a.name != defaultNetwork {
			names := append(slices.Sorted(maps.Keys(p.networks)), defaultNetwork)
			try := "define it under networks at the top of the file"
			if n := nearest(a.name, names); n != "" {
				try = "did you mean " + n + "?"
			}
			r.reject(a.pos, try, "there is no network %.60q", a.name)
			continue
		}
		s.Spec.Networks = append(s.Spec.Networks, p.network(a, def))
	}
}

func plainlyAttached(a attachment) bool {
	return len(a.Aliases) == 0 && a.IPv4 == "" && a.IPv6 == "" && len(a.LinkLocal) == 0 && a.MACAddress == "" &&
		a.GatewayPriority == 0 &&
		len(a.EndpointOpts) == 0
}

// network is an attachment to a network as it is defined.
func (p *project) network(a attachment, def network) otto.Network {
	n := def.Network
	n.Aliases, n.IPv4, n.IPv6, n.LinkLocal = a.Aliases, a.IPv4, a.IPv6, a.LinkLocal
	n.MACAddress, n.GatewayPriority, n.EndpointOpts = a.MACAddress, a.GatewayPriority, a.EndpointOpts
	if n.IPAM != nil && n.IPAM.Driver == "" && len(n.IPAM.Options) == 0 && len(n.IPAM.Pools) == 0 {
		n.IPAM = nil
	}
	switch {
	case n.Name != "":
	case n.External:
		n.Name = a.name
	case p.stack != "" || a.name != defaultNetwork:
		n.Name = p.prefix + "_" + a.name
	}
	return n
}

func (p *project) resolveVolumes(r *reader, s *service) {
	for i := range s.Spec.Mounts {
		m := &s.Spec.Mounts[i]
		if m.Type != otto.MountVolume || m.Source == "" {
			continue
		}
		key := m.Source
		def := p.volumes[key]
		if def.move == moveNever {
			s.fixed = append(s.fixed, key)
		}
		switch {
		case def.name != "":
			m.Source = def.name
		case p.stack != "" && !def.external:
			m.Source = p.stack + "_" + key
		}
		if def.name == "" || def.implied {
			if s.Implied == nil {
				s.Implied = map[string]otto.ImpliedVolume{}
			}
			at := s.mountsAt[i]
			s.Implied[m.Source] = otto.ImpliedVolume{
				Key: key,
				At:  fmt.Sprintf("%s:%d:%d", cmp.Or(at.file, r.file), at.line, at.col),
			}
		}
		m.External, m.Driver, m.DriverOpts = def.external, def.driver, def.driverOpts
		if m.Driver == "local" {
			m.Driver = "" // as it is without
		}
		for name, val := range def.labels {
			if m.Labels == nil {
				m.Labels = map[string]string{}
			}
			m.Labels[name] = val
		}
	}
}

// resolveLinks makes a link a name of the other service's first container, which must
// start before.
func (p *project) resolveLinks(r *reader, s *service) {
	for _, l := range s.links {
		i := slices.IndexFunc(p.services, func(o service) bool { return o.Name == l.service })
		if i < 0 {
			r.reject(l.pos, "write the name of a service of this file", "there is no service %.60q", l.service)
			continue
		}
		on := p.services[i]
		if !slices.ContainsFunc(s.DependsOn, func(d otto.Dependency) bool { return d.Service == l.service }) {
			s.DependsOn = append(s.DependsOn, otto.Dependency{Service: l.service, Condition: otto.ServiceStarted})
			s.dependsAt = append(s.dependsAt, l.pos)
		}
		first := otto.Instance{Name: on.Name, Service: on.Name, Spec: on.Spec}
		alias := cmp.Or(l.alias, l.service)
		switch {
		case s.Spec.NetworkMode == "bridge": // where names of services are not known
			if p.stack != "" {
				first.Service = p.stack + "/" + on.Name
				first.Name = first.Service
			}
		case alias == l.service:
			continue
		}
		s.Spec.Links = append(s.Spec.Links, first.ContainerName()+":"+alias)
	}
}

// dropUnused takes out the services of profiles that are not asked for, as Compose does.
func (p *project) dropUnused(r *reader) {
	if !slices.ContainsFunc(p.services, func(s service) bool { return len(s.profiles) > 0 }) {
		return
	}
	asked, _ := r.lookup("COMPOSE_PROFILES")
	profiles := strings.Split(asked, ",")
	p.services = slices.DeleteFunc(p.services, func(s service) bool {
		return len(s.profiles) > 0 && !slices.Contains(profiles, "*") &&
			!slices.ContainsFunc(s.profiles, func(name string) bool { return slices.Contains(profiles, name) })
	})
}
