package agent

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// Suffixes of the names that containers have for a time during an update. The
// service's own name always belongs to the container that should serve.
const (
	suffixNext   = ".next"   // it is to follow the former one
	suffixFormer = ".former" // it has been followed, and is being stopped
	suffixFailed = ".failed" // did not start; kept for its logs while the former one runs on
)

// steady is how long a container without a health check must have run before it
// counts as running, and stable how long before its former failures are forgotten.
const (
	steady = 500 * time.Millisecond
	stable = 10 * time.Second
)

// verb is what to do for an instance.
type verb string

const (
	doNothing verb = ""
	doDeploy  verb = "deploy"  // pull, create, start
	doUpdate  verb = "update"  // pull, create, stop the former one, start; back to it if that fails
	doStart   verb = "start"   // start the container that is there
	doStop    verb = "stop"    // stop what runs
	doRetire  verb = "retire"  // stop and remove containers that are not wanted
	doRecover verb = "recover" // start the former container again
	doRestart verb = "restart" // stop and start what runs and is unhealthy, or is to be restarted
	doAbort   verb = "abort"   // give up a new container beside the former one
	doKeepOne verb = "keepOne" // of the former containers beside an update that failed, under its name
	doFence   verb = "fence"   // stop at once what has no lease any more
	doAttach  verb = "attach"  // put what runs into its network again
	doReturn  verb = "return"  // start a container of Compose's that was stopped for one that is not wanted any more
)

// starts reports whether it may start a container.
func (v verb) starts() bool {
	switch v {
	case doDeploy, doUpdate, doStart, doRecover, doRestart, doAttach:
		return true
	}
	return false
}

// step is what to do for an instance, or why there is nothing to do.
type step struct {
	do verb
	// current is the container made from the wanted spec, if there is one.
	current *otto.Container
	// others are the instance's other containers.
	others  []otto.Container
	asked   bool          // of a restart: a person or a rule wants it
	without bool          // likewise: it runs without data that is back
	after   string        // likewise: it follows the container of this service
	reason  string        // why nothing is done yet
	again   time.Duration // when to look again; 0 means at the next change
	grace   time.Duration // what a fence leaves a container to stop
}

// attempt remembers what went wrong with an instance.
type attempt struct {
	hash    string // of the spec that was tried
	count   int
	next    time.Time // not before
	err     string
	died    string // how, in its last event
	warning string
	tail    []string
	alien   bool // the image is for other architectures
}

// situation is everything that next looks at.
type situation struct {
	want       *otto.Instance // nil: the instance is not wanted here
	stopped    bool           // the cluster is stopped
	rerun      bool           // start it even if it has ended by itself
	restart    bool           // its container has to be restarted, as was asked for
	containers []otto.Container
	attempt    attempt
	detached   string // what is wrong with the network of its container, that an attachment mends
	left       string // what has changed about it and is left as it is
	blocked    string // why it must not be started yet
	fenced     bool   // it must not even run
	lost       bool   // blocked, as data that it has run with is not there
	without    bool   // it still runs without data that is back
	cutShort   bool   // its container is to run once, and was stopped before it had ended
	needed     string // the instance that needs it and is to be stopped before
	after      string // the service whose container it has to follow, as that has been restarted or replaced
	severed    bool   // likewise: what there is borrows from a container that is gone, and is of no use
	// back is a container of Compose's to be returned: nothing of the instance is there any more.
	back *otto.Container
}

