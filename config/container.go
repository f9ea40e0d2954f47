package config

import (
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/otto-edge/otto"
)

// command is a list of words, or one text that is split as a shell would.
func command() form[[]string] {
	words := listOf(word())
	return form[[]string]{oneOf(words.schema, schema{"type": "string"}), func(r *reader, v value) ([]string, bool) {
		if v.kind == list {
			out, ok := words.read(r, v)
			return trimmed(out), ok
		}
		if !r.wants(v, scalar, "a command, or a list of its words") {
			return nil, false
		}
		out, ok := split(v.text)
		if !ok {
			r.reject(
				v.pos,
				"quote it, or write a list such as [sh, -c, \"...\"]",
				"this command cannot be split into words: there is an open quote, or a sign that means something to a shell",
			)
			return nil, false
		}
		return trimmed(out), true
	}}
}

// trimmed is a list, or nil without words: the engine takes an empty command for none.
func trimmed(words []string) []string {
	if len(words) == 0 {
		return nil
	}
	return words
}

// split splits a command into words. The library stops at a shell's operators
// without a word; a mark at the end shows whether it came that far.
func split(text string) ([]string, bool) {
	const mark = "otto-end-of-command"
	var out types.ShellCommand
	if err := out.DecodeMapstructure(text + " " + mark); err != nil || len(out) == 0 || out[len(out)-1] != mark {
		return nil, false
	}
	return out[:len(out)-1], true
}

// word is any single value, a blank one too.
func word() form[string] {
	return form[string]{oneOfKinds("string", "number", "boolean"), func(r *reader, v value) (string, bool) {
		return v.text, r.wants(v, scalar, "a word")
	}}
}

func healthcheck() form[*otto.Healthcheck] {
	type check struct {
		otto.Healthcheck
		disable bool
	}
	often := duration(time.Millisecond, 24*time.Hour)
	o := object[check]{noun: "healthcheck", keys: map[string]key[check]{
		"test": as("Command, or a list that begins with CMD, CMD-SHELL or NONE.", healthTest(),
			func(c *check) *[]string { return &c.Test }),
		"interval": as("Time between two checks.", often, func(c *check) *time.Duration { return &c.Interval }),
		"timeout":  as("How long one check may take.", often, func(c *check) *time.Duration { return &c.Timeout }),
		"start_period": as("Time in which failures do not count.", duration(0, 24*time.Hour),
			func(c *check) *time.Duration { return &c.StartPeriod }),
		"start_interval": as("Time between two checks during start_period.", often,
			func(c *check) *time.Duration { return &c.StartInterval }),
		"retries": as("Failures in a row that make it unhealthy.", integer(0, math.MaxInt32),
			func(c *check) *int { return &c.Retries }),
		"disable": as("Whether to switch off the image's own check.", boolean(),
			func(c *check) *bool { return &c.disable }),
	}}
	return form[*otto.Healthcheck]{o.schema(), func(r *reader, v value) (*otto.Healthcheck, bool) {
		var c check
		if !o.read(r, v, &c) {
			return nil, false
		}
		if c.disable {
			return &otto.Healthcheck{Test: []string{"NONE"}}, true
		}
		return &c.Healthcheck, true
	}}
}

func healthTest() form[[]string] {
	words := listOf(word())
	return form[[]string]{oneOf(words.schema, schema{"type": "string"}), func(r *reader, v value) ([]string, bool) {
		if v.kind != list {
			test, ok := text("a command").read(r, v)
			return []string{"CMD-SHELL", test}, ok
		}
		test, _ := words.read(r, v)
		switch {
		case len(test) == 1 && test[0] == "NONE",
			len(test) == 2 && test[0] == "CMD-SHELL",
			len(test) > 1 && test[0] == "CMD":
			return test, true
		}
		r.reject(v.pos, `write [CMD, program, argument] or [CMD-SHELL, "one line"]`,
			"a list as test begins with CMD, CMD-SHELL or NONE, and the command follows")
		return nil, false
	}}
}

func logging() form[*otto.Logging] {
	o := object[otto.Logging]{noun: "logging", keys: map[string]key[otto.Logging]{
		"driver": as("The engine's log driver.", checked("a driver such as json-file", isWord),
			func(l *otto.Logging) *string { return &l.Driver }),
		"options": as("Options of the driver.", pairs(),
			func(l *otto.Logging) *map[string]string { return &l.Options }),
	}}
	return form[*otto.Logging]{o.schema(), func(r *reader, v value) (*otto.Logging, bool) {
		var l otto.Logging
		return &l, o.read(r, v, &l)
	}}
}

