package config

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// probeKey is Otto's own check of a service, which says in one of three ways
// what the agent tries.
func probeKey() key[service] {
	port := integer(1, 65535)
	o := object[otto.Probe]{noun: "a probe", keys: map[string]key[otto.Probe]{
		"http": as(
			"A request that must be answered, such as :8080/healthz.",
			httpProbe(),
			func(p *otto.Probe) **otto.HTTPProbe { return &p.HTTP },
		),
		"tcp": {
			"A port of the container that must accept connections.",
			port.schema,
			func(r *reader, v value, p *otto.Probe) {
				n, _ := port.read(r, v)
				p.TCP = uint16(n)
			},
		},
		"exec": as(
			"A command in the container that must end with 0.",
			probeCommand(),
			func(p *otto.Probe) *[]string { return &p.Exec },
		),
		"interval": as("Time between two probes, 10s by default.",
			duration(time.Second, time.Hour), func(p *otto.Probe) *time.Duration { return &p.Interval }),
		"timeout": as("How long one may take, 3s by default.",
			duration(100*time.Millisecond, time.Minute), func(p *otto.Probe) *time.Duration { return &p.Timeout }),
		"retries": as(
			"Failures in a row that make it unhealthy, 3 by default.",
			integer(1, 100),
			func(p *otto.Probe) *int { return &p.Retries },
		),
		"start_period": as("How long failures after a start do not count.",
			duration(0, 24*time.Hour), func(p *otto.Probe) *time.Duration { return &p.StartPeriod }),
	}}
	return key[service]{
		"How Otto finds out whether a container works.",
		o.schema(),
		func(r *reader, v value, s *service) {
			var p otto.Probe
			s.probeAt = v.pos
			if o.read(r, v, &p) && r.oneWay(v, o) {
				s.Probe = &p
			}
		},
	}
}

// oneWay rejects a probe that does not say in exactly one way what to try.
func (r *reader) oneWay(probe value, o object[otto.Probe]) bool {
	var ways []field
	misspelt := false
	for _, f := range probe.fields {
		if f.kind != null && (f.name == "http" || f.name == "tcp" || f.name == "exec") {
			ways = append(ways, f)
		}
		misspelt = misspelt || o.keys[f.name].read == nil && !strings.HasPrefix(f.name, "x-")
	}
	switch len(ways) {
	case 0:
		if misspelt { // and rejected
			return false
		}
		r.reject(
			probe.pos,
			"write http: :8080/healthz, tcp: 6379 or exec: [program, argument]",
			"a probe needs http, tcp or exec",
		)
	case 1:
		return true
	default:
		r.reject(
			ways[1].pos,
			"keep one of them",
			"a probe has one of http, tcp and exec, and %s is here already",
			ways[0].name,
		)
	}
	return false
}

func probeCommand() form[[]string] {
	words := command()
	return form[[]string]{words.schema, func(r *reader, v value) ([]string, bool) {
		if v.kind == list && len(v.items) == 0 || v.kind == scalar && strings.TrimSpace(v.text) == "" {
			r.reject(v.pos, "write [program, argument]", "this command is empty")
			return nil, false
		}
		return words.read(r, v)
	}}
}

// httpProbe is :8080/healthz, or a mapping of port and path.
func httpProbe() form[*otto.HTTPProbe] {
	port := integer(1, 65535)
	o := object[otto.HTTPProbe]{
		noun: "http",
		keys: map[string]key[otto.HTTPProbe]{
			"port": {"Port of the container.", port.schema, func(r *reader, v value, h *otto.HTTPProbe) {
				n, _ := port.read(r, v)
				h.Port = uint16(n)
			}},
			"path": as(
				"Path to ask for, / by default.",
				checked("a path such as /healthz", isURLPath),
				func(h *otto.HTTPProbe) *string { return &h.Path },
			),
		},
		required: map[string]string{"port": "port: 8080"},
	}
	return form[*otto.HTTPProbe]{
		oneOf(o.schema(), schema{"type": "string"}),
		func(r *reader, v value) (*otto.HTTPProbe, bool) {
			var h otto.HTTPProbe
			if v.kind == mapping {
				return &h, o.read(r, v, &h)
			}
			short, ok := text(":8080/healthz").read(r, v)
			if !ok {
				return nil, false
			}
			number, path, found := strings.Cut(strings.TrimPrefix(short, ":"), "/")
			if found {
				h.Path = "/" + path
			}
			if !strings.HasPrefix(short, ":") || !isPort(number) || found && !isURLPath(h.Path) {
				r.reject(
					v.pos,
					"write the container's port and the path, such as :8080/healthz",
					"%.60q is not what a probe can ask for",
					short,
				)
				return nil, false
			}
			n, _ := strconv.Atoi(number)
			h.Port = uint16(n)
			return &h, true
		},
	}
}

// isURLPath reports whether p can stand in a request as it is.
func isURLPath(p string) bool {
	return regexp.MustCompile(`^/[!-~]*$`).MatchString(p) && !strings.Contains(p, "#")
}
