package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
)

// Once is an instance for one run of a service, named by itself or by one of its
// instances, and the node for that: where the service is, or else where it would be.
// node is one of several nodes that it is on, empty for the first one that is ready.
func (p *Plane) Once(ctx context.Context, name, node string) (inst otto.Instance, at otto.Node, err error) {
	err = p.call(ctx, func() error {
		if err := p.deciding(); err != nil {
			return err
		}
		s, ok := p.index().Service(name)
		instances := []string{name}
		if ok {
			instances = s.Names
		} else if s, ok = p.index().Owner(name); !ok {
			return p.unknown(name)
		}
		if p.desired.Wanted.Stopped {
			return errors.New("the cluster is stopped: run `otto cluster start`")
		}
		id, err := p.placeOnce(s, instances, node)
		if err != nil {
			return err
		}
		known := p.nodes[id]
		if known == nil || known.state != otto.NodeReady {
			return fmt.Errorf("%s is on %s, which is not ready: see otto cluster status", s.Name, id)
		}
		inst = otto.Instance{
			Name: cmp.Or(append(instances, s.Name)[0], s.Name), Service: s.Name, Spec: s.Spec,
			Disposable: s.Data == otto.DataDisposable,
		}
		at = known.Node
		return nil
	})
	return inst, at, err
}

// placeOnce is where some of a service's instances are, or where the service would be.
func (p *Plane) placeOnce(s *plan.Service, instances []string, node string) (string, error) {
	var on []string
	for _, i := range instances {
		id := p.desired.Placement[i]
		if id == "" || node != "" && id != node || slices.Contains(on, id) {
			continue
		}
		on = append(on, id)
	}
	ready := func(id string) bool { n := p.nodes[id]; return n != nil && n.state == otto.NodeReady }
	if i := slices.IndexFunc(on, ready); i >= 0 {
		return on[i], nil
	}
	if len(on) > 0 {
		return on[0], nil
	}
	would, why := p.wouldBe(s)
	switch {
	case would == "":
		return "", fmt.Errorf("%s is on no node: %s", s.Name, why)
	case node != "" && node != would:
		return "", fmt.Errorf("%s is not on %s: leave --node out", s.Name, node)
	}
	return would, nil
}

// wouldBe is where a service without instances would be, with one: its node is found by
// the same rules, and by what is there of its data.
func (p *Plane) wouldBe(s *plan.Service) (node, why string) {
	w := p.desired.Wanted
	w.Services = slices.Clone(w.Services)
	one := s.Service
	one.Replicas = max(1, one.Replicas)
	for i := range w.Services {
		if w.Services[i].Name == s.Name {
			w.Services[i] = one
		}
	}
	placed := plan.Place(w, p.desired.Placement, p.plannedNodes(time.Now()), nil)
	for _, name := range w.InstanceNames(one) {
		if id := placed.Placement[name]; id != "" {
			return id, ""
		}
		why = cmp.Or(why, placed.Waiting[name])
	}
	return "", cmp.Or(why, "none fits")
}
