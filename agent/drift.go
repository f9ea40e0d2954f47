package agent

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// mendAgain is after how long a drift that was mended may be mended once more. Whoever
// undoes it sooner is not fought.
const mendAgain = time.Hour

// setups remembers how the engine said that containers were set up when they had been
// made. What differs later is drift: somebody has disconnected a network, or taken a
// limit away. It is compared with what the engine said and not with what was asked for,
// since some engines ignore some of that. It is on disk; a container without a record
// gets one when it is seen, and nothing else.
type setups struct {
	path string
	of   map[string]setup   // by instance
	seen map[string]sighted // likewise
}

// sighted is a drift that is not old enough to make another container for it.
type sighted struct {
	how   string
	since time.Time
}

// driftLasts is how long a drift must have been there for that: an engine that has just
// started may not know all about its containers yet.
const driftLasts = 10 * time.Second

type setup struct {
	Container string            `json:"container"`
	Was       map[string]string `json:"was"`
	// Mended says when each kind of drift was mended.
	Mended map[string]time.Time `json:"mended,omitempty"`
	// Replace is a container that is being replaced because of its drift, and Left is
	// drift that was said and left as it is.
	Replace string `json:"replace,omitempty"`
	Left    string `json:"left,omitempty"`
}

const setupsFile = "setups.json"

func openSetups(dir string) (*setups, error) {
	s := &setups{path: filepath.Join(dir, setupsFile), seen: map[string]sighted{}}
	var err error
	s.of, err = readMap[setup](s.path)
	return s, err
}

// drift is what has changed about a container since it was made.
type drift struct {
	what []string // aspects, such as "network home"
	how  string   // in words
	mend verb     // doNothing if it is left as it is
}

// driftOf compares a container with how it was. Ports are published while it runs.
func driftOf(was map[string]string, ctr otto.Container, spec otto.ContainerSpec) (d drift) {
	var how []string
	for _, aspect := range slices.Sorted(maps.Keys(was)) {
		now, there := ctr.Setup[aspect]
		switch {
		case there && now == was[aspect]:
			continue
		case strings.HasPrefix(aspect, otto.SetupPort) && ctr.State != otto.ContainerRunning:
			continue
		case there:
			how = append(how,
				fmt.Sprintf("%s: %s instead of %s", aspect, cmp.Or(now, "none"), cmp.Or(was[aspect], "none")))
		default:
			how = append(how, aspect+" is gone")
		}
		d.what = append(d.what, aspect)
	}
	if unaddressed(ctr, spec) && !slices.ContainsFunc(d.what, ofNetwork) {
		d.what, how = append(d.what, otto.SetupNetwork), append(how, "it is in no network")
	}
	d.how = strings.Join(how, ", ")
	return d
}

func ofNetwork(aspect string) bool { return strings.HasPrefix(aspect, otto.SetupNetwork) }

// unaddressed reports whether a container that should have an address has none.
func unaddressed(ctr otto.Container, spec otto.ContainerSpec) bool {
	return ctr.State == otto.ContainerRunning && ctr.Address == "" &&
		(spec.NetworkMode == "" || spec.NetworkMode == "bridge")
}

// mends says how a drift is mended: an attachment to the network needs no restart, all
// else another container. Where data would be somewhere else, a person decides.
func (d drift) mends(spec otto.ContainerSpec) verb {
	switch {
	case len(d.what) == 0:
		return doNothing
	case slices.ContainsFunc(d.what, ofNetwork):
		return doAttach
	case spec.Stateful() && slices.ContainsFunc(d.what, func(a string) bool { return strings.HasPrefix(a, otto.SetupMount) }):
		return doNothing
	}
	return doUpdate
}

// compare takes in how containers are set up now.
func (c *converger) compare() {
	if c.assignment == nil || c.assignment.Stopped {
		return
	}
	former := maps.Clone(c.setups.of)
	for i := range c.assignment.Instances {
		inst := &c.assignment.Instances[i]
		var have []otto.Container
		for _, ctr := range c.containers {
			if ctr.Instance == inst.Name {
				have = append(have, ctr)
			}
		}
		c.compareOne(*inst, have)
	}
	maps.DeleteFunc(c.setups.of, func(name string, _ setup) bool { return c.wanted(name) == nil })
	maps.DeleteFunc(c.setups.seen, func(name string, _ sighted) bool { return c.wanted(name) == nil })
	if !maps.EqualFunc(former, c.setups.of, setup.equal) {
		c.setups.write(c.Log)
	}
	for i := range c.containers { // one that is replaced is none that is wanted
		if ctr := &c.containers[i]; c.setups.of[ctr.Instance].Replace == ctr.ID {
			ctr.SpecHash = ""
		}
	}
}

