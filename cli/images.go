package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/bootstrap"
	"github.com/otto-edge/otto/config"
)

const (
	sendLook     = 300 * time.Millisecond // between two looks at whether a node is ready for an image
	sendHeard    = 20 * time.Second       // for nodes to be heard by a control plane that has just started
	sendProgress = 3 * time.Second        // between two lines about one that is under way
)

// shipper brings what was built to the nodes that run it, and a copy to another one.
type shipper struct {
	*app
	fleet   *bootstrap.Fleet
	cluster string
	nodes   map[string]otto.Node
	keep    []string // ids of all images that are in use
	has     map[string][]string
	failed  map[string]bool // by node and image: told already
}

// newShipper is for what was built, beside what runs in a view of the cluster.
func (a *app) newShipper(f *config.File, v *otto.Cluster) *shipper {
	s := &shipper{
		app: a, fleet: bootstrap.New(bootstrap.Options{Log: slog.New(slog.DiscardHandler)}), cluster: f.Name,
		nodes: map[string]otto.Node{}, has: map[string][]string{}, failed: map[string]bool{},
	}
	for _, n := range f.Wanted.Nodes {
		s.nodes[n.ID] = n
	}
	use := func(id string) {
		if otto.BuiltImage(id) && !slices.Contains(s.keep, id) {
			s.keep = append(s.keep, id)
		}
	}
	for _, img := range a.built {
		use(img.id)
	}
	for _, of := range v.Services {
		use(of.Spec.Image)
		for _, i := range of.Instances {
			use(i.Image)
		}
	}
	return s
}

func (s *shipper) close() { s.fleet.Close() }

// of is the image that was built for a service.
func (s *shipper) of(service string) (image, bool) {
	i := slices.IndexFunc(s.built, func(img image) bool { return slices.Contains(img.of.Services, service) })
	if i < 0 {
		return image{}, false
	}
	return s.built[i], true
}

// prepare brings images to where a plan has their services, as far as those nodes are ready,
// before anything is changed.
func (s *shipper) prepare(ctx context.Context, c *api.Client, v *otto.Cluster, w otto.Wanted) error {
	for _, img := range s.built { // by which docker save finds it, and no prune does
		if _, err := img.engine.docker(ctx, "tag", img.id, otto.BuiltName(s.cluster, img.id)); err != nil {
			return fmt.Errorf("name %s: %w", img.of.Image, err)
		}
	}
	v, err := s.heard(ctx, c, v)
	if err != nil {
		return err
	}
	p, err := c.Plan(ctx, w)
	if err != nil || len(p.Refused) > 0 {
		return err // of the latter the control plane tells when it is applied
	}
	for _, i := range p.Instances {
		img, built := s.of(i.Service)
		if !built || i.Node == "" || i.Action == otto.PlanRemove || !ready(v, i.Node) {
			continue
		}
		if err := s.send(ctx, i.Node, img); err != nil && !errors.Is(err, bootstrap.ErrNoAgent) {
			return fmt.Errorf("nothing was changed: %w", err)
		}
	}
	return nil
}

// heard waits for a moment for nodes that a control plane which has just started has not heard.
func (s *shipper) heard(ctx context.Context, c *api.Client, v *otto.Cluster) (*otto.Cluster, error) {
	joins := func(n otto.NodeStatus) bool { return n.State == otto.NodeJoining && n.Problem == "" }
	for until := time.Now().Add(sendHeard); slices.ContainsFunc(v.Nodes, joins) && time.Now().Before(until); {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(sendLook):
		}
		now, err := c.Cluster(ctx)
		if err != nil {
			return nil, err
		}
		v = now
	}
	return v, nil
}

func ready(v *otto.Cluster, node string) bool {
	return slices.ContainsFunc(v.Nodes, func(n otto.NodeStatus) bool { return n.ID == node && n.State == otto.NodeReady })
}

// send brings an image to a node that is not known to have it.
func (s *shipper) send(ctx context.Context, node string, img image) error {
	if slices.Contains(s.has[img.id], node) {
		return nil
	}
	offer := otto.ImageOffer{ID: img.id, Layers: img.layers, Bytes: img.bytes, Keep: s.keep}
	archive := img.save(otto.BuiltName(s.cluster, img.id))
	sent, err := s.fleet.SendImage(ctx, s.nodes[node], s.cluster, offer, func(ctx context.Context, w io.Writer) error {
		return archive(ctx, &progressWriter{w: w, shipper: s, what: img.of.Image + " to " + node, of: img.bytes, told: time.Now()})
	})
	if err != nil {
		return fmt.Errorf("image %s could not be brought to %s: %w", img.of.Image, node, err)
	}
	s.has[img.id] = append(s.has[img.id], node)
	if sent {
		s.note("image %s is on %s", img.of.Image, node)
	}
	return nil
}

