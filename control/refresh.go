package control

import (
	"context"
	"fmt"
	"slices"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
)

// carried is w with how often containers were refreshed, which no file says: to apply a
// file takes no content of an image back.
func carried(w otto.Wanted, was *plan.Index) otto.Wanted {
	own := false
	for i, s := range w.Services {
		former, known := was.Service(s.Name)
		if !known || former.Spec.Refresh == s.Spec.Refresh {
			continue
		}
		if !own {
			w.Services, own = slices.Clone(w.Services), true
		}
		w.Services[i].Spec.Refresh = former.Spec.Refresh
	}
	return w
}

// Refresh makes the containers of a service anew, as an update, from what its image is in
// the registry, or on the node if that cannot be asked.
func (p *Plane) Refresh(ctx context.Context, service string) error {
	return p.call(ctx, func() error {
		if err := p.deciding(); err != nil {
			return err
		}
		if p.desired.Wanted.Stopped {
			return fmt.Errorf("the cluster is stopped: run `otto cluster start`")
		}
		w := p.desired.Wanted
		i := slices.IndexFunc(w.Services, func(s otto.Service) bool { return s.Name == service })
		if i < 0 {
			return p.unknown(service)
		}
		w.Services = slices.Clone(w.Services)
		w.Services[i].Spec.Refresh++
		p.record(asked(ctx, "service-refresh", "", "new content for image "+w.Services[i].Spec.Image+" of "+service))
		return p.want(ctx, w, plan.NewIndex(w, p.index()))
	})
}

// noteImages notes in updates that begin which images their instances run.
func (p *Plane) noteImages(begun map[string]plan.Rollout) {
	for service, r := range begun {
		if r.Images != nil {
			continue
		}
		r.Images = map[string]plan.Ran{}
		for name := range r.At {
			node := p.desired.Placement[name]
			said, _ := p.live(node)
			if i := statusIn(said.Instances, name); i != nil && i.SpecHash == r.Good && i.ImageID != "" {
				r.Images[name] = plan.Ran{Node: node, Image: i.ImageID}
			}
		}
		begun[service] = r
	}
}

// refreshing reports whether an instance gets a container for which its registry is asked.
func refreshing(i otto.Instance, r plan.Rollout) bool {
	good, known := r.Versions[r.Good]
	return known && good.Spec.Refresh < i.Spec.Refresh
}

// otherImages says which instances run another image than its name means on their node.
func (p *Plane) otherImages(w otto.Wanted) (notes []string) {
	for _, s := range w.Services {
		for _, name := range w.InstanceNames(s) {
			at := p.desired.Placement[name]
			said, heard := p.live(at)
			if !heard {
				continue
			}
			if i := statusIn(said.Instances, name); i != nil && i.ImageNow != "" && i.Image == s.Spec.Image {
				notes = append(
					notes,
					fmt.Sprintf(
						"%s runs another image than %s is on %s now: `otto service update --pull %s` takes that",
						name,
						s.Spec.Image,
						at,
						s.Name,
					),
				)
			}
		}
	}
	return notes
}