// next decides what to do for one instance. It depends on nothing but its
// arguments, so that an agent killed at any point goes on from what it finds.
func next(s situation, now time.Time) step {
	if s.want == nil && s.fenced && slices.ContainsFunc(s.containers, alive) {
		return step{do: doFence, others: s.containers}
	}
	if s.want == nil && s.back != nil {
		return patient(step{do: doReturn, current: s.back}, s, now)
	}
	if s.want == nil && s.needed != "" {
		return step{others: s.containers, reason: "waiting: " + s.needed + " is stopped first"}
	}
	if s.want == nil {
		return patient(step{do: doRetire, others: s.containers}, s, now)
	}
	current, others := split(*s.want, s.containers)
	others = slices.DeleteFunc(others, func(c otto.Container) bool { return isKept(*s.want, c) })
	st := step{current: current, others: others}
	switch {
	case s.fenced && slices.ContainsFunc(s.containers, alive):
		st.do = doFence
		return st
	case s.stopped && s.needed != "":
		st.reason = "waiting: " + s.needed + " is stopped first"
		return st
	case s.stopped:
		if slices.ContainsFunc(s.containers, alive) {
			st.do = doStop
		}
		return patient(st, s, now)
	case s.severed:
		st.do, st.after = doRetire, s.after
		return gated(st, s, now)
	case current != nil && alive(*current):
		if len(others) > 0 || current.Name != s.want.ContainerName() {
			if st.do, st.again = follow(s, *current, others, now); st.do == doNothing {
				return st
			}
			return patient(st, s, now)
		} else if s.detached != "" {
			st.do = doAttach
			return patient(st, s, now)
		} else if s.restart {
			st.do, st.asked = doRestart, true
			return gated(st, s, now)
		} else if s.without {
			st.do, st.without = doRestart, true
			return gated(st, s, now)
		} else if s.after != "" {
			st.do, st.after = doRestart, s.after
			return gated(st, s, now)
		} else if current.Health == unhealthy && mayRestart(s.want.Spec, s.attempt.count) && !unaddressed(*current, s.want.Spec) {
			st.do = doRestart
			return gated(st, s, now)
		}
		return st
	case current != nil && isFailedUpdate(*s.want, *current) && len(others) > 0:
		if !slices.ContainsFunc(others, alive) {
			st.do = doRecover
			return gated(st, s, now)
		} else if len(others) > 1 || others[0].Name != s.want.ContainerName() {
			st.do = doKeepOne
			return patient(st, s, now)
		} else if s.restart { // once it is gone it is made anew
			return gated(step{do: doRetire, asked: true, others: []otto.Container{*current}}, s, now)
		}
		return st
	case current != nil && current.Name == s.want.ContainerName()+suffixNext && broken(*current) && !current.Stopped &&
		beside(s, others): // what somebody has stopped is none that did not come up
		st.do = doAbort
	case len(others) > 0 && current != nil && runToEnd(s, *current): // the update of a job is over
		st.do = doRetire
		return patient(st, s, now)
	case len(others) > 0:
		st.do = doUpdate
	case current == nil:
		st.do = doDeploy
	case ended(s.want.Spec, *current, s.attempt.count) && !s.rerun && !s.restart && !s.cutShort:
		return st
	default:
		st.do = doStart
	}
	return gated(st, s, now)
}

// runToEnd reports whether a container that is run once has ended well, and nobody wants it
// to run again.
func runToEnd(s situation, c otto.Container) bool {
	return once(s.want.Spec) && c.State == otto.ContainerExited && !broken(c) && !s.rerun && !s.restart && !s.cutShort
}

// beside reports whether a new container is tried beside the former one.
func beside(s situation, others []otto.Container) bool {
	return s.want.StartFirst && slices.ContainsFunc(others, alive)
}

// follow says what becomes of the other containers of an instance whose current
// one runs: they go, but for the former one that serves until this one is up.
func follow(s situation, current otto.Container, others []otto.Container, now time.Time) (do verb, again time.Duration) {
	if current.Name != s.want.ContainerName()+suffixNext || !beside(s, others) {
		return doRetire, 0
	}
	switch runningState(current, now) {
	case otto.InstanceRunning:
		return doRetire, 0
	case otto.InstanceStarting:
		return doNothing, settlingLeft(s, now)
	case otto.InstancePaused, otto.InstanceUnknown:
		return doNothing, 0
	default:
		return doAbort, 0
	}
}

// broken reports whether a container was started and has ended badly.
func broken(c otto.Container) bool {
	return (c.State == otto.ContainerExited || c.State == otto.ContainerDead) && (c.ExitCode != 0 || c.OOM || c.Error != "")
}

