package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// noHash stands for the hash of what Compose would make a container from, which only its own
// version on the node can tell. It is no hash of anything, so that Compose makes it anew once.
const noHash = "made-by-otto"

// Release begins to give a stack back to Compose: each of its containers is replaced by one
// with Compose's labels. It is over when the stack is not wanted any more.
func (p *Plane) Release(ctx context.Context, ask otto.ReleaseRequest) error {
	return p.call(ctx, func() error {
		if err := p.deciding(); err != nil {
			return err
		}
		of, err := p.releasable(ask)
		if err != nil {
			return err
		}
		if err := p.putAdopted(p.takeovers.put(of)); err != nil {
			return err
		}
		p.record(asked(ctx, "stack-released", of.Node, fmt.Sprintf("stack %s is given back to Compose", of.Stack)))
		p.pass(time.Now())
		p.publishView()
		return nil
	})
}

// releasable is the record of a stack that is given back, or why it cannot be.
func (p *Plane) releasable(ask otto.ReleaseRequest) (of otto.Adoption, err error) {
	of = p.takeovers[ask.Stack]
	of.Stack, of.Releasing, of.Given = ask.Stack, map[string]otto.Release{}, nil
	services, node := 0, ""
	for _, s := range p.desired.Wanted.Services {
		if !strings.HasPrefix(s.Name, ask.Stack+"/") {
			continue
		}
		services++
		if why := notReleasable(s); why != "" {
			return of, errors.New(why)
		}
		for _, name := range p.desired.Wanted.InstanceNames(s) {
			at := p.desired.Placement[name]
			if at == "" || node != "" && at != node {
				return of, fmt.Errorf("stack %s is not all on one node, and Compose has one host: %s is on %s", ask.Stack, name, cmp.Or(at, "none"))
			}
			node = at
		}
		of.Given = append(of.Given, ownNames(s.Spec)...)
	}
	switch {
	case services == 0:
		return of, fmt.Errorf("no stack %q: see `otto stack ls`", ask.Stack)
	case of.Node != node: // what was taken over was so elsewhere
		of = otto.Adoption{Stack: ask.Stack, Node: node, Releasing: of.Releasing, Taken: otto.Taken{Given: of.Given}}
	}
	slices.Sort(of.Given)
	of.Given = slices.Compact(of.Given)
	for _, s := range p.desired.Wanted.Services {
		if !strings.HasPrefix(s.Name, ask.Stack+"/") {
			continue
		}
		for i, name := range p.desired.Wanted.InstanceNames(s) {
			r, err := releaseOf(s, i+1, of.Composed[name], ask)
			if err != nil {
				return of, err
			}
			of.Releasing[name] = r
		}
	}
	return of, nil
}

// notReleasable says why Compose cannot have the container of a service.
func notReleasable(s otto.Service) string {
	switch {
	case s.Mobile():
		return fmt.Sprintf("%s may be started on other nodes, where Compose knows nothing of it: write `node:` at its stack, without "+
			"`failover: move`, and apply that first", s.Name)
	case len(s.Spec.Files) > 0:
		stack, _, _ := strings.Cut(s.Name, "/")
		return fmt.Sprintf("%s has secrets or configs, which Otto does not leave on the node: run `otto stack rm %s`, and `docker "+
			"compose up -d` in the folder of the project", s.Name, stack)
	case len(s.Spec.Seeded()) > 0:
		stack, _, _ := strings.Cut(s.Name, "/")
		return fmt.Sprintf("%s has its data %s in Otto's directory on the node, and not beside its Compose file: run `otto stack rm %s`, "+
			"copy the data there, and run `docker compose up -d` in that folder", s.Name, s.Spec.Seeded()[0].Seed, stack)
	}
	return ""
}

// ownNames are the volumes and networks of a spec that are not external.
func ownNames(spec otto.ContainerSpec) (names []string) {
	for _, m := range spec.Mounts {
		if m.Type == otto.MountVolume && m.Source != "" && !m.External {
			names = append(names, m.Source)
		}
	}
	for _, n := range spec.Networks {
		if n.Name != "" && !n.External {
			names = append(names, n.Name)
		}
	}
	return names
}

// releaseOf is how an instance is given back: as Compose had made it, while the file has it
// as it was then, else so that Compose makes it anew with its next up.
func releaseOf(s otto.Service, number int, was otto.Composed, ask otto.ReleaseRequest) (r otto.Release, err error) {
	stack, service, _ := strings.Cut(s.Name, "/")
	dir, files := ask.Dir, strings.Join(ask.Files, ",")
	if was.Labels != nil {
		dir = was.Labels[otto.ComposeLabels+"project.working_dir"]
		files = was.Labels[otto.ComposeLabels+"project.config_files"]
	}
	if dir == "" || files == "" {
		return r, fmt.Errorf("stack %s was not taken over from Compose, and its file is not on its node: run `otto stack rm %[1]s`, copy "+
			"the folder of the project there, and run `docker compose up -d` in it", stack)
	}
	r.Dir = dir
	if was.Labels != nil && was.Spec != "" && was.Spec == ask.Specs[s.Name] {
		r.Labels = was.Labels
		return r, nil
	}
	r.Labels = maps.Clone(was.Labels)
	if r.Labels == nil {
		r.Labels = map[string]string{}
	}
	maps.Copy(r.Labels, map[string]string{
		otto.ComposeProject:                         stack,
		otto.ComposeService:                         service,
		otto.ComposeLabels + "container-number":     strconv.Itoa(number),
		otto.ComposeLabels + "oneoff":               "False",
		otto.ComposeLabels + "project.working_dir":  dir,
		otto.ComposeLabels + "project.config_files": files,
		otto.ComposeLabels + "config-hash":          noHash,
	})
	return r, nil
}

// endReleases ends those whose stack is not wanted any more: what was its is Compose's.
func (p *Plane) endReleases() {
	next, ended := p.takeovers, false
	for stack, of := range p.takeovers {
		wanted := func(s otto.Service) bool { return strings.HasPrefix(s.Name, stack+"/") }
		if len(of.Releasing) > 0 && !slices.ContainsFunc(p.desired.Wanted.Services, wanted) {
			next, ended = next.put(otto.Adoption{Stack: stack, Node: of.Node, Taken: otto.Taken{Given: of.Given}}), true
		}
	}
	if !ended {
		return
	}
	if err := p.putAdopted(next); err != nil {
		p.Log.Error("what was given back is not forgotten", "err", err)
	}
}
