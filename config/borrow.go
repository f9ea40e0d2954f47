package config

import (
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// borrowing is where a service says that it has something of another one's container.
type borrowing struct {
	pos
	key     string // such as network_mode
	service string
}

// volumesFromKey reads from which services or containers the mounts are had too.
func volumesFromKey() key[service] {
	names := listOf(text("a service, such as db or db:ro"))
	return key[service]{"Services, or containers of the node, whose mounts it has too: db, db:ro or container:name.", names.schema, func(r *reader, v value, s *service) {
		list, ok := names.read(r, v)
		for _, entry := range list {
			name, mode, _ := strings.Cut(strings.TrimPrefix(entry, "container:"), ":")
			if name == "" || !slices.Contains([]string{"", "ro", "rw"}, mode) {
				r.reject(v.pos, "write db, db:ro or container:name", "%.60q is neither a service nor a container", entry)
				continue
			}
			if !strings.HasPrefix(entry, "container:") {
				s.borrows = append(s.borrows, borrowing{v.pos, "volumes_from", name})
				entry = otto.ServicePrefix + entry
			}
			s.Spec.VolumesFrom = append(s.Spec.VolumesFrom, entry)
		}
		if !ok {
			s.Spec.VolumesFrom = nil
		}
	}}
}

// lends takes in that a service names another one's namespace, if it does.
func (s *service) lends(at pos, key, mode string) {
	if name, ok := strings.CutPrefix(mode, otto.ServicePrefix); ok {
		s.borrows = append(s.borrows, borrowing{at, key, name})
	}
}

// resolveBorrows judges what a service has of others, which must be on its node and there
// before it.
func (p *project) resolveBorrows(r *reader, s *service) {
	for _, b := range s.borrows {
		i := slices.IndexFunc(p.services, func(o service) bool { return o.Name == b.service })
		switch {
		case p.stack == "":
			r.reject(b.pos, "put both into one compose.yaml and name that under stacks, which keeps them together",
				"%s ties service %s to the node of service %.60s, and the services of this file are placed one by one", b.key, s.Name, b.service)
		case b.service == s.Name:
			r.reject(b.pos, "write another service", "service %s cannot borrow from itself", s.Name)
		case i < 0:
			r.reject(b.pos, "write the name of a service of this file", "there is no service %.60q", b.service)
		default:
			p.checkLender(r, s, b, &p.services[i])
		}
	}
	for i, d := range s.DependsOn {
		of := slices.IndexFunc(p.services, func(o service) bool { return o.Name == d.Service })
		if d.Restart && of >= 0 && p.services[of].Global() && p.stack != "" {
			r.warn(s.dependsAt[i], "write restart: false", "service %s is on every node, and service %s is not restarted after it", d.Service, s.Name)
		}
		if d.Restart && p.stack == "" {
			r.reject(s.dependsAt[i], "put both into one compose.yaml and name that under stacks",
				"restart: true is for services that are always on one node, and the services of this file are placed one by one")
		}
	}
}

func (p *project) checkLender(r *reader, s *service, b borrowing, of *service) {
	switch {
	case of.apart || s.apart:
		r.reject(b.pos, "take apart out of x-otto", "%s ties service %s to the container of service %s, and one of them is placed by itself", b.key, s.Name, of.Name)
		return
	case of.Global() != s.Global():
		r.reject(b.pos, "write mode: global for both or for none", "%s ties service %s to the container of service %s, and only one of them is on every node", b.key, s.Name, of.Name)
		return
	case of.Replicas == 0 && s.Replicas > 0 && !of.Global():
		r.reject(b.pos, "write replicas: 0 here too, or 1 there", "service %s has no container from which service %s could borrow", of.Name, s.Name)
		return
	}
	if !slices.ContainsFunc(s.DependsOn, func(d otto.Dependency) bool { return d.Service == of.Name }) {
		s.DependsOn = append(s.DependsOn, otto.Dependency{Service: of.Name, Condition: otto.ServiceStarted})
		s.dependsAt = append(s.dependsAt, b.pos)
	}
	switch {
	case b.key == "network_mode":
		s.checkOwnNetwork(r, b)
	case b.key == "ipc" && !slices.Contains([]string{"shareable", "host"}, of.engine.IPCMode):
		r.warn(b.pos, "write ipc: shareable at service "+of.Name, "engines keep the shared memory of service %s to itself unless they are told otherwise", of.Name)
	}
}

// checkOwnNetwork finds what is of a network, and so of the service that lends it. The
// engine refuses it as well.
func (s *service) checkOwnNetwork(r *reader, b borrowing) {
	var own []string
	add := func(is bool, name string) {
		if is {
			own = append(own, name)
		}
	}
	add(len(s.Spec.Ports) > 0, "ports")
	add(len(s.Spec.Expose) > 0, "expose")
	add(len(s.links)+len(s.Spec.Links) > 0, "links")
	add(len(s.Spec.ExtraHosts) > 0, "extra_hosts")
	add(len(s.engine.DNS) > 0, "dns")
	add(s.engine.Hostname != "", "hostname")
	add(s.engine.MACAddress != "", "mac_address")
	if len(own) == 0 {
		return
	}
	at := b.pos
	if len(s.portsAt) > 0 {
		at = s.portsAt[0]
	}
	r.reject(at, "write it at service "+b.service+", whose network it is", "service %s has no network of its own for %s", s.Name, strings.Join(own, ", "))
}