// note says on the terminal what is done.
func (a *app) note(format string, args ...any) {
	if !a.json() {
		fmt.Fprintf(a.err, format+"\n", args...)
	}
}

// progressWriter says from time to time how much has gone through.
type progressWriter struct {
	w       io.Writer
	shipper *shipper
	what    string
	of      int64
	done    int64
	told    time.Time
}

// Write implements io.Writer.
func (p *progressWriter) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.done += int64(n)
	if now := time.Now(); now.Sub(p.told) > sendProgress {
		p.told = now
		p.shipper.note("sending %s: %d of %d MB", p.what, p.done/otto.MB, max(p.of, p.done)/otto.MB)
	}
	return n, err
}

// follow brings images to nodes that have got a place for them since, such as new ones, until
// all are there or no more is to be expected soon. What takes its time is not part of limit.
func (s *shipper) follow(ctx context.Context, c *api.Client, limit time.Duration) error {
	until := time.Now().Add(limit)
	for {
		v, err := c.Cluster(ctx)
		if err != nil {
			return err
		}
		began := time.Now()
		waits := s.sendTo(ctx, v)
		until = until.Add(time.Since(began))
		if !waits || stuck(v) || time.Now().After(until) {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(sendLook):
		}
	}
}

// sendTo brings images to where the view has their services, and reports whether there
// are more to come.
func (s *shipper) sendTo(ctx context.Context, v *otto.Cluster) (waits bool) {
	for _, of := range v.Services {
		img, built := s.of(of.Name)
		if !built || of.Spec.Image != img.id {
			continue
		}
		for _, i := range of.Instances {
			key := i.Node + " " + img.id
			switch {
			case i.Node == "":
				waits = true
				continue
			case s.failed[key] || slices.Contains(s.has[img.id], i.Node):
				continue
			case !ready(v, i.Node):
				waits = true
				continue
			}
			err := s.send(ctx, i.Node, img)
			if errors.Is(err, bootstrap.ErrNoAgent) {
				waits = true
			} else if err != nil {
				s.failed[key] = true
				fmt.Fprintln(s.err, "otto:", err)
			}
		}
	}
	return waits
}

// copies brings a second copy of each image to a node that could take its service.
func (s *shipper) copies(ctx context.Context, c *api.Client, v *otto.Cluster) {
	for _, of := range v.Services {
		img, built := s.of(of.Name)
		if !built || len(of.Instances) == 0 || len(s.has[img.id]) != 1 || of.Stays() != "" {
			continue
		}
		e, err := c.ExplainService(ctx, of.Instances[0].Name)
		if err != nil || e.Service == nil {
			continue
		}
		could := couldTake(e.Service)
		i := slices.IndexFunc(could, func(id string) bool { return ready(v, id) && !slices.Contains(s.has[img.id], id) })
		if i < 0 {
			continue
		}
		if err := s.send(ctx, could[i], img); err != nil {
			fmt.Fprintf(s.err, "warning: there is no copy of it for a failover: %v\n", err)
		}
	}
}

// couldTake are the nodes that could take a service if they had its image, the one that would
// be chosen first.
func couldTake(e *otto.ServiceExplanation) (nodes []string) {
	for _, i := range e.Instances {
		for _, score := range i.Scores {
			nodes = append(nodes, score.Node)
		}
		for _, r := range i.Refusals {
			if r.Filter == "image" {
				nodes = append(nodes, r.Node)
			}
		}
	}
	return nodes
}

// tidy removes the names of images here that are not in use any more.
func (s *shipper) tidy(ctx context.Context) {
	repository := otto.BuiltRepository(s.cluster)
	out, err := engine{}.docker(ctx, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", repository)
	if err != nil {
		return // it costs space and nothing else
	}
	for name := range strings.FieldsSeq(string(out)) {
		if id := otto.BuiltID(name); id != "" && !slices.Contains(s.keep, id) {
			_, _ = engine{}.docker(ctx, "image", "rm", name) // what a container has stays
		}
	}
}
