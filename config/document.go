package config

import (
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// document is otto.yaml as it is being read.
type document struct {
	name         string
	mqtt         mqtt
	api          api
	nodes        []node
	stacks       []stack
	project      // of the services of the file itself
	interval     time.Duration
	health       otto.Health
	healthAt     pos
	requirements []requirement // of all services, or all nodes
	weights      map[string]float64
	decisions    otto.Decisions
	folders      Folders
	asked        []Variable // by stacks
}

const defaultName = "otto"

func documentObject() object[document] {
	file := func(d *document) *project { return &d.project }
	return object[document]{
		noun: "the file",
		keys: map[string]key[document]{
			"cluster": clusterKey(),
			"name": given("Name of the cluster, as Compose names a project.", id("home-cluster"),
				func(d *document) *string { return &d.name }),
			"version": as("Compose's; it has no meaning any more.", text("nothing"),
				func(*document) *string { return new(string) }),
			"mqtt": as("The broker that the cluster meets at.", mqttObject().one(),
				func(d *document) *mqtt { return &d.mqtt }),
			"api": as("How people on other machines reach the control plane; without it nobody does.", apiObject().one(),
				func(d *document) *api { return &d.api }),
			"metrics":   metricsKey(),
			"health":    healthKey(),
			"scheduler": schedulerKey(),
			"decisions": decisionsKey(),
			"nodes":     nodesKey(),
			"services":  within(servicesKey(), file),
			"requirements": requirementsKey(
				"What must hold for each service or on each node, whichever its metric is of.",
				ofAll,
				func(d *document) *[]requirement { return &d.requirements },
			),
			"volumes":  within(volumesKey(), file),
			"networks": within(networksKey(), file),
			"secrets":  within(fileKeys()["secrets"], file),
			"configs":  within(fileKeys()["configs"], file),
			"stacks":   stacksKey(),
		},
		later: append(composeKeys[types.Project](), "include"),
	}
}

func clusterKey() key[document] {
	cluster := object[document]{
		noun: "cluster",
		keys: map[string]key[document]{
			"name": given("Name of the cluster.", id("home-cluster"), func(d *document) *string { return &d.name }),
		},
	}
	return key[document]{
		"The cluster itself.",
		cluster.schema(),
		func(r *reader, v value, d *document) { cluster.read(r, v, d) },
	}
}

func metricsKey() key[document] {
	metrics := object[document]{
		noun: "metrics",
		keys: map[string]key[document]{
			"interval": as("Time between two samples of a node and its containers, 5s by default.",
				duration(500*time.Millisecond, time.Hour), func(d *document) *time.Duration { return &d.interval }),
		},
	}
	return key[document]{
		"What agents measure.",
		metrics.schema(),
		func(r *reader, v value, d *document) { metrics.read(r, v, d) },
	}
}

func healthKey() key[document] {
	health := object[otto.Health]{
		noun: "health",
		keys: map[string]key[otto.Health]{
			"heartbeat": as("Time between two heartbeats of a node, 500ms by default.", heartbeat(),
				func(h *otto.Health) *time.Duration { return &h.Heartbeat }),
			"suspect_min": as("Silence that never makes a node suspect, 1s by default.",
				duration(200*time.Millisecond, time.Hour),
				func(h *otto.Health) *time.Duration { return &h.SuspectMin }),
			"suspect_max": as("Silence that makes a node suspect on any link, 20s by default.",
				duration(time.Second, time.Hour), func(h *otto.Health) *time.Duration { return &h.SuspectMax }),
			"lease": as(
				"How long a node that is cut off may run a stateful service that can be started elsewhere, 10s by default.",
				duration(5*time.Second, time.Hour),
				func(h *otto.Health) *time.Duration { return &h.Lease },
			),
		},
	}
	return key[document]{"How the nodes are watched.", health.schema(), func(r *reader, v value, d *document) {
		d.healthAt = v.pos
		health.read(r, v, &d.health)
	}}
}

func heartbeat() form[time.Duration] { return duration(100*time.Millisecond, 5*time.Minute) }

// within is a key of a part of something.
func within[T, U any](k key[U], of func(*T) *U) key[T] {
	return key[T]{k.doc, k.schema, func(r *reader, v value, into *T) { k.read(r, v, of(into)) }}
}

func servicesKey() key[project] {
	named, unnamed := serviceObject(true), serviceObject(false)
	return key[project]{
		"What should run: a list, or a mapping by name as in Compose.",
		servicesSchema(),
		func(r *reader, v value, d *project) {
			switch v.kind {
			case list:
				for _, item := range v.items {
					d.services = append(d.services, readService(r, item.pos, item, named, ""))
				}
			case mapping:
				for _, f := range v.fields {
					d.services = append(d.services, readService(r, f.pos, f.value, unnamed, f.name))
				}
			default:
				r.wants(v, list, "one service an item, beginning with `- name: `")
			}
		},
	}
}

// complete fills in what the file leaves to Otto.
func (d *document) complete() {
	if d.name == "" {
		d.name = defaultName
	}
	if len(d.nodes) == 0 {
		d.nodes = []node{{Node: otto.Node{ID: "local", Host: "localhost", DockerURL: defaultDockerURL}}}
	}
	d.prefix = d.name
	if d.mqtt.Embedded == "" {
		d.mqtt.Embedded = EmbeddedAuto
	}
	if d.mqtt.Port == 0 {
		d.mqtt.Port = 1883
		if d.mqtt.TLS != nil {
			d.mqtt.Port = 8883
		}
	}
}

func (d *document) wanted() otto.Wanted {
	w := otto.Wanted{
		Nodes:     []otto.Node{},
		Services:  []otto.Service{},
		Interval:  d.interval,
		Health:    d.health,
		Scheduler: otto.Scheduler{Weights: d.weights},
		Decisions: d.decisions,
		Contents:  d.contents,
		Folders:   d.folders.manifests(),
	}
	w.Requirements = plainly(d.requirements)
	for _, n := range d.nodes {
		n.Requirements = plainly(n.requirements)
		w.Nodes = append(w.Nodes, n.Node)
	}
	for _, s := range d.services {
		s.Requirements = plainly(s.requirements)
		w.Services = append(w.Services, s.Service)
	}
	return w
}

// id is the name of a cluster, a node or a service: it stands in topics, in
// labels and in names of containers.
func id(example string) form[string] {
	f := text(example)
	f.schema = schema{"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"}
	return form[string]{f.schema, func(r *reader, v value) (string, bool) {
		name, ok := f.read(r, v)
		return name, ok && r.validID(v.pos, name)
	}}
}

func (r *reader) validID(at pos, name string) bool {
	if wire.ValidID(name) && name[0] != '-' && name[0] != '_' {
		return true
	}
	try := "write 1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit"
	if better := slug(name); better != "" {
		try += ", such as " + better
	}
	r.reject(at, try, "%.60q cannot be a name", name)
	return false
}

// slug makes a valid name of one that is not, or "".
func slug(name string) string {
	b := []byte(name)
	for i, c := range b {
		switch {
		case c >= 'A' && c <= 'Z':
			b[i] = c + 'a' - 'A'
		case c == '.' || c == ' ':
			b[i] = '-'
		}
	}
	if s := string(b); wire.ValidID(s) && s[0] != '-' && s[0] != '_' {
		return s
	}
	return ""
}
