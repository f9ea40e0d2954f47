package cli

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/otto-edge/otto"
)

// takeover is what a cluster would take over of a Compose project on a node.
type takeover struct {
	Stack string `json:"stack"`
	Node  string `json:"node"`
	// Containers are those that each get another one, once.
	Containers []takenContainer `json:"containers"`
	Volumes    []string         `json:"volumes"`  // that stay, with what is in them
	Networks   []string         `json:"networks"` // that stay
	Brought    []string         `json:"brought"`  // files of another node that come beside otto.yaml
	Left       []string         `json:"left"`     // containers that the file does not have, and that are left alone
	Notes      []string         `json:"notes"`    // what would be otherwise than before
	Refused    []string         `json:"refused"`  // why it cannot be taken over

	record otto.Adoption
}

// takenContainer is a container that one of Otto's follows.
type takenContainer struct {
	Name     string   `json:"name"`
	Service  string   `json:"service"`
	Instance string   `json:"instance"`
	Becomes  string   `json:"becomes"` // name of the container that follows
	Keeps    []string `json:"keeps"`   // volumes, folders, ports and fixed addresses
}

// takeoverOf compares a project, as it runs, with what the file has of it. begun are services that
// the cluster runs already, as a takeover before this one was interrupted.
func takeoverOf(p otto.Project, node string, services []otto.Service, begun []string) takeover {
	t := takeover{
		Stack: p.Name, Node: node, Containers: []takenContainer{}, Volumes: []string{}, Networks: []string{},
		Brought: []string{}, Left: []string{}, Notes: []string{}, Refused: []string{}, record: otto.Adoption{Stack: p.Name, Node: node},
	}
	services = slices.DeleteFunc(slices.Clone(services), func(s otto.Service) bool { return !ofStack(s.Name, p.Name) })
	seen := map[string]bool{}
	for i := range p.Containers {
		c := &p.Containers[i]
		if c.Others != "" {
			t.refuse("container %s is not this cluster's to take over: %s", c.Name, c.Others)
			continue
		}
		k := slices.IndexFunc(services, func(s otto.Service) bool { return s.Name == p.Name+"/"+c.Service })
		if c.OneOff || k < 0 || c.Number < 1 || c.Number > services[k].Replicas {
			t.leave(*c, services)
			continue
		}
		seen[services[k].Name] = true
		t.container(*c, services[k])
	}
	for _, s := range services {
		switch {
		case seen[s.Name]:
		case slices.Contains(begun, s.Name):
			t.note("service %s is taken over already", s.Name)
		case len(s.Spec.Seeded()) > 0: // it may have had data there
			t.refuse("service %s has no container there, and would begin with a copy of %s of this machine: write the path that its data "+
				"has on the node", s.Name, s.Spec.Seeded()[0].Seed)
		default:
			t.note("service %s has no container there, and is started", s.Name)
		}
	}
	t.volumes(p, services, begun)
	t.networks(p, services)
	return t
}

func (t *takeover) note(format string, args ...any) {
	t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
}

func (t *takeover) refuse(format string, args ...any) {
	t.Refused = append(t.Refused, fmt.Sprintf(format, args...))
}

// leave leaves a container of the project alone that the file does not have. One that runs
// with data of a service would run on beside it.
func (t *takeover) leave(c otto.ProjectContainer, services []otto.Service) {
	t.Left = append(t.Left, c.Name)
	if !c.Runs() {
		return
	}
	for _, m := range c.Mounts {
		for _, s := range services {
			if m.Type == otto.MountVolume && !m.Nameless && slices.Contains(s.Spec.Volumes(), m.Source) {
				t.refuse("container %s, which the file does not have, runs with volume %s of %s: stop it first", c.Name, m.Source, s.Name)
				return
			}
		}
	}
}

