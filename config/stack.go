package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/otto-edge/otto"
)

// stack is a Compose project as otto.yaml names it.
type stack struct {
	pos
	name     string
	nameAt   pos
	compose  []string
	node     string
	nodeAt   pos
	failover string
	rejoin   string
	data     string
	profiles []string
	paths    []pathRule
	rules    service // placement and requirements of all its services
	given    []field // the keys that otto.yaml has of it
}

// stacksKey reads the Compose projects that the file names.
func stacksKey() key[document] {
	o := object[stack]{
		noun: "a stack",
		keys: map[string]key[stack]{
			"name": {"Name of the stack, as Compose names a project.", id("immich").schema, func(r *reader, v value, s *stack) {
				if name, ok := id("immich").read(r, v); ok {
					s.name, s.nameAt = name, v.pos
				}
			}},
			"compose":  as("Its Compose file, several, or the folder they are in.", oneOrMore(localPath()), func(s *stack) *[]string { return &s.compose }),
			"profiles": as("Profiles of Compose that are asked for.", oneOrMore(text("a profile")), func(s *stack) *[]string { return &s.profiles }),
		},
		required: map[string]string{"name": "name: immich", "compose": "compose: immich/compose.yaml"},
	}
	maps.Copy(o.keys, stackRules())
	folder := schema{"type": "string", "description": "A folder of folders with Compose files."}
	of := oneOf(schema{"type": "array", "items": oneOf(o.schema(), folder)}, folder)
	return key[document]{"Compose projects to run as they are.", of, func(r *reader, v value, d *document) {
		if v.kind == scalar {
			v = value{pos: v.pos, kind: list, items: []value{v}}
		}
		if !r.wants(v, list, "one stack an item, beginning with `- name: `, or the path of a folder of folders with Compose files") {
			return
		}
		for _, item := range v.items {
			item = inFile(item, r.file) // problems of its Compose file stand beside those of this one
			if item.kind == scalar {
				d.stacks = append(d.stacks, r.stacksIn(item)...)
				continue
			}
			s := stack{pos: item.pos, given: item.fields}
			if o.read(r, item, &s) && s.name != "" && len(s.compose) > 0 {
				d.stacks = append(d.stacks, s)
			}
		}
	}}
}

// addStacks loads the stacks and adds their services to those of the file.
func (d *document) addStacks(r *reader) {
	seen := map[string]int{}
	for i := range d.stacks {
		s := &d.stacks[i]
		if line, twice := seen[s.name]; twice {
			r.reject(s.nameAt, "give each stack a name of its own", "stack %s is here already, in line %d", s.name, line)
			continue
		}
		seen[s.name] = s.nameAt.line
		if s.node != "" && d.node(s.node) == nil {
			d.rejectNode(r, s.nodeAt, s.node)
			continue
		}
		d.services = append(d.services, d.load(r, s)...)
	}
	d.join(r)
}

// load reads one stack.
func (d *document) load(r *reader, s *stack) []service {
	files, problem := composeFiles(s.compose, r.shell)
	if problem != nil {
		r.reject(s.pos, problem.Try, "%s", problem.What)
		return nil
	}
	inner := &reader{file: files[0], dir: filepath.Dir(files[0]), env: r.env, shell: r.shell, ports: r.ports, stack: true}
	p := inner.loadStack(s, files)
	d.asked = append(d.asked, inner.askedFor(s.name)...)
	if p != nil {
		p.paths = s.paths
		if s.node != "" && d.node(s.node) == nil {
			d.rejectNode(inner, s.nodeAt, s.node)
			s.node = ""
		}
		if s.node == "" && p.hasData() {
			s.node, s.nodeAt = d.here(), s.pos
		}
		var names []string
		for _, sv := range p.services {
			names = append(names, sv.Name)
		}
		for i := range p.services {
			d.belong(*s, p, &p.services[i], names)
			p.share(inner, &p.services[i])
		}
		d.unite(inner, *s, p.services)
		d.checkApart(inner, p.services)
		// Mounts of this machine's files are resolved while it is known where the stack's are.
		d.checkMounts(inner, p)
		d.folders = d.folders.with(p.brought.folders)
		r.ports = inner.ports
		for id, content := range p.contents {
			if d.contents == nil {
				d.contents = otto.Contents{}
			}
			d.contents[id] = content
		}
		r.problems, r.warnings = append(r.problems, inner.problems...), append(r.warnings, inner.warnings...)
		r.onlyHere = append(r.onlyHere, inner.onlyHere...)
		return p.services
	}
	r.problems, r.warnings = append(r.problems, inner.problems...), append(r.warnings, inner.warnings...)
	r.onlyHere = append(r.onlyHere, inner.onlyHere...)
	return nil
}

