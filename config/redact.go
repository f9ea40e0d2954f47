package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// redacted stands where a value was.
const redacted = "[redacted]"

// shape names the keys whose values may be shown; the shape of a value that has
// no keys is nil. A key that is not in it, a mistyped one too, hides all below.
type shape map[string]shape

// shown is what of an otto.yaml may be shown to anybody: no environment, no label
// of a container, no command, no password.
func shown() shape {
	resources := shape{"cpu": nil, "cpus": nil, "memory": nil}
	service := keysOf("name", "image", "node", "replicas", "scale", "failover", "rejoin", "data", "stateful", "cpus", "mem_limit",
		"pull_policy", "restart", "stop_grace_period", "stop_signal", "read_only", "network_mode", "cap_add", "cap_drop", "tmpfs")
	service["ports"] = keysOf("target", "published", "host_ip", "protocol", "mode", "name", "app_protocol")
	service["volumes"] = keysOf("type", "source", "target", "read_only")
	service["devices"] = keysOf("source", "target", "permissions")
	service["env_file"] = keysOf("path", "required")
	service["resources"] = resources
	service["deploy"] = shape{"replicas": nil, "resources": shape{"limits": resources}}
	service["healthcheck"] = keysOf("interval", "timeout", "start_period", "start_interval", "retries", "disable")
	service["probe"] = keysOf("tcp", "interval", "timeout", "retries", "start_period")
	service["probe"]["http"] = keysOf("port")
	service["logging"] = keysOf("driver")
	return shape{
		"name": nil, "version": nil,
		"cluster":  keysOf("name"),
		"metrics":  keysOf("interval"),
		"health":   keysOf("heartbeat", "suspect_min", "suspect_max", "lease"),
		"mqtt":     {"host": nil, "port": nil, "embedded": nil, "tls": keysOf("ca", "cert", "key", "server_name")},
		"api":      keysOf("listen"),
		"nodes":    keysOf("id", "host", "user", "port", "docker_url", "heartbeat", "identity_file"),
		"services": service,
	}
}

func keysOf(names ...string) shape {
	s := shape{}
	for _, n := range names {
		s[n] = nil
	}
	return s
}

// Redact rewrites an otto.yaml so that it may be shown: all keys are there, and of
// the values those that cannot be secret. Comments are gone, aliases are written
// out, and variables are left as they are. The error says no more than where the
// file is not YAML.
func Redact(name string, data []byte) ([]byte, error) {
	verbatim := func(name string) (string, bool) { return "${" + name + "}", true }
	r := &reader{file: name, env: verbatim}
	root, ok := r.parse(data)
	if !ok {
		problems := r.problems.sorted()
		for i := range problems {
			problems[i].What, problems[i].Try = "it cannot be read as YAML from here on", ""
		}
		return nil, problems
	}
	document := shown()
	for _, f := range root.fields {
		if f.name == "services" && f.kind == mapping {
			byName := shape{}
			for _, s := range f.fields {
				byName[s.name] = document["services"]
			}
			document["services"] = byName
		}
	}
	var b strings.Builder
	emit(&b, root, document, true, "", "")
	return []byte(b.String()), nil
}

// emit writes a mapping or a list. lead is what goes before its first line, indent
// what goes before the others.
func emit(b *strings.Builder, v value, s shape, show bool, lead, indent string) {
	for _, f := range v.fields {
		inner, known := s[f.name]
		b.WriteString(lead + quote(f.name) + ":")
		below(b, f.value, inner, show && known, indent+"  ")
		lead = indent
	}
	for _, item := range v.items {
		switch b.WriteString(lead + "-"); {
		case item.kind == mapping && len(item.fields) > 0:
			emit(b, item, s, show, " ", indent+"  ")
		default:
			below(b, item, s, show, indent+"  ")
		}
		lead = indent
	}
}

// below writes what belongs to a key or a dash that is written already.
func below(b *strings.Builder, v value, s shape, show bool, indent string) {
	switch {
	case v.kind == null:
		b.WriteString("\n")
	case v.kind == scalar && show:
		b.WriteString(" " + quote(v.text) + "\n")
	case v.kind == scalar:
		b.WriteString(" " + quote(redacted) + "\n")
	case len(v.fields)+len(v.items) == 0:
		b.WriteString(" " + map[kind]string{list: "[]", mapping: "{}"}[v.kind] + "\n")
	default:
		b.WriteString("\n")
		emit(b, v, s, show, indent, indent)
	}
}

// quote writes a scalar so that YAML reads the same text.
func quote(s string) string {
	if regexp.MustCompile(`^[A-Za-z0-9_./][A-Za-z0-9_./:-]*[A-Za-z0-9_./-]$|^[A-Za-z0-9_]$`).MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}

// DotEnv are the variables of the file .env in dir, none if there is no such file.
func DotEnv(dir string) (map[string]string, error) {
	path := filepath.Join(dir, ".env")
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	vars, problem := parseEnv(path, data, os.LookupEnv)
	if problem != nil {
		return nil, *problem
	}
	return vars, nil
}