// container has an instance of a service follow a container.
func (t *takeover) container(c otto.ProjectContainer, s otto.Service) {
	inst := otto.Instance{Name: s.Name, Service: s.Name, Spec: s.Spec}
	if c.Number > 1 {
		inst.Name += "-" + strconv.Itoa(c.Number)
	}
	of := takenContainer{Name: c.Name, Service: s.Name, Instance: inst.Name, Becomes: inst.ContainerName(), Keeps: []string{}}
	if of.Becomes != c.Name {
		t.note("container %s is called %s from then on", c.Name, of.Becomes)
	}
	switch {
	case c.Image != s.Spec.Image:
		t.note("%s runs image %s, and gets %s", c.Name, c.Image, s.Spec.Image)
	case c.ImageNow != "":
		t.note("%s gets what image %s means now, which is another version than it runs", c.Name, c.Image)
	}
	if !c.Runs() && s.Spec.Restart == "no" && c.State == otto.ContainerExited {
		t.note("%s has ended, and runs once more, as with docker compose up", c.Name)
	} else if !c.Runs() {
		t.note("%s does not run now (%s), and is started", c.Name, c.State)
	}
	for _, m := range c.Mounts {
		if kept := t.mount(c, m, s); kept != "" {
			of.Keeps = append(of.Keeps, kept)
		}
	}
	of.Keeps = append(of.Keeps, t.places(c, s)...)
	t.Containers = append(t.Containers, of)
	if t.record.Composed == nil {
		t.record.Composed = map[string]otto.Composed{}
	}
	t.record.Composed[inst.Name] = otto.Composed{Labels: c.Labels, Spec: s.Spec.Hash()}
	t.record.Containers = append(t.record.Containers, otto.TakenContainer{
		ID: c.ID, Service: s.Name, Instance: inst.Name, Restart: c.Restart,
	})
}

// mount says what of a mount stays. What is in it must not stay behind.
func (t *takeover) mount(c otto.ProjectContainer, m otto.ProjectMount, s otto.Service) (kept string) {
	var as otto.Mount
	for _, of := range s.Spec.Mounts {
		if path.Clean(of.Target) == path.Clean(m.Target) {
			as = of
		}
	}
	has := "nothing"
	if as.Target != "" {
		has = strings.TrimSpace(as.Type + " " + as.Source)
	}
	same := as.Type == m.Type && as.Source == m.Source || m.Type == otto.MountBind && as.Type == m.Type &&
		path.Clean(as.Source) == path.Clean(m.Source)
	switch {
	case m.Type == otto.MountVolume && same:
		return "volume " + m.Source
	case m.Type == otto.MountVolume && m.Nameless && !m.Full:
		t.note("%s gets another volume without a name at %s: there is nothing in it", c.Name, m.Target)
	case m.Type == otto.MountVolume && m.Nameless:
		t.refuse("%s keeps data at %s in a volume without a name, which would stay behind: give it one in the Compose file "+
			"(`volumes: [\"kept:%s\"]` at the service, and at the top `volumes: {kept: {external: true, name: %s}}`)",
			c.Name, m.Target, m.Target, m.Source)
	case m.Type == otto.MountVolume:
		t.refuse("%s has volume %s at %s, and the file has %s there: its data would stay behind", c.Name, m.Source, m.Target, has)
	case m.Type == otto.MountBind && same:
		return "folder " + m.Source
	case m.Type == otto.MountBind && as.Seed != "":
		t.refuse("%s has %s at %s, and would get a copy of %s of this machine: write the path that it has on the node, %s:%s",
			c.Name, m.Source, m.Target, as.Seed, path.Clean(m.Source), m.Target)
	case m.Type == otto.MountBind && as.Type == otto.MountFiles:
		return "files " + as.Source
	case m.Type == otto.MountBind && !m.ReadOnly && !isFile(s, m.Target):
		t.refuse("%s has %s at %s, and the file has %s there: its data would stay behind", c.Name, m.Source, m.Target, has)
	case m.Type == otto.MountBind && !isFile(s, m.Target):
		t.note("%s has %s at %s, and gets %s there", c.Name, m.Source, m.Target, has)
	}
	return ""
}