// belong makes a service one of a stack, whose services have the given names: its name,
// its home, and what Compose does with it that ends.
func (d *document) belong(st stack, p *project, s *service, names []string) {
	if s.Node == "" {
		s.nodeAt = s.pos
	}
	switch {
	case s.Global():
	case s.apart:
		if s.Node == "" && len(d.nodes) == 1 {
			s.Node = d.nodes[0].ID
		} else if s.Node == "" && p.staysHere(s) {
			s.Node = d.here()
		}
	default:
		s.Unit, s.Failover, s.Rejoin, s.Data = st.name, st.failover, st.rejoin, st.data
		if s.Node = st.node; s.Node == "" && len(d.nodes) == 1 {
			s.Node = d.nodes[0].ID
		}
	}
	s.rule(st, names)
	if s.Spec.Restart == "" {
		s.Spec.Restart = "no"
	}
	s.Name = st.name + "/" + s.Name
	s.Spec.RenameLenders(func(name string) string { return st.name + "/" + name })
	for i := range s.DependsOn {
		s.DependsOn[i].Service = st.name + "/" + s.DependsOn[i].Service
	}
}

// loadStack has Compose's own loader read a project, and reads what it makes of it by
// the same tables as the services of otto.yaml. It returns nil after a mistake.
func (r *reader) loadStack(s *stack, files []string) *project {
	if !r.addEnvFiles() {
		return nil
	}
	source := r.source(files[0])
	sources, places := []value{source}, source
	for _, f := range files[1:] {
		sources = append(sources, r.source(f))
		places = overlay(places, sources[len(sources)-1])
	}
	for _, of := range sources {
		places = overlay(r.included(of, map[string]bool{}), places)
	}
	places.pos = source.pos
	model, loaded := r.loadModel(s, files, places)
	if loaded == nil {
		return nil
	}
	p := &project{stack: s.name, prefix: s.name}
	top := asValue(model, places)
	networks, volumes, services := networksKey(), volumesKey(), serviceObject(false)
	services.keys[xOtto] = xOttoKey()
	for _, f := range top.fields {
		switch f.name {
		case "networks":
			networks.read(r, f.value, p)
		case "volumes":
			volumes.read(r, f.value, p)
		case "secrets", "configs":
			fileKeys()[f.name].read(r, f.value, p)
		case "models", "jobs":
			r.refuse(f.pos, f.name)
		case xOtto:
			r.readXOtto(f.value, s)
		case "services":
			for _, sv := range f.fields {
				if config, enabled := loaded.Services[sv.name]; enabled {
					r.warnOfEnvFiles(sv.value)
					read := readService(r, sv.pos, resolved(sv.value, config), services, sv.name)
					read.build.config = config.Build
					p.services = append(p.services, read)
				}
			}
		}
	}
	p.checkCase(r)
	for name, v := range p.volumes { // Compose's loader gives each of them a name
		v.implied = v.name == s.name+"_"+name && !slices.ContainsFunc(sources, func(v value) bool { return v.has("volumes", name, "name") })
		p.volumes[name] = v
	}
	p.mark()
	p.resolve(r)
	p.resolveBuilds(r)
	return p
}

// checkCase finds services whose names mean the same host.
func (p *project) checkCase(r *reader) {
	seen := map[string]service{}
	for _, s := range p.services {
		lower := strings.ToLower(s.Name)
		if o, twice := seen[lower]; twice {
			r.reject(s.pos, "rename one of them", "services %s, in line %d, and %s differ only in case, which names of hosts have not",
				o.Name, o.line, s.Name)
		}
		seen[lower] = s
	}
}

// mark labels networks and volumes as Compose does, so that its tools know them.
func (p *project) mark() {
	for name, n := range p.networks {
		if n.External {
			continue
		}
		n.Labels = withLabels(n.Labels, "com.docker.compose.network", name, "com.docker.compose.project", p.stack)
		p.networks[name] = n
	}
	for name, v := range p.volumes {
		if v.external {
			continue
		}
		v.labels = withLabels(v.labels, "com.docker.compose.volume", name, "com.docker.compose.project", p.stack)
		p.volumes[name] = v
	}
}

func withLabels(labels map[string]string, pairs ...string) map[string]string {
	out := maps.Clone(labels)
	if out == nil {
		out = map[string]string{}
	}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = pairs[i+1]
	}
	return out
}