func (s setup) equal(o setup) bool {
	return s.Container == o.Container && s.Replace == o.Replace && s.Left == o.Left && maps.Equal(s.Was, o.Was) &&
		maps.Equal(s.Mended, o.Mended)
}

func (c *converger) compareOne(inst otto.Instance, have []otto.Container) {
	known := c.setups.of[inst.Name]
	if known.Replace != "" && slices.ContainsFunc(have, func(o otto.Container) bool { return o.ID == known.Replace }) {
		return
	}
	known.Replace = ""
	current, _ := split(inst, have)
	if current == nil || c.work[inst.Name] != nil {
		return
	}
	if known.Container != current.ID {
		if current.State != otto.ContainerRunning {
			return // not all of it can be seen
		}
		known.Container, known.Was, known.Left = current.ID, current.Setup, ""
	}
	known.Was = withNetwork(known.Was, current.Setup)
	d := driftOf(known.Was, *current, inst.Spec)
	d.mend = d.mends(inst.Spec)
	now := time.Now()
	for _, aspect := range d.what {
		if at, mended := known.Mended[aspect]; mended && now.Sub(at) < mendAgain && !now.Before(at) {
			d.mend = doNothing
		}
	}
	lasts := c.setups.lasts(inst.Name, d.how, now)
	switch {
	case d.how == "":
		known.Left = ""
	case d.mend == doUpdate && lasts < driftLasts:
		c.refreshAt = earlier(c.refreshAt, now.Add(driftLasts-lasts))
	case d.mend == doUpdate && current.State == otto.ContainerRunning:
		known = known.mended(d, now)
		known.Replace = current.ID
		c.note("instance-drifted", inst.Name, d.how+": it is made anew")
	case d.mend == doNothing && known.Left != d.how:
		known.Left = d.how
		c.note("instance-drifted", inst.Name, d.how+": "+d.left(inst.Spec))
	}
	c.setups.of[inst.Name] = known
}

// withNetwork adds the network that a container is in, if none is known.
func withNetwork(was, now map[string]string) map[string]string {
	if slices.ContainsFunc(slices.Collect(maps.Keys(was)), ofNetwork) {
		return was
	}
	for aspect, names := range now {
		if ofNetwork(aspect) {
			was = maps.Clone(was)
			if was == nil {
				was = map[string]string{}
			}
			was[aspect] = names
		}
	}
	return was
}

// lasts is how long a drift has been there.
func (s *setups) lasts(instance, how string, now time.Time) time.Duration {
	if s.seen[instance].how != how {
		s.seen[instance] = sighted{how, now}
	}
	return now.Sub(s.seen[instance].since)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// left says why a drift is left as it is.
func (d drift) left(spec otto.ContainerSpec) string {
	if d.mends(spec) == doNothing {
		return "left as it is, as its data would be elsewhere"
	}
	return "left as it is, as it was mended before and has come back"
}

func (s setup) mended(d drift, now time.Time) setup {
	s.Mended = maps.Clone(s.Mended)
	if s.Mended == nil {
		s.Mended = map[string]time.Time{}
	}
	for _, aspect := range d.what {
		s.Mended[aspect] = now
	}
	return s
}

// detached says what is wrong with the network of an instance's container that is
// attached to it again, without a restart.
func (c *converger) detached(inst otto.Instance, have []otto.Container) string {
	ctr, _ := split(inst, have)
	known := c.setups.of[inst.Name]
	if ctr == nil || ctr.State != otto.ContainerRunning || known.Container != ctr.ID || known.Left != "" {
		return ""
	}
	if d := driftOf(known.Was, *ctr, inst.Spec); d.mends(inst.Spec) == doAttach {
		return d.how
	}
	return ""
}

// attached takes in that a container is in its network again. By which names is seen
// when it is looked at next.
func (c *converger) attached(instance string, ctr otto.Container) {
	known, inst := c.setups.of[instance], c.wanted(instance)
	if inst == nil || known.Container != ctr.ID {
		return
	}
	known = known.mended(driftOf(known.Was, ctr, inst.Spec), time.Now())
	known.Was = maps.Clone(known.Was)
	maps.DeleteFunc(known.Was, func(aspect, _ string) bool { return ofNetwork(aspect) })
	c.setups.of[instance] = known
	c.setups.write(c.Log)
}

// giveUp goes on with a container that could not be replaced.
func (s *setups) giveUp(instance string) {
	known := s.of[instance]
	known.Replace = ""
	s.of[instance] = known // written with the next look
}

func (s *setups) write(log *slog.Logger) {
	if err := writeJSON(s.path, s.of); err != nil {
		log.Warn("how containers were set up is not on disk", "err", err)
	}
}
