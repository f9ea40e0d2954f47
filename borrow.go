package otto

import (
	"slices"
	"strings"
)

// ServicePrefix begins what names another service of the same project, whose container
// lends its network, processes, shared memory or mounts.
const ServicePrefix = "service:"

// Joined are the services whose namespaces its containers are in. Each of those ends
// with a run of the other container: who is in it must be restarted then.
func (s ContainerSpec) Joined() (services []string) {
	for _, mode := range s.namespaces() {
		if name, ok := strings.CutPrefix(*mode, ServicePrefix); ok && !slices.Contains(services, name) {
			services = append(services, name)
		}
	}
	return services
}

// Lenders are all services from whose containers it has something: a namespace, or
// mounts. It must be made anew when one of those containers is.
func (s ContainerSpec) Lenders() []string {
	services := s.Joined()
	for _, from := range s.VolumesFrom {
		if name, ok := lenderOfMounts(from); ok && !slices.Contains(services, name) {
			services = append(services, name)
		}
	}
	return services
}

// RenameLenders has the services from which it borrows be called by other names. What it
// shares with other specs is copied.
func (s *ContainerSpec) RenameLenders(name func(string) string) {
	if len(s.Lenders()) == 0 {
		return
	}
	if s.Engine != nil {
		engine := *s.Engine
		s.Engine = &engine
	}
	for _, mode := range s.namespaces() {
		if service, ok := strings.CutPrefix(*mode, ServicePrefix); ok {
			*mode = ServicePrefix + name(service)
		}
	}
	s.VolumesFrom = slices.Clone(s.VolumesFrom)
	for i, from := range s.VolumesFrom {
		if service, ok := lenderOfMounts(from); ok {
			s.VolumesFrom[i] = ServicePrefix + name(service) + strings.TrimPrefix(from, ServicePrefix+service)
		}
	}
}

func (s *ContainerSpec) namespaces() []*string {
	all := []*string{&s.NetworkMode}
	if s.Engine != nil {
		all = append(all, &s.Engine.PIDMode, &s.Engine.IPCMode)
	}
	return all
}

// lenderOfMounts is the service of service:NAME[:ro].
func lenderOfMounts(from string) (service string, ok bool) {
	service, ok = strings.CutPrefix(from, ServicePrefix)
	service, _, _ = strings.Cut(service, ":")
	return service, ok
}