// resolved is a service with its variables and labels as Compose's loader has put them
// together from files and the environment.
func resolved(v value, config types.ServiceConfig) value {
	environment, labels := value{pos: v.pos, kind: mapping}, value{pos: v.pos, kind: mapping}
	for _, name := range slices.Sorted(maps.Keys(config.Environment)) {
		if val := config.Environment[name]; val != nil {
			environment.fields = append(environment.fields, field{v.pos, name, value{pos: v.pos, kind: scalar, text: *val}})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(config.Labels)) {
		labels.fields = append(labels.fields, field{v.pos, name, value{pos: v.pos, kind: scalar, text: config.Labels[name]}})
	}
	withFileModes(v, config)
	given := func(name string, of value) value { // with its own place, if the service has the key
		for _, f := range v.fields {
			if f.name == name {
				of.pos = f.value.pos
			}
		}
		return of
	}
	fields := slices.DeleteFunc(slices.Clone(v.fields), func(f field) bool {
		return slices.Contains([]string{"environment", "env_file", "labels", "label_file", "profiles", "extends"}, f.name)
	})
	for i, f := range fields {
		if f.name == "entrypoint" && f.kind == scalar && f.text == "" { // as in Compose, a blank one takes it away
			fields[i].value = value{pos: f.value.pos, kind: list}
		}
	}
	v.fields = append(fields, field{v.pos, "environment", given("environment", environment)})
	if len(labels.fields) > 0 {
		v.fields = append(v.fields, field{v.pos, "labels", given("labels", labels)})
	}
	return v
}

// source is a Compose file as it stands, for the places of what is in it. One that
// cannot be read so has no places.
func (r *reader) source(path string) value {
	data, err := readFile(path)
	if err != nil {
		return value{pos: pos{file: path}}
	}
	aside := &reader{file: path, env: literally}
	root, _ := aside.parse(data)
	r.askBare(root, path, map[string]bool{path: true})
	return inFile(root, path)
}

// has reports whether there is a value at a path of keys.
func (v value) has(path ...string) bool {
	for _, name := range path {
		i := slices.IndexFunc(v.fields, func(f field) bool { return f.name == name })
		if i < 0 {
			return false
		}
		v = v.fields[i].value
	}
	return true
}

// inFile is a tree whose places are of a file that is not otto.yaml.
func inFile(v value, file string) value {
	v.file = file
	items, fields := make([]value, len(v.items)), make([]field, len(v.fields))
	for i, item := range v.items {
		items[i] = inFile(item, file)
	}
	for i, f := range v.fields {
		f.pos.file, f.value = file, inFile(f.value, file)
		fields[i] = f
	}
	v.items, v.fields = items, fields
	return v
}

// asValue is a part of a loaded project as a tree with the places of a file in which
// most of it is.
func asValue(of any, source value) value {
	v := value{pos: source.pos, size: 1}
	switch of := of.(type) {
	case nil:
	case map[string]any:
		v.kind = mapping
		for _, name := range slices.Sorted(maps.Keys(of)) {
			f := field{pos: source.pos, name: name}
			from := value{pos: source.pos}
			if i := slices.IndexFunc(source.fields, func(s field) bool { return s.name == name }); i >= 0 {
				f.pos, from = source.fields[i].pos, source.fields[i].value
			}
			f.value = asValue(of[name], from)
			if f.value.line == 0 {
				f.value.pos = f.pos
			}
			v.fields = append(v.fields, f)
		}
		switch of["type"] {
		case otto.MountBind:
			v.fields = withRelativeSource(v.fields)
		case otto.MountTmpfs:
			withOctalMode(v.fields)
		}
	case []any:
		v.kind = list
		for i, item := range of {
			from := value{pos: source.pos}
			if len(source.items) == len(of) {
				from = source.items[i]
			}
			v.items = append(v.items, asValue(item, from))
		}
	case float64:
		v.kind, v.text, v.filled = scalar, strconv.FormatFloat(of, 'f', -1, 64), true
	default:
		v.kind, v.text, v.filled = scalar, fmt.Sprint(of), true
	}
	return v
}

// withOctalMode writes the permissions of a tmpfs in octal, as otto.yaml has them.
// Compose's loader has read them as a number, and Compose sends the engine that number.
func withOctalMode(fields []field) {
	for _, f := range fields {
		if f.name != "tmpfs" {
			continue
		}
		for i, option := range f.fields {
			if mode, err := strconv.ParseUint(option.text, 10, 32); err == nil && option.name == "mode" {
				f.fields[i].text = strconv.FormatUint(mode, 8)
			}
		}
	}
}

// withRelativeSource writes the path of a bind that an included file has as it is known
// to be relative.
func withRelativeSource(fields []field) []field {
	for i, f := range fields {
		if f.name == "source" && f.text != "" && !strings.ContainsAny(f.text[:1], "/.~") {
			fields[i].text = "./" + f.text
		}
	}
	return fields
}
