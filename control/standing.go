package control

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"
)

// keyStanding is the document of the violations that have been told of: since when
// each stands, by what it is known by. It is no part of a backup, and it may be
// missing: then they are found and told anew.
const keyStanding = "standing"

// loadStanding reads it at the start. A violation in it is as old as it was told to
// be, and is not told again; but it is acted upon only when it has been measured
// anew for all of its time, as after any gap in what is measured.
func (p *Plane) loadStanding(ctx context.Context) error {
	_, err := p.Store.Get(ctx, keyStanding, &p.required.kept)
	return err
}

// keepStanding writes it if it has changed, before anybody is told. What cannot be
// written now is with the next change.
func (p *Plane) keepStanding() {
	standing := map[string]time.Time{}
	for _, w := range p.required.nodes {
		if !w.bad {
			continue
		}
		for _, j := range w.judged {
			if j.verdict.Standing() {
				standing[j.identify()] = j.verdict.Violated.UTC()
			}
		}
	}
	if maps.EqualFunc(standing, p.required.kept, time.Time.Equal) {
		return
	}
	if err := p.Store.Put(p.ctx, keyStanding, standing); err != nil {
		p.Log.Error("violations not stored: after a restart they would be told again", "err", err)
		return
	}
	p.required.kept = standing
}

// dropped says that a violation is not watched any more.
func (p *Plane) dropped(id string) {
	of := strings.Split(id, "\x00") // as identify has it
	if len(of) != 5 {
		return
	}
	p.event("requirement-dropped", of[2], of[0], fmt.Sprintf("%s is no longer judged there: the service has left, or it is not required any more", of[3]))
}
