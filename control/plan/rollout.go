package plan

import (
	"maps"
	"slices"
	"time"

	"github.com/otto-edge/otto"
)

// Version is what an update changes of an instance.
type Version struct {
	Spec  otto.ContainerSpec `json:"spec"`
	Probe *otto.Probe        `json:"probe,omitempty"`
}

// Rollout is how far the update of a service has come: which version each of its
// instances should be. It is stored before anybody is told, so that whoever goes
// on with it knows as much as who has begun it. It ends when all instances are
// what the file wants; one that has failed stays, for that is not so.
type Rollout struct {
	// Good is the hash of the version that all instances had last.
	Good string `json:"good"`
	// Versions are those that instances should be, by hash, beside the wanted one.
	Versions map[string]Version `json:"versions,omitempty"`
	// Images are those that instances ran in Good: the name of an image may mean another
	// one by the time when they go back.
	Images map[string]Ran `json:"images,omitempty"`
	// At is the hash of the version that each instance should be.
	At map[string]string `json:"at"`
	// Restart are instances that have still to be restarted.
	Restart []string `json:"restart,omitempty"`
	// Given are those that have been given a version, or were restarted, by this
	// rollout or by its way back.
	Given []string `json:"given,omitempty"`
	// Back says that it goes back to Good, or has.
	Back   bool                `json:"back,omitempty"`
	Failed *otto.UpdateFailure `json:"failed,omitempty"`
}

// Ran is the id of an image that a node says that an instance has run there. No other
// node is told it.
type Ran struct {
	Node  string `json:"node"`
	Image string `json:"image"`
}

// Seen is what a rollout looks at in an instance.
type Seen struct {
	Node    string    // empty: it has no place
	Silent  bool      // nothing is known of it now
	Up      time.Time // since when it is up in the version that it should be; zero if it is not
	Failed  string    // why it does not come up in that version
	Tail    []string  // last lines of its output
	Serving bool      // it runs, in whatever version
}

// Begin returns the rollouts once now is wanted instead of was. An update that is
// not over when the next one comes leaves instances in several versions: each
// keeps its own until it is its turn.
func Begin(was, now *Index, have map[string]Rollout) map[string]Rollout {
	next := map[string]Rollout{}
	for name, r := range have {
		former, _ := was.Service(name)
		if s, ok := now.Service(name); ok && former != nil && former.Hash == s.Hash {
			next[name] = r.of(s.Names).again()
		}
	}
	changed, _ := now.Since(was)
	for _, s := range changed {
		former, known := was.Service(s.Name)
		// Who may hold data and who may run twice are judged by what is wanted, so a
		// change of that is not drawn out.
		if !known || former.Hash == s.Hash || was.of.Stopped || former.Fixed != s.Fixed {
			continue
		}
		r, rolling := have[s.Name]
		if r = r.follow(former.Service, former.Names, s.Service, rolling).of(s.Names); r.left(s.Service) > 0 {
			next[s.Name] = r
		}
	}
	return next
}

// follow is the rollout of a service that has been former until now.
func (r Rollout) follow(former otto.Service, names []string, s otto.Service, rolling bool) Rollout {
	wanted := former.Spec.Hash()
	next := Rollout{Good: wanted, At: map[string]string{}, Versions: map[string]Version{}}
	if rolling {
		next.Good, next.Restart, next.Images = r.Good, r.Restart, r.Images
	}
	versions := maps.Clone(r.Versions)
	if versions == nil {
		versions = map[string]Version{}
	}
	versions[wanted] = Version{former.Spec, former.Probe}
	for _, name := range names {
		next.At[name] = wanted
		if rolling {
			next.At[name] = r.hash(former, name)
		}
	}
	used := slices.Collect(maps.Values(next.At))
	for hash, v := range versions {
		if hash != s.Spec.Hash() && (hash == next.Good || slices.Contains(used, hash)) {
			next.Versions[hash] = v
		}
	}
	return next
}

// of is the rollout for these instances only.
func (r Rollout) of(names []string) Rollout {
	gone := func(name string) bool { return !slices.Contains(names, name) }
	if r.At = maps.Clone(r.At); r.At == nil {
		r.At = map[string]string{}
	}
	maps.DeleteFunc(r.At, func(name, _ string) bool { return gone(name) })
	r.Restart = slices.DeleteFunc(slices.Clone(r.Restart), gone)
	r.Given = slices.DeleteFunc(slices.Clone(r.Given), gone)
	return r
}

// WithRestart returns the rollout of a restart of these instances, one after the
// other, beside whatever else is under way.
func (r Rollout) WithRestart(s otto.Service, names []string) Rollout {
	if r.Good == "" {
		r.Good = s.Spec.Hash()
	}
	if r.Failed != nil && !r.Back {
		r.Failed = nil // of a restart, or of an update that is tried again
	}
	r.Restart = slices.Clone(names)
	r.Given = slices.DeleteFunc(slices.Clone(r.Given), func(name string) bool { return slices.Contains(names, name) })
	return r
}

// again is a rollout that is tried again if it has failed, from where it is.
func (r Rollout) again() Rollout {
	if r.Failed != nil {
		r.Failed, r.Back, r.Given = nil, false, nil
	}
	return r
}

// target is the version that all instances should be in the end.
func (r Rollout) target(s otto.Service) string {
	if r.Back {
		return r.Good
	}
	return s.Spec.Hash()
}

