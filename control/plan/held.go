package plan

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// Held are the nodes on which services have run with a volume, by its name, in order.
type Held map[string][]string

// Notes says which volumes a new wanted state has services begin with, and which it
// leaves, where that is not refused.
func Notes(was, now *Index, placed Placement, held Held) []string {
	_, notes := leftVolumes(was, now, placed, held)
	return notes
}

// leaving is what the volumes of a new wanted state are compared with.
type leaving struct {
	was, now      *Index
	placed        Placement
	held          Held
	before, after map[string][]*Service // by the volume that they mount
}

// renamed says what becomes of a volume that nothing has mounted so far, in the place of
// one that has the data of a service; refused, if the file gives it no name.
func (l *leaving) renamed(s *Service, m otto.Mount) (text string, refused bool) {
	if l.before[m.Source] != nil {
		return "", false
	}
	at, implied := s.Implied[m.Source]
	f, volume := formerVolume(s, m, cmp.Or(at.Key, m.Source), l.was, l.now, l.placed, l.after)
	if f == nil {
		return "", false
	}
	from := f.placedOn(l.placed)
	on := cmp.Or(l.bound(s), from)
	earlier := slices.Contains(l.held[m.Source], on)
	implied = implied && !f.hasSeeded(volume) // no line of the file could name that one
	switch {
	case implied && earlier:
		return fmt.Sprintf(
			"%s: service %s would go back to volume %s on node %s, with the data of an earlier time: "+
				"what service %s has now is in volume %s on node %s: "+
				"write `volumes: {%s: {name: %s}}` to keep that, or {name: %s} to go back",
			at.At, s.Name, m.Source, on, f.Name, volume, from, at.Key, volume, m.Source), true
	case implied:
		return fmt.Sprintf(
			"%s: service %s would begin with an empty volume %s: the data of service %s is in volume %s on node %s: "+
				"write `volumes: {%s: {name: %s}}` to keep it, or {name: %s} to begin without it",
			at.At, s.Name, m.Source, f.Name, volume, from, at.Key, volume, m.Source), true
	case earlier:
		return fmt.Sprintf(
			"service %s goes back to volume %s on node %s, with the data of an earlier time; "+
				"what service %s has now stays in volume %s on node %s",
			s.Name, m.Source, on, f.Name, volume, from), false
	}
	return fmt.Sprintf(
		"service %s gets volume %s on node %s, which is empty unless you have put something into it; "+
			"the data of service %s stays in volume %s on node %s",
		s.Name, m.Source, on, f.Name, volume, from), false
}

// elsewhere says of a service that gets a volume where the data is that services have had
// in it, if that is on another node and nothing has it there any more; refused, if the
// service would begin without it, or if there are several and the file says no node.
func (l *leaving) elsewhere(s *Service, m otto.Mount) (text string, refused bool) {
	holders := l.held[m.Source]
	former, known := l.was.Service(s.Name)
	if len(holders) == 0 || s.Global() {
		return "", false
	}
	if known && slices.Contains(former.Spec.Volumes(), m.Source) &&
		(former.Node == s.Node || former.placedOn(l.placed) != "") {
		return "", false // it has it already; Refuse looks at its node
	}
	on, key := l.bound(s), cmp.Or(s.Implied[m.Source].Key, m.Source)
	var left []string
	for _, node := range holders {
		if node != on && !l.used(m.Source, node) {
			left = append(left, node)
		}
	}
	ran := func(f *Service) bool { return f.placedOn(l.placed) == on }
	switch there := slices.Contains(holders, on); {
	case len(left) == 0:
	case there:
		return fmt.Sprintf("service %s gets volume %s of node %s, with the data that services had in it there; "+
			"another one of that name, with data of its own, is on node %s: write node: %s for that one",
			s.Name, m.Source, on, strings.Join(left, " and on node "), left[0]), false
	case on == "" && len(holders) > 1:
		return fmt.Sprintf(
			"service %s may get volume %s of node %s, and each has data of its own: write node: with one of them",
			s.Name, m.Source, strings.Join(holders, " or of node ")), true
	case on == "" || slices.ContainsFunc(l.before[m.Source], ran):
	default:
		return fmt.Sprintf(
			"service %s would begin with an empty volume %s on node %s: the one that services have run with is on node %s: "+
				"write node: %s to keep its data, or `volumes: {%s: {name: ANOTHER}}` to begin without it, or %s",
			s.Name, m.Source, on, strings.Join(left, " and on node "), left[0], key, byHand(nil, s, left[0], on)), true
	}
	return "", false
}

// bound is the node that a service is on, or is to be on, by what is known before places
// are decided; empty if that is open.
func (l *leaving) bound(s *Service) string {
	if s.Node != "" {
		return s.Node
	}
	if at := s.placedOn(l.placed); at != "" || s.Unit == "" {
		return at
	}
	for _, o := range l.now.Services {
		if at := o.placedOn(l.placed); o.Unit == s.Unit && at != "" {
			return at
		}
	}
	return ""
}

// used reports whether a service has a volume on a node, or is to have it there.
func (l *leaving) used(volume, node string) bool {
	return slices.ContainsFunc(l.after[volume], func(s *Service) bool {
		if s.Global() {
			return slices.ContainsFunc(s.Names, func(name string) bool { return l.placed[name] == node })
		}
		return cmp.Or(s.Node, s.placedOn(l.placed)) == node
	})
}

// byHand is how a person moves the data of a service to another node: an external volume
// is never made, so the service cannot begin with an empty one. former is what has to go
// first, nil if nothing has.
func byHand(former, s *Service, from, to string) string {
	where := cmp.Or(to, "the other node")
	var keep, external, seeded []string
	for _, m := range s.Spec.Kept() {
		if m.Seed != "" {
			seeded = append(seeded, m.Seed)
			continue
		}
		if m.Type != otto.MountVolume {
			if to == "" || !s.seeds(m.Source) { // which Otto copies
				keep = append(keep, "directory "+m.Source)
			}
			continue
		}
		keep = append(keep, "volume "+m.Source)
		if m.External {
			continue
		}
		key := m.Source
		if at, implied := s.Implied[m.Source]; implied {
			key = at.Key
		}
		external = append(external, fmt.Sprintf("%s: {name: %s, external: true}", key, m.Source))
	}
	var steps []string
	if former != nil {
		remove := "otto service rm " + former.Name
		if stack, _ := path.Split(former.Name); stack != "" {
			remove = "otto stack rm " + path.Clean(stack)
		}
		steps = append(steps, "`"+remove+"`")
	}
	if len(keep) > 0 || len(s.Spec.Kept()) == 0 {
		steps = append(steps, "copy "+cmp.Or(strings.Join(keep, " and "), "its data")+" from "+from+" to "+where)
	}
	if len(seeded) > 0 {
		steps = append(steps, "copy what is in "+strings.Join(seeded, " and ")+" on "+from+
			" to a folder of another name beside the Compose file", "mount that")
	}
	if len(external) > 0 {
		steps = append(steps, "write `volumes: {"+strings.Join(external, ", ")+"}`")
	}
	node := "that node"
	if to != "" {
		node = "node: " + to
	}
	return fmt.Sprintf("move it by hand: %s, and apply it with %s (docs/compose.md, Moving data)",
		strings.Join(steps, ", "), node)
}