// isolationKeys are those that give a container more of its node, or less.
func isolationKeys() map[string]key[service] {
	capability := checked("a capability such as NET_ADMIN", isCapability)
	return map[string]key[service]{
		"devices": {"Devices of the node, by their paths, or by names of CDI.", listOf(device()).schema, readDevices},
		"cap_add": as("Capabilities to add.", listOf(capability), func(s *service) *[]string { return &s.Spec.CapAdd }),
		"cap_drop": as("Capabilities to take away.", listOf(capability),
			func(s *service) *[]string { return &s.Spec.CapDrop }),
		"read_only": as("Whether the container's own file system is read-only.", boolean(),
			func(s *service) *bool { return &s.Spec.ReadOnly }),
		"network_mode": {
			"bridge, host or none instead of the cluster's network; in a stack also service:NAME for that of another service.",
			schema{"type": "string"},
			readNetworkMode,
		},
		"extra_hosts": as("Names and their addresses for /etc/hosts.", extraHosts(),
			func(s *service) *[]string { return &s.Spec.ExtraHosts }),
	}
}

func isCapability(s string) bool {
	return regexp.MustCompile(`^[A-Za-z][A-Za-z_]+$`).MatchString(s)
}

func readNetworkMode(r *reader, v value, s *service) {
	modes := []string{"bridge", "host", "none"}
	mode, ok := text("bridge, host or none").read(r, v)
	switch {
	case !ok:
	case slices.Contains(modes, mode),
		strings.HasPrefix(mode, "container:") && mode != "container:",
		strings.HasPrefix(mode, otto.ServicePrefix):
		s.Spec.NetworkMode = mode
		s.lends(v.pos, "network_mode", mode)
	default:
		r.reject(v.pos, "write bridge, host or none, or leave it out for the cluster's network",
			"network_mode %.60q is not supported yet", mode)
	}
}

func device() form[otto.Device] {
	o := object[otto.Device]{
		noun: "a device",
		keys: map[string]key[otto.Device]{
			"source": as("Path on the node.", checked("a path such as /dev/ttyUSB0", isAbs),
				func(d *otto.Device) *string { return &d.Host }),
			"target": as("Path in the container.", checked("a path such as /dev/ttyUSB0", isAbs),
				func(d *otto.Device) *string { return &d.Container }),
			"permissions": as("Of r, w and m.", checked("rwm", isPermissions),
				func(d *otto.Device) *string { return &d.Permissions }),
		},
		required: map[string]string{"source": "source: /dev/ttyUSB0"},
	}
	return form[otto.Device]{oneOf(o.schema(), schema{"type": "string"}), func(r *reader, v value) (otto.Device, bool) {
		var d otto.Device
		if v.kind == mapping {
			if !o.read(r, v, &d) {
				return d, false
			}
		} else {
			t, ok := text("/dev/ttyUSB0:/dev/ttyUSB0:rwm").read(r, v)
			if !ok {
				return d, false
			}
			if d, ok = parseDevice(t); !ok {
				r.reject(v.pos, "write /dev/ttyUSB0, /dev/ttyUSB0:/dev/ttyUSB0 or /dev/ttyUSB0:/dev/ttyUSB0:rwm",
					"%.60q is not a device", t)
				return d, false
			}
		}
		if d.Container == "" {
			d.Container = d.Host
		}
		if d.Permissions == "" {
			d.Permissions = "rwm"
		}
		return d, true
	}}
}

// parseDevice reads host[:container][:permissions].
func parseDevice(s string) (otto.Device, bool) {
	parts := strings.Split(s, ":")
	d := otto.Device{Host: parts[0]}
	rest := parts[1:]
	if len(rest) > 0 && isAbs(rest[0]) {
		d.Container, rest = rest[0], rest[1:]
	}
	if len(rest) > 0 && isPermissions(rest[0]) {
		d.Permissions, rest = rest[0], rest[1:]
	}
	return d, isAbs(d.Host) && len(rest) == 0
}

func isPermissions(s string) bool {
	return s != "" && strings.Trim(s, "rwm") == "" && len(s) <= 3
}

// extraHosts is a list of name:address or name=address, or a mapping of names
// to one address or several.
func extraHosts() form[[]string] {
	addresses := oneOrMore(text("an address"))
	s := oneOf(listOf(text("")).schema, schema{"type": "object", "additionalProperties": addresses.schema})
	return form[[]string]{s, func(r *reader, v value) ([]string, bool) {
		var out []string
		add := func(at pos, entry string) {
			hosts, err := types.NewHostsList([]string{entry})
			lines := hosts.AsList(":")
			if err != nil || slices.ContainsFunc(lines, isNoHostLine) {
				r.reject(at, "write name:address such as gateway:192.0.2.1", "%.60q is not a host and its address",
					entry)
				return
			}
			out = append(out, lines...)
		}
		switch v.kind {
		case list:
			for _, item := range v.items {
				if entry, ok := text("name:address").read(r, item); ok {
					add(item.pos, entry)
				}
			}
		case mapping:
			for _, f := range v.fields {
				list, _ := addresses.read(r, f.value)
				for _, address := range list {
					add(f.pos, f.name+"="+address)
				}
			}
		default:
			return nil, r.wants(v, list, "one name:address an item")
		}
		slices.Sort(out)
		return out, true
	}}
}

func isNoHostLine(line string) bool {
	name, address, _ := strings.Cut(line, ":")
	_, err := netip.ParseAddr(address)
	return !isHost(name) || err != nil && address != "host-gateway"
}
