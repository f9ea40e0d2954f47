package control

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
)

// Plan says what would change if w were applied now, and where things would go,
// by what Apply and every pass decide with. It changes nothing.
func (p *Plane) Plan(ctx context.Context, w otto.Wanted) (out otto.Plan, err error) {
	err = p.call(ctx, func() error {
		if err := p.deciding(); err != nil {
			return err
		}
		now, was := time.Now(), p.desired.Wanted
		w.Revision = was.Revision
		if w, err = keyed(p.identity.ContentKey, w, p.desired); err != nil {
			return err
		}
		w = carried(w, p.index())
		index := plan.NewIndex(w, p.index())
		next := p.desired.with(w, p.index(), index)
		var nodes []plan.Node
		for _, n := range w.Nodes {
			as := newNode(n)
			if known := p.nodes[n.ID]; known != nil {
				*as = *known
				as.Node, as.labels = n, nil // which the file may have changed
			}
			nodes = append(nodes, p.planned(as, now))
		}
		out = otto.Plan{Revision: was.Revision, Notes: append([]string{}, p.otherImages(w)...), Refused: []string{}}
		out.Changes = append([]otto.Change{}, plan.Diff(was, w)...)
		out.Changes = append(out.Changes, p.failedUpdates(w)...)
		if was.Stopped {
			out.Changes = append(out.Changes, otto.Change{Kind: "change", Noun: "cluster", Name: p.Name, Detail: "it is stopped, and would be started"})
		}
		out.Instances = append([]otto.PlannedInstance{}, plan.Preview(was, w, p.desired.Placement, next.Placement, p.banned(nodes, now), p.troubled(now))...)
		held := p.data.held()
		out.Notes = append(out.Notes, plan.Notes(p.index(), index, p.desired.Placement, held)...)
		if err := plan.Refuse(p.index(), index, p.desired.Placement, held); err != nil {
			out.Refused = strings.Split(err.Error(), "\n")
		}
		out.Refused = append(out.Refused, p.tooLarge(w)...)
		placed := plan.Placement{}
		for _, i := range out.Instances {
			placed[i.Name] = i.Node
		}
		seeds, notes := p.plannedSeeds(w, placed, out.Changes)
		out.Seeds, out.Notes = seeds, append(out.Notes, notes...)
		out.ID, err = p.identify(out, w)
		return err
	})
	return out, err
}

// identify makes the ID of a plan. It is keyed, as nobody is to try out values of
// an environment on it.
func (p *Plane) identify(of otto.Plan, w otto.Wanted) (string, error) {
	places := map[string]string{}
	for _, i := range of.Instances {
		places[i.Name] = fmt.Sprint(i.Action, i.Node, i.From)
	}
	b, err := json.Marshal([]any{w, places, of.Changes, of.Refused})
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, p.identity.Key)
	mac.Write(b)
	return hex.EncodeToString(mac.Sum(nil)[:8]), nil
}
