package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/wire"
)

// Apply makes w what is wanted and returns what changes by it. With dryRun it
// only tells. base is the revision that w was compared with; if what is wanted
// has changed since, Apply returns otto.ErrConflict. All nodes are looked after at
// once, also when nothing changes.
func (p *Plane) Apply(ctx context.Context, w otto.Wanted, base uint64, dryRun bool) (changes []otto.Change, err error) {
	was, index, err := p.wanted(ctx)
	if err != nil {
		return nil, err
	}
	if w, err = p.withKeys(ctx, w); err != nil {
		return nil, err
	}
	w = carried(w, index)
	// What is wanted is never changed in place, so it is compared here, where it keeps
	// nobody waiting.
	changes = plan.Diff(was, w)
	index = plan.NewIndex(w, index)
	err = p.call(ctx, func() error {
		if err := p.deciding(); err != nil {
			return err
		}
		if now := p.desired.Wanted.Revision; base != now || was.Revision != now {
			return fmt.Errorf("%w: it is at revision %d now, not %d", otto.ErrConflict, now, base)
		}
		if err := plan.Refuse(p.index(), index, p.desired.Placement, p.data.held()); err != nil {
			return err
		}
		if refused := p.tooLarge(w); len(refused) > 0 {
			return errors.New(strings.Join(refused, "\n"))
		}
		changes = append(changes, p.failedUpdates(w)...)
		if dryRun {
			return nil
		}
		if err := p.haveFolders(w); err != nil {
			return err
		}
		for _, n := range p.nodes {
			n.askAgain(time.Now())
			n.wake()
		}
		if len(changes) > 0 || was.Stopped || was.Revision == 0 || p.desired.Restored {
			return p.want(ctx, w, index)
		}
		return nil
	})
	return changes, err
}

// wanted is what is wanted now.
func (p *Plane) wanted(ctx context.Context) (w otto.Wanted, index *plan.Index, err error) {
	err = p.call(ctx, func() error {
		w, index = p.desired.Wanted, p.index()
		return nil
	})
	return w, index, err
}

// want writes down a new wanted state, of which index is, and follows it.
func (p *Plane) want(ctx context.Context, w otto.Wanted, index *plan.Index) error {
	next := p.desired.with(w, p.index(), index)
	if !p.desired.Restored {
		p.tryAgain(&next)
	}
	p.noteImages(next.Rollouts)
	w = next.Wanted
	enrolment := w.Interval != p.desired.Wanted.Interval || w.Health.Heartbeat != p.desired.Wanted.Health.Heartbeat
	if err := p.noteFiles(next); err != nil {
		return err
	}
	if err := p.Store.Put(p.ctx, keyDesired, next); err != nil {
		return err
	}
	changes := plan.Diff(p.desired.Wanted, w)
	p.desired, p.indexed = next, index
	for _, n := range next.Leaving {
		if known := p.nodes[n.ID]; known != nil {
			known.leaving = true
		}
	}
	for _, spec := range w.Nodes {
		n := p.nodes[spec.ID]
		switch {
		case n == nil:
			p.nodes[spec.ID], p.sorted = newNode(spec), nil
		case enrolment || plan.Diff(otto.Wanted{Nodes: []otto.Node{n.Node}}, otto.Wanted{Nodes: []otto.Node{spec}}) != nil:
			n.Node, n.labels, n.leaving = spec, nil, false
			k := n.keeper
			n.keeper = nil // the next pass makes one for what is wanted now
			p.background.Go(k.release)
		default:
			n.leaving = false
		}
	}
	p.keepFolders(time.Now())
	p.dirty = true
	p.record(asked(ctx, "change", "", fmt.Sprintf("wanted state is at revision %d%s", w.Revision, named(changes))))
	p.pass(time.Now())
	p.publishView() // who has asked for it finds it in the view
	return nil
}

// named are the first ones of some changes, by name.
func named(changes []otto.Change) (text string) {
	const most = 8
	signs := map[string]string{"add": "+", "change": "~", "remove": "-"}
	for i, c := range changes {
		if i == most {
			return ":" + text[1:] + fmt.Sprintf(", and %d more", len(changes)-most)
		}
		text += ", " + signs[c.Kind] + " " + c.Noun + " " + c.Name
	}
	if text == "" {
		return ""
	}
	return ":" + text[1:]
}

