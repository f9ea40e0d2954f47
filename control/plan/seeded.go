package plan

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// seeded says which data of its project a service would leave: that is on a node since it was
// brought there, and the service would begin on another one with what is on this machine.
func (l *leaving) seeded(s *Service) (problems []string) {
	former, known := l.was.Service(s.Name)
	for _, volume := range slices.Sorted(maps.Keys(s.Seeds)) {
		holders, of := l.held[volume], s.Seeds[volume]
		in := slices.Contains(s.Spec.Volumes(), volume)
		if len(holders) == 0 || s.Global() || known && slices.Contains(former.Spec.Volumes(), volume) == in {
			continue // Refuse looks at the node of what has it already
		}
		on := l.bound(s)
		if in && (on == "" && len(holders) == 1 || slices.Contains(holders, on)) {
			continue
		}
		problems = append(problems, fmt.Sprintf(
			"service %s would begin with the data %s of this machine: what services have run with is on node %s since "+
				"it was brought there: write node: %s, or rename the folder to begin with another one",
			s.Name, of, strings.Join(holders, " and on node "), holders[0]))
	}
	return problems
}

// seeds reports whether a directory of this machine is data of the service's project.
func (s *Service) seeds(dir string) bool {
	for _, of := range s.Seeds {
		if at := path.Join(of.Project, of.Path); dir == at || strings.HasPrefix(dir, at+"/") {
			return true
		}
	}
	return false
}

// reseeded says which data of its project a service would leave under another name: the stack
// was renamed, or a mount of the file takes in more or less of the folder than before. The
// service would begin with what is on this machine, which is older.
func (l *leaving) reseeded(s *Service) (problems, notes []string) {
	for _, m := range s.Spec.Seeded() {
		if l.before[m.Source] != nil {
			continue
		}
		f, volume := formerVolume(s, m, m.Source, l.was, l.now, l.placed, l.after)
		if f == nil {
			continue
		}
		from := f.placedOn(l.placed)
		if !f.hasSeeded(volume) || !overlap(f.Seeds[volume].Path, s.Seeds[m.Source].Path) {
			notes = append(notes, fmt.Sprintf("service %s begins with the data %s of this machine; the data of service %s stays in volume "+
				"%s on node %s", s.Name, m.Seed, f.Name, volume, from))
			continue
		}
		problems = append(problems, fmt.Sprintf("service %s would begin with the data %s of this machine: what service %s has run with is "+
			"in volume %s on node %s: leave the name of the stack and what its services mount of that folder as they were, or %s",
			s.Name, m.Seed, f.Name, volume, from, byHand(f, s, from, from)))
	}
	return problems, notes
}

// hasSeeded reports whether a volume of a service began with data of its project.
func (s *Service) hasSeeded(volume string) bool {
	return slices.ContainsFunc(s.Spec.Seeded(), func(m otto.Mount) bool { return m.Source == volume })
}

// overlap reports whether one of two relative paths is the other one, or below it.
func overlap(a, b string) bool {
	in := func(a, b string) bool {
		below, err := filepath.Rel(b, a)
		return err == nil && filepath.IsLocal(below)
	}
	return in(a, b) || in(b, a)
}