// isKept reports whether a container is kept for its logs alone.
func isKept(want otto.Instance, c otto.Container) bool {
	return want.Keep != "" && c.SpecHash == want.Keep && c.Name == want.ContainerName()+otto.SuffixKept && !alive(c)
}

// gated holds a start back while something else must come first.
func gated(st step, s situation, now time.Time) step {
	if s.blocked != "" {
		return step{current: st.current, others: st.others, reason: s.blocked}
	}
	return patient(st, s, now)
}

// patient holds a step back for a while after one that failed.
func patient(st step, s situation, now time.Time) step {
	if wait := s.attempt.next.Sub(now); wait > 0 && st.do != doNothing {
		return step{current: st.current, others: st.others, reason: "trying again soon", again: wait}
	}
	return st
}

// split finds the container made from the wanted spec among those of an
// instance; of several, one that runs.
func split(want otto.Instance, have []otto.Container) (current *otto.Container, others []otto.Container) {
	hash := want.Hash()
	best := -1
	for i, c := range have {
		if c.Name == want.ContainerName()+otto.SuffixKept && !alive(c) {
			continue // it is here for its logs
		}
		if c.SpecHash == hash && (best < 0 || alive(c) && !alive(have[best])) {
			best = i
		}
	}
	for i := range have {
		if i == best {
			current = &have[i]
		} else {
			others = append(others, have[i])
		}
	}
	return current, others
}

// alive reports whether a container runs, or will run again without our help.
func alive(c otto.Container) bool {
	return c.State == otto.ContainerRunning || c.State == otto.ContainerRestarting || c.State == otto.ContainerPaused
}

// notUp says that nothing more is known of an update that has failed.
func notUp(c otto.Container) string {
	return "the update did not come up: see `otto logs " + c.Instance + "`"
}

func isFailedUpdate(want otto.Instance, c otto.Container) bool {
	return c.Name == want.ContainerName()+suffixFailed
}

// ended reports whether a container that does not run is left so by its restart
// policy. retries counts the starts that Otto itself has done.
func ended(spec otto.ContainerSpec, c otto.Container, retries int) bool {
	if c.State == otto.ContainerCreated || c.State == otto.ContainerDead {
		return false
	}
	policy, limit, _ := strings.Cut(spec.Restart, ":")
	switch policy {
	case "no":
		return true
	case "on-failure":
		if c.ExitCode == 0 {
			return true
		}
		n, err := strconv.Atoi(limit)
		return err == nil && max(retries, c.Restarts) >= n
	default:
		return false
	}
}

// mayRestart reports whether a restart policy lets an unhealthy container be
// restarted; count is how often it has been started.
func mayRestart(spec otto.ContainerSpec, count int) bool {
	policy, limit, _ := strings.Cut(spec.Restart, ":")
	n, err := strconv.Atoi(limit)
	return policy != "no" && (err != nil || count < n)
}