// with is what is desired once w is wanted. The indexes are of what is wanted until
// now, and of w.
func (d desired) with(w otto.Wanted, was, now *plan.Index) desired {
	next := d
	next.Restored = false
	w.Revision = d.Wanted.Revision + 1
	next.Leaving = slices.Clone(d.Leaving)
	nodes := make(map[string]bool, len(w.Nodes))
	for _, n := range w.Nodes {
		nodes[n.ID] = true
		next.Lease = max(next.Lease, w.LeaseOf(n))
	}
	for _, n := range d.Wanted.Nodes {
		if !nodes[n.ID] && !hasNode(next.Leaving, n.ID) {
			next.Leaving = append(next.Leaving, n)
		}
	}
	next.Leaving = slices.DeleteFunc(next.Leaving, func(n otto.Node) bool { return nodes[n.ID] })
	changed, _ := now.Since(was)
	for _, s := range changed { // a new home is where it goes, wherever it was
		if former, known := was.Service(s.Name); known && s.Node != "" && former.Node != s.Node {
			next.Placement = maps.Clone(next.Placement)
			for _, name := range s.Names {
				delete(next.Placement, name)
			}
		}
	}
	next.Intents = maps.Clone(d.Intents)
	maps.DeleteFunc(next.Intents, func(id string, _ otto.Intent) bool { return !nodes[id] })
	next.Machines = maps.Clone(d.Machines)
	maps.DeleteFunc(next.Machines, func(id string, _ string) bool { return !nodes[id] && !hasNode(next.Leaving, id) })
	next.Given = d.givenTo(w.Nodes)
	next.Rollouts = plan.Begin(was, now, d.Rollouts)
	if d.Restored { // what runs is not known to be what was wanted
		next.Rollouts = nil
	}
	next.Contents = keptContents(d.Contents, w, next.Rollouts)
	w.Contents = nil
	next.Restarts = maps.Clone(d.Restarts)
	maps.DeleteFunc(next.Restarts, func(instance string, _ uint64) bool {
		_, wanted := now.Owner(instance)
		return !wanted
	})
	next.Wanted = w
	return next
}

func hasNode(nodes []otto.Node, id string) bool {
	return slices.ContainsFunc(nodes, func(n otto.Node) bool { return n.ID == id })
}

// Stop stops all services, then all agents. What could not be stopped is in the
// error, a line each; everything else is stopped all the same.
func (p *Plane) Stop(ctx context.Context) error {
	return p.takeDown(ctx, func(n otto.Node, by wire.Authority) error { return p.Reach.Stop(ctx, n, by) })
}

// Uninstall stops everything and takes everything of Otto's off every node;
// named volumes stay unless volumes is set. Nodes that have nothing of Otto's any more
// are not wanted any more: whoever starts the cluster again adds them again.
func (p *Plane) Uninstall(ctx context.Context, volumes bool) error {
	var mu sync.Mutex
	var bare []string
	left := p.takeDown(ctx, func(n otto.Node, by wire.Authority) error {
		err := p.Reach.Uninstall(ctx, n, by, volumes)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			bare = append(bare, n.ID)
		}
		return err
	})
	return errors.Join(left, p.call(ctx, func() error {
		if !p.desired.Wanted.Stopped { // somebody has started it again
			return nil
		}
		next := p.desired
		next.Wanted.Nodes = slices.DeleteFunc(slices.Clone(next.Wanted.Nodes), func(n otto.Node) bool { return slices.Contains(bare, n.ID) })
		if volumes { // no data holds a service there
			next.Placement = maps.Clone(next.Placement)
			maps.DeleteFunc(next.Placement, func(_, at string) bool { return slices.Contains(bare, at) })
		}
		if volumes {
			next.Given = takenFrom(next.Given, bare...)
		}
		err := p.departed(next, bare...)
		if err == nil && volumes {
			p.forgetData(bare...)
		}
		return err
	}))
}

func (p *Plane) takeDown(ctx context.Context, last func(otto.Node, wire.Authority) error) error {
	var nodes []otto.Node
	var keepers []*keeper
	var by wire.Authority
	err := p.call(ctx, func() error {
		if err := p.deciding(); err != nil {
			return err
		}
		if !p.desired.Wanted.Stopped {
			w := p.desired.Wanted
			w.Stopped = true
			if err := p.want(ctx, w, plan.NewIndex(w, p.index())); err != nil {
				return err
			}
		}
		by = p.authority()
		for _, n := range p.nodes {
			nodes = append(nodes, n.Node)
			keepers = append(keepers, n.keeper)
			n.keeper = nil
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, k := range keepers {
		k.release()
	}
	var mu sync.Mutex
	var failures []string
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() {
			err := p.waitStopped(ctx, n.ID)
			err = errors.Join(err, last(n, by))
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				failures = append(failures, fmt.Sprintf("%s: %s", n.ID, strings.ReplaceAll(err.Error(), "\n", "; ")))
			}
		})
	}
	wg.Wait()
	if len(failures) > 0 {
		slices.Sort(failures)
		return errors.New(strings.Join(failures, "\n"))
	}
	return nil
}

// waitStopped waits until a node has reported that nothing runs. A node that is
// not heard is not waited for.
func (p *Plane) waitStopped(ctx context.Context, id string) error {
	for {
		var done, silent bool
		var why string
		_, more := p.Next()
		err := p.call(ctx, func() error {
			n := p.nodes[id]
			if n == nil {
				done = true
				return nil
			}
			last := n.heard
			if p.watching.After(last) {
				last = p.watching
			}
			silent = time.Since(last) > 2*p.patience(n) || n.goodbye.After(n.heard)
			if n.report == nil || n.report.Revision != n.revision || p.desired.Wanted.Stopped && n.published == "" {
				why = "it has not reported that its services are stopped"
				return nil
			}
			if done = n.report.Settled; !done {
				why = "not all of its services are stopped"
			}
			return nil
		})
		switch {
		case err != nil:
			return errors.Join(errors.New(why), err)
		case done, silent:
			return nil
		}
		select {
		case <-more:
		case <-time.After(tick): // silence makes no new view
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", why, ctx.Err())
		}
	}
}
