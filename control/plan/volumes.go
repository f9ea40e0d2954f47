package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// leftVolumes says which services would begin with an empty volume, because the one
// with their data has another name by the file as it is now, or is on another node.
// That happens to a service that is moved into a stack or out of one, to a stack or a
// service with another name, and to a volume with another key. A name that the file
// gives a volume is taken as meant: notes say then what that leaves behind.
func leftVolumes(was, now *Index, placed Placement, held Held) (problems, notes []string) {
	l := leaving{was, now, placed, held, mounted(was), mounted(now)}
	for _, s := range now.Services {
		if s.Data == otto.DataDisposable {
			continue
		}
		problems = append(problems, l.seeded(s)...)
		refused, said := l.reseeded(s)
		problems, notes = append(problems, refused...), append(notes, said...)
		for _, m := range s.Spec.Mounts {
			if m.Type != otto.MountVolume || m.Source == "" || m.External {
				continue
			}
			if text, refused := l.renamed(s, m); refused {
				problems = append(problems, text)
			} else if text != "" {
				notes = append(notes, text)
			}
			if f := leftBehind(s, l.before[m.Source], was, now, placed); f != nil {
				from := f.placedOn(placed)
				problems = append(
					problems,
					fmt.Sprintf(
						"service %s would begin with an empty volume %s on node %s: that of service %s is on node %s: "+
							"write node: %s, or %s",
						s.Name,
						m.Source,
						s.Node,
						f.Name,
						from,
						from,
						byHand(f, s, from, s.Node),
					),
				)
				continue
			}
			if text, refused := l.elsewhere(s, m); refused {
				problems = append(problems, text)
			} else if text != "" {
				notes = append(notes, text)
			}
		}
	}
	return problems, notes
}

// mounted are the services that mount a volume, by its name.
func mounted(x *Index) map[string][]*Service {
	by := map[string][]*Service{}
	for _, s := range x.Services {
		for _, v := range s.Spec.Volumes() {
			by[v] = append(by[v], s)
		}
	}
	return by
}

// placedOn is a node that the service is on, empty if it has no place.
func (s *Service) placedOn(placed Placement) string {
	for _, name := range s.Names {
		if at := placed[name]; at != "" {
			return at
		}
	}
	return ""
}

// formerVolume finds the volume that a service had in the place of one that is new, if
// nothing has it any more: of the service itself, or of one that is gone and has the
// same name in another name space, or else the same image.
func formerVolume(s *Service, m otto.Mount, key string, was, now *Index, placed Placement,
	after map[string][]*Service,
) (former *Service, volume string) {
	best := 0
	for _, f := range was.Services {
		_, stays := now.Service(f.Name)
		likeness := 0
		switch {
		case f.placedOn(placed) == "" || f.Data == otto.DataDisposable:
		case f.Name == s.Name:
			likeness = 3
		case stays:
		case path.Base(f.Name) == path.Base(s.Name):
			likeness = 2
		case repository(f.Spec.Image) == repository(s.Spec.Image):
			likeness = 1
		}
		if likeness <= best {
			continue
		}
		for _, o := range f.Spec.Mounts {
			alike := path.Clean(o.Target) == path.Clean(m.Target) || o.Source == key ||
				strings.HasSuffix(o.Source, "_"+key)
			if o.Type == otto.MountVolume && o.Source != "" && alike && after[o.Source] == nil {
				former, volume, best = f, o.Source, likeness
				break
			}
		}
	}
	return former, volume
}

// repository is an image without its tag and digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		image = image[:i]
	}
	return image
}

// leftBehind is the service that had a volume which a new one is to have on another
// node, if it is gone and nobody had it there.
func leftBehind(s *Service, had []*Service, was, now *Index, placed Placement) *Service {
	if _, known := was.Service(s.Name); known || s.Node == "" || s.Global() || len(had) == 0 {
		return nil
	}
	there := func(f *Service) bool { return f.placedOn(placed) == s.Node }
	stays := func(f *Service) bool { _, stays := now.Service(f.Name); return stays || f.placedOn(placed) == "" }
	if slices.ContainsFunc(had, there) || slices.ContainsFunc(had, stays) {
		return nil
	}
	return had[0]
}