// status is what an agent reports of an instance, from the same situation.
func status(s situation, busy verb, pulling bool, now time.Time) otto.InstanceStatus {
	current, others := split(*s.want, s.containers)
	st := otto.InstanceStatus{
		Name: s.want.Name, Service: s.want.Service, Image: s.want.Spec.Image,
		Error: s.attempt.err, Warning: s.attempt.warning, LogTail: s.attempt.tail,
	}
	if s.left != "" {
		st.Warning = strings.TrimPrefix(st.Warning+"; changed since it was made: "+s.left, "; ")
	}
	if st.GivenUp = busy == doNothing && current != nil && isFailedUpdate(*s.want, *current); st.GivenUp && st.Error == "" {
		st.Error = notUp(*current) // an agent before this one knew why
	}
	if st.Error != "" && s.blocked == "" {
		st.Failed, st.WrongPlatform = s.want.Hash(), s.attempt.alien
	}
	shown := current
	if i := slices.IndexFunc(others, alive); shown != nil && shown.Name == s.want.ContainerName()+suffixNext && i >= 0 {
		shown = &others[i] // the new one is being tried beside it
	} else if shown == nil || !alive(*shown) {
		if i := slices.IndexFunc(others, alive); i >= 0 {
			shown = &others[i] // the former one serves until the update is done
		}
	}
	if shown != nil {
		st.ContainerID, st.SpecHash, st.Image = shown.ID, shown.SpecHash, shown.Image
		st.Health, st.ExitCode, st.Restarts, st.Started = shown.Health, shown.ExitCode, shown.Restarts, shown.Started
		if st.Error == "" && shown.OOM {
			st.Error = "killed for want of memory"
		}
		if shown.Health == unhealthy && alive(*shown) {
			st.Error = shown.Ailment
			if shown == current {
				st.Failed = shown.SpecHash
			}
		}
	}
	if s.want.Release != nil && (shown != current || len(others) > 0 || shown == nil || shown.Name != s.want.ContainerName()) {
		st.SpecHash = "" // it is given back when nothing is left to do
	}
	if !s.restart {
		st.Restart = s.want.Restart
	}
	plan := next(s, now)
	st.Reason = plan.reason
	if shown != nil && alive(*shown) && st.Reason == "" {
		switch {
		case shown.Health == unknown:
			st.Reason = shown.Ailment
		case shown.State == otto.ContainerPaused && shown.Health != unhealthy:
			st.Reason = pausedReason(shown.Name)
		}
	}
	st.Fenced = s.fenced && busy == doNothing && !slices.ContainsFunc(s.containers, alive)
	switch {
	case s.stopped && (shown == nil || !alive(*shown)):
		st.State = otto.InstanceStopped
	case shown != nil && alive(*shown):
		st.State = runningState(*shown, now)
	case pulling:
		st.State = otto.InstancePulling
	case busy != doNothing:
		st.State = otto.InstanceStarting
	case shown != nil && plan.do == doNothing && ended(s.want.Spec, *shown, s.attempt.count) && !s.rerun && !s.cutShort:
		st.State = otto.InstanceCompleted
		if shown.ExitCode != 0 {
			st.State = otto.InstanceFailed
			if st.Error == "" {
				st.Error = "ended with exit code " + strconv.Itoa(shown.ExitCode)
			}
		}
	case st.Error != "":
		st.State = otto.InstanceFailed
	default:
		st.State = otto.InstanceWaiting
	}
	if (s.fenced || busy == doFence) && st.State.Runs() { // not for long, and it may run on another node by now
		st.State, st.Reason = otto.InstanceWaiting, cmp.Or(s.blocked, "its lease had ended: it is being stopped")
	}
	if s.lost && !s.stopped { // also if it runs, as the engine has started it, and however its last run ended
		st.State, st.Reason = otto.InstanceWaiting, s.blocked
		st.Error, st.LogTail = "", nil
	}
	if !st.Explained() {
		st.Reason = unsaid(st, plan)
	}
	return st
}

// unsaid is the reason of a state that nothing else has one for.
func unsaid(st otto.InstanceStatus, plan step) string {
	switch {
	case st.State == otto.InstanceUnhealthy:
		return "its health check fails"
	case st.State == otto.InstanceWaiting && plan.do != doNothing:
		return "it is about to be started"
	case st.State == otto.InstanceFailed:
		return fmt.Sprintf("it ended with exit code %d and is started again", st.ExitCode)
	}
	return "its container does not run"
}

// settling is how long a container must have run before it counts as running.
func settling(c otto.Container) time.Duration {
	switch {
	case c.Restarts > 0:
		return stable
	case c.Health != "":
		return 0
	default:
		return steady
	}
}

func runningState(c otto.Container, now time.Time) otto.InstanceState {
	up := now.Sub(c.Started)
	switch {
	case c.State == otto.ContainerRestarting:
		return otto.InstanceFailed
	case c.Health == unhealthy:
		return otto.InstanceUnhealthy
	case c.State == otto.ContainerPaused:
		return otto.InstancePaused
	case c.Health == unknown:
		return otto.InstanceUnknown
	case c.Health == starting, up >= 0 && up < settling(c):
		return otto.InstanceStarting
	default:
		return otto.InstanceRunning
	}
}