// isFile reports whether a secret or config is at a path of a service's containers.
func isFile(s otto.Service, target string) bool {
	return slices.ContainsFunc(s.Spec.Files, func(f otto.File) bool { return f.Target == target })
}

// places says which ports and fixed addresses stay.
func (t *takeover) places(c otto.ProjectContainer, s otto.Service) (kept []string) {
	for _, p := range c.Ports {
		text := fmt.Sprintf("port %d", p.Host)
		if slices.ContainsFunc(s.Spec.Ports, func(o otto.Port) bool { return o.Host == p.Host && o.Protocol == p.Protocol }) {
			kept = append(kept, text)
		} else {
			t.note("%s publishes %s, and the file does not", c.Name, text)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Networks)) {
		address := c.Networks[name]
		i := slices.IndexFunc(s.Spec.Networks, func(n otto.Network) bool { return n.Name == name })
		switch {
		case i < 0 && s.Spec.NetworkMode != name:
			t.note("%s is in network %s, and the file has it not there", c.Name, name)
		case i < 0, s.Spec.Networks[i].IPv4 == "" && address == "":
		case s.Spec.Networks[i].IPv4 == address:
			kept = append(kept, "address "+address)
		default:
			t.note("%s has address %s in network %s, and gets %s", c.Name, dash(address), name, dash(s.Spec.Networks[i].IPv4))
		}
	}
	slices.Sort(kept)
	return kept
}

// volumes finds those that stay and become the cluster's.
func (t *takeover) volumes(p otto.Project, services []otto.Service, begun []string) {
	for _, v := range p.Volumes {
		external, mounted := false, false
		for _, s := range services {
			for _, m := range s.Spec.Mounts {
				if m.Type == otto.MountVolume && m.Source == v.Name {
					external, mounted = external || m.External, true
				}
			}
		}
		if !mounted {
			continue
		}
		t.Volumes = append(t.Volumes, v.Name)
		switch {
		case external: // it stays who made it, and others may use it too
		case v.Others != "":
			t.refuse("volume %s is not this cluster's to take over: %s", v.Name, v.Others)
		case len(v.UsedBy) > 0:
			t.refuse("volume %s is in use by %s as well, which the project does not have: stop that first, or declare the volume `external: true`",
				v.Name, strings.Join(v.UsedBy, ", "))
		default:
			t.record.Volumes = append(t.record.Volumes, otto.DataRecord{Name: v.Name, ID: v.ID})
		}
	}
	for _, s := range services {
		if slices.Contains(begun, s.Name) {
			continue
		}
		for _, name := range s.Spec.Volumes() {
			if of, copied := s.Seeds[name]; copied {
				t.note("%s gets a copy of %s of this machine", s.Name, of)
				continue
			}
			there := func(v otto.ProjectVolume) bool { return v.Name == name }
			if text := "volume " + name + " is not there yet, and is made"; !slices.ContainsFunc(p.Volumes, there) && !slices.Contains(t.Notes, text) {
				t.note("%s", text)
			}
		}
	}
}

// networks finds those that stay and become the cluster's.
func (t *takeover) networks(p otto.Project, services []otto.Service) {
	for _, n := range p.Networks {
		var as *otto.Network
		for _, s := range services {
			for i := range s.Spec.Networks {
				if s.Spec.Networks[i].Name == n.Name {
					as = &s.Spec.Networks[i]
				}
			}
		}
		if as == nil {
			continue
		}
		t.Networks = append(t.Networks, n.Name)
		switch {
		case as.External:
		case n.Others != "":
			t.refuse("network %s is not this cluster's to take over: %s", n.Name, n.Others)
		default:
			t.record.Networks = append(t.record.Networks, otto.TakenNetwork{ID: n.ID, As: as.Plain()})
		}
	}
}