// hash is that of the version that an instance should be. A new one is what the
// others will be.
func (r Rollout) hash(s otto.Service, name string) string {
	if at, known := r.At[name]; known {
		return at
	}
	return r.target(s)
}

// Of is the version that an instance of s should be.
func (r Rollout) Of(s otto.Service, name string) Version {
	if r.Good != "" {
		if v, other := r.Versions[r.hash(s, name)]; other {
			return v
		}
	}
	return Version{s.Spec, s.Probe}
}

// left is how many instances are not what they should be in the end.
func (r Rollout) left(s otto.Service) (n int) {
	target := r.target(s)
	for name, at := range r.At {
		if at != target || slices.Contains(r.Restart, name) {
			n++
		}
	}
	for _, name := range r.Restart {
		if _, counted := r.At[name]; !counted {
			n++
		}
	}
	return n
}

// Status is how far it has come, for people.
func (r Rollout) Status(s otto.Service) *otto.UpdateStatus {
	u := otto.UpdateStatus{State: otto.UpdateGoing, Left: r.left(s), Failed: r.Failed}
	switch {
	case r.Back && u.Left > 0:
		u.State = otto.UpdateBack
	case r.Back:
		u.State = otto.UpdateReverted
	case r.stopped(s):
		u.State = otto.UpdatePaused
	}
	return &u
}

// stopped reports whether it has failed and leaves the rest as it is.
func (r Rollout) stopped(s otto.Service) bool {
	return r.Failed != nil && !r.Back && s.Update.WithDefaults().OnFailure != otto.FailureContinue
}

// Step is what Next has decided.
type Step struct {
	Given     []string            // instances that get their version now, or are restarted
	Restarted []string            // those of them that are restarted
	Failed    *otto.UpdateFailure // it has failed, as is known just now
	Done      bool                // nothing is left to do
	Over      bool                // and it need not be remembered
}

// Next goes on with a rollout: it says which instances get their version now. At
// most Parallelism of them are on their way at a time, and each must have been up
// for a while before it makes room for another one. names are the instances in
// order, seen what is known of them.
func (r Rollout) Next(s otto.Service, names []string, seen map[string]Seen, now time.Time) (Rollout, Step) {
	r = r.of(names)
	var step Step
	u := s.Update.WithDefaults()
	if f := r.failure(s, names, seen, now); f != nil {
		step.Failed = f
		r.Failed = f
		if u.OnFailure == otto.FailureRollback && r.Good != s.Spec.Hash() {
			r.Back, r.Given, r.Restart = true, nil, nil
		}
	}
	busy := 0
	for _, name := range r.Given {
		if r.onItsWay(seen[name], u.Monitor+u.Delay, now) {
			busy++
		}
	}
	for _, name := range r.turns(s, names, seen) {
		free := seen[name].Node == "" // there is nothing to wait for
		if r.stopped(s) || !free && busy >= u.Parallelism {
			break
		}
		if !free {
			busy++
		}
		if r.hash(s, name) == r.target(s) {
			step.Restarted = append(step.Restarted, name)
		}
		r.At[name] = r.target(s)
		r.Restart = slices.DeleteFunc(r.Restart, func(n string) bool { return n == name })
		r.Given = append(slices.DeleteFunc(r.Given, func(n string) bool { return n == name }), name)
		step.Given = append(step.Given, name)
	}
	// What was given just now has not been seen since.
	step.Done = len(step.Given) == 0 && r.left(s) == 0 && !slices.ContainsFunc(r.Given, func(name string) bool { return r.onItsWay(seen[name], u.Monitor, now) })
	step.Over = step.Done && !r.Back && (!r.stopped(s) || r.Good == s.Spec.Hash())
	return r, step
}

// failure is the first of the instances with a new version that does not come up,
// or does not stay up; of those that have none nothing follows.
func (r Rollout) failure(s otto.Service, names []string, seen map[string]Seen, now time.Time) *otto.UpdateFailure {
	if r.Failed != nil {
		return nil
	}
	for _, name := range names {
		if at := seen[name]; at.Failed != "" && slices.Contains(r.Given, name) {
			return &otto.UpdateFailure{Instance: name, Node: at.Node, Why: at.Failed, Tail: at.Tail, Time: now, Version: s.Spec.Hash()}
		}
	}
	return nil
}

// onItsWay reports whether an instance that was given its version has not been up
// in it for long enough. After a failure, one that fails is not waited for.
func (r Rollout) onItsWay(at Seen, within time.Duration, now time.Time) bool {
	switch {
	case at.Node == "", r.Failed != nil && at.Failed != "":
		return false
	case at.Silent, at.Up.IsZero():
		return true
	}
	return now.Sub(at.Up) < within
}

// turns are the instances that have still to be given something, in the order in
// which they are: what does not serve first, as nothing is lost by it. One of
// which nothing is known is left for later.
func (r Rollout) turns(s otto.Service, names []string, seen map[string]Seen) []string {
	var idle, serving []string
	for _, name := range names {
		if r.hash(s, name) == r.target(s) && !slices.Contains(r.Restart, name) || seen[name].Silent {
			continue
		}
		if seen[name].Serving && seen[name].Failed == "" {
			serving = append(serving, name)
		} else {
			idle = append(idle, name)
		}
	}
	return append(idle, serving...)
}
