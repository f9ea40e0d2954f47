package sim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// perform does one step of a history.
func (w *world) perform(s step) error {
	w.mu.Lock()
	w.troubles++
	w.mu.Unlock()
	host := s.arg(0)
	h := w.Hosts[host]
	if h == nil && host != "control" &&
		slices.Contains(
			[]string{
				"on",
				"off",
				"tear",
				"kill",
				"engine",
				"disk",
				"ssh",
				"address",
				"load",
				"clock",
				"twin",
				"drain",
				"undrain",
				"replay",
				"forge",
				"speak",
				"cut",
				"heal",
				"pause",
				"die",
				"nameless",
				"freeze",
				"halt",
				"thaw",
				"lie",
				"honest",
				"unmount",
				"mount",
				"wipe",
				"occupy",
			},
			s.verb,
		) {
		return fmt.Errorf("no host %q", host)
	}
	switch s.verb {
	case "apply":
		return w.apply(s.args)
	case "cut":
		w.cut(host, s.arg(1))
	case "heal":
		w.undo("cut " + host)
	case "off":
		w.off(host)
	case "on":
		w.undo("off " + host)
	case "tear":
		w.tear(host)
	case "kill":
		if host == "control" && w.Up() || h != nil && h.Alive() {
			w.net.hit("kill " + s.kind())
		}
		w.kill(host)
	case "pause":
		d, err := time.ParseDuration(s.arg(1))
		if err != nil {
			return err
		}
		w.holdUp(host)
		w.net.pause(host, d)
	case "freeze", "halt":
		w.freeze(s.verb, host)
	case "thaw":
		w.undo("freeze " + host)
		w.undo("halt " + host)
	case "suspend":
		w.suspend(host)
	case "continue":
		w.undo("suspend " + host)
	case "lie":
		w.net.hit("lie")
		h.SetLie(func(string) otto.Reply { return otto.ReplyProgram })
		w.fault("lie "+host, func() { h.SetLie(nil) })
	case "honest":
		w.undo("lie " + host)
	case "engine":
		w.engine(host, s.arg(1))
	case "disk":
		return w.disk(host, s.arg(1))
	case "unmount":
		w.unmount(host)
	case "mount":
		if !w.frozen(host) { // else in the end: nobody can do anything there
			w.undo("mount " + host)
		}
	case "occupy":
		h.Runtime.SetVolume(s.arg(1), "")
	case "wipe":
		return w.wipe(host)
	case "prune":
		w.prune(host)
	case "recover":
		if !w.away(w.truth.home(host)) { // else when its disk is back
			w.undo("prune " + host)
		}
	case "accept":
		w.accept(host)
	case "disconnect":
		w.disconnect(host)
	case "ssh":
		w.ssh(host, s.arg(1) == "refused")
	case "address":
		w.address(host, s.arg(1) == "new")
	case "load":
		return w.load(host, s.arg(1))
	case "clock":
		d, err := time.ParseDuration(s.arg(1))
		if err != nil {
			return err
		}
		h.SetSkew(d)
		w.fault("clock "+host, func() { h.SetSkew(0) })
		w.net.hit("clock")
	case "twin":
		return w.twin(host)
	case "exit":
		if w.truth.up(host) < 3*time.Second {
			break // else it is an update that fails
		}
		for _, id := range w.truth.hostsOf(host) {
			w.mu.Lock()
			stands := w.stands(id) // likewise, and what is frozen does not end
			w.mu.Unlock()
			if h := w.Hosts[id]; h != nil && !stands { // and no twin's
				h.Runtime.Exit(host, 1)
				w.net.hit("exit")
			}
		}
	case "drain", "undrain":
		w.drain(host, s.verb == "drain")
	case "net":
		w.net.set(host)
	case "replay":
		w.replay(host)
	case "forge":
		w.forge(host)
	case "speak":
		d, err := time.ParseDuration(s.arg(1))
		if err != nil {
			return err
		}
		w.speak(host, d)
	case "die":
		d := death{strings.Join(s.args[1:], " "), 1}
		if point, nth, ok := strings.Cut(d.point, " #"); ok {
			n, err := strconv.Atoi(nth)
			if err != nil {
				return err
			}
			d = death{point, n}
		}
		w.mu.Lock()
		w.deaths[host] = d
		w.mu.Unlock()
	case "lose":
		return w.lose(host)
	case "keep":
		w.life <- struct{}{} // not while a document is lost
		defer func() { <-w.life }()
		w.mu.Lock()
		w.copied, w.copiedAt = w.Store.Copy(), append([]otto.Wanted{w.accepted}, w.possible...)
		w.anew = nil
		w.mu.Unlock()
	case "restore":
		w.restore()
	case "rotate":
		w.rotate(s.arg(0) == "stolen")
	case "nameless":
		h.Nameless = true
	case "started":
		return w.started(host, s.arg(1))
	case "runs":
		return w.runs(host, s.arg(1))
	default:
		return errors.New("no such step")
	}
	return nil
}

// kind is host or control.
func (s step) kind() string {
	if s.arg(0) == "control" {
		return "control"
	}
	return "host"
}

// same reports whether two wanted states ask for the same services.
func same(a, b otto.Wanted) bool {
	return slices.EqualFunc(a.Services, b.Services, func(x, y otto.Service) bool {
		return x.Name == y.Name && x.Spec.Hash() == y.Spec.Hash()
	})
}

func (w *world) cut(who, direction string) {
	held := w.Bus.Held(who)
	if who == "control" {
		w.Bus.CutOneWay(who, direction != "out", direction != "in")
	} else {
		w.holdUp(who)
		w.CutOneWay(who, direction != "out", direction != "in")
	}
	w.fault("cut "+who, func() {
		if w.Bus.Held(who) > held {
			w.net.hit(strings.TrimSpace("cut " + direction))
		}
		if who == "control" {
			w.Bus.Heal(who)
		} else {
			w.reachable(who)
			w.cure(who)
			w.Heal(who)
		}
	})
}

func (w *world) off(host string) {
	if w.Hosts[host].Alive() {
		w.net.hit("off")
	}
	w.truth.power(host, false)
	w.PowerOff(host)
	w.fault("off "+host, func() {
		w.truth.power(host, true)
		_ = w.PowerOn(host, true)
	})
}

// tear cuts the newest assignment on a disk in half, as a card may have it that
// says that it has written what it has not.
func (w *world) tear(host string) {
	path := filepath.Join(w.Hosts[host].Dir, "assignment.json")
	info, err := os.Stat(path)
	if err == nil && !w.Hosts[host].Alive() && os.Truncate(path, info.Size()/2) == nil {
		w.net.hit("tear")
	}
}

func (w *world) engine(host, how string) {
	r := w.Hosts[host].Runtime
	w.net.hit("engine " + how)
	whole := func() {
		w.cure(host)
		r.SetDown("")
		r.SetHung(false)
		r.SetSlow(0)
	}
	switch how {
	case "down":
		w.holdUp(host)
		r.SetDown("the engine has been killed")
		w.fault("engine "+host, whole)
	case "hung":
		w.holdUp(host)
		r.SetHung(true)
		w.fault("engine "+host, whole)
	case "slow":
		r.SetSlow(800 * time.Millisecond)
		w.fault("engine "+host, whole)
	default:
		w.undo("engine " + host)
		return
	}
	w.later(takeOver, w.retry) // of an update that it has failed
}

// disk fills a disk up, so that nothing more can be written.
func (w *world) disk(who, how string) error {
	if how == "ok" {
		w.undo("disk " + who)
		return nil
	}
	if who == "control" {
		failed := w.Store.Failed()
		w.Store.SetFail(errors.New("no space left on device"))
		w.fault("disk control", func() {
			if w.Store.Failed() > failed {
				w.net.hit("disk control")
			}
			w.Store.SetFail(nil)
		})
		return nil
	}
	var blocked []string // by directories where files would be made
	for _, name := range []string{"assignment.json.new", "lease.json.new"} {
		path := filepath.Join(w.Hosts[who].Dir, name)
		_ = os.Remove(path)
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
		blocked = append(blocked, path)
	}
	w.net.hit("disk host")
	w.mu.Lock()
	w.filled[who] = true
	w.mu.Unlock()
	w.fault("disk "+who, func() {
		for _, path := range blocked {
			_ = os.Remove(path)
		}
	})
	return nil
}

// unmount takes the disk of a host's engine away, where the power is off.
func (w *world) unmount(host string) {
	w.mu.Lock()
	_, off := w.broken["off "+host]
	w.mu.Unlock()
	if off && !w.away(host) {
		w.net.hit("unmount")
		back := w.Hosts[host].Runtime.LoseDisk()
		w.fault("mount "+host, func() {
			back()
			w.later(takeOver, func() { w.acceptLoss(host) })
		})
	}
}

func (w *world) frozen(host string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, frozen := w.broken["freeze "+host]
	return frozen
}

// away reports whether the disk of a host's engine is.
func (w *world) away(host string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, away := w.broken["mount "+host]
	return away
}

// wipe removes all that a host's agent has kept, where the power is off.
func (w *world) wipe(host string) error {
	if w.Hosts[host].Alive() {
		return errors.New("it has power")
	}
	files, err := filepath.Glob(filepath.Join(w.Hosts[host].Dir, "*"))
	for _, f := range files {
		err = errors.Join(err, os.RemoveAll(f))
	}
	return err
}

// prune removes a service's volume, by hand.
func (w *world) prune(volume string) {
	host := w.truth.home(volume)
	h := w.Hosts[host]
	if h == nil || w.away(host) || w.frozen(host) {
		return // it has never run, or on a twin; or it is not there, or nobody can do it
	}
	if back := h.Runtime.Prune(volume); back != nil {
		w.net.hit("prune")
		w.later(takeOver, w.retry) // of an update that had begun without it
		w.fault("prune "+volume, func() {
			if label, there := h.Runtime.VolumeLabel(volume); there && w.truth.has(volume, label) {
				return // it began anew, and who has said so was not told that it counts
			}
			back()
		})
	}
}

// disconnect takes an instance's containers out of their network, wherever they run.
func (w *world) disconnect(instance string) {
	for _, id := range w.truth.hostsOf(instance) {
		if h := w.Hosts[id]; h != nil {
			h.Runtime.Disconnect(instance)
			w.net.hit("disconnect")
		}
	}
	w.later(takeOver, w.retry)
}

// freeze stops every process of a host while its kernel answers, or its agent alone.
func (w *world) freeze(how, host string) {
	w.net.hit(how)
	w.holdUp(host)
	thaw := w.ThawAgent
	if how == "freeze" {
		w.Freeze(host)
		thaw = w.Thaw
	} else {
		w.FreezeAgent(host)
	}
	w.fault(how+" "+host, func() {
		w.net.pause(host, 0)
		if how == "freeze" {
			w.mu.Lock()
			w.thawed[host] = time.Now()
			w.mu.Unlock()
		}
		thaw(host)
	})
}

// holdUp notes that a host, its agent, its engine or its link does not go on from now on.
func (w *world) holdUp(host string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.heldUp(host) {
		w.stood[host] = time.Now()
	}
}

// suspend pauses an instance's containers, wherever they run.
func (w *world) suspend(instance string) {
	for _, id := range w.truth.hostsOf(instance) {
		if h := w.Hosts[id]; h != nil {
			h.Runtime.Pause(instance, true)
			w.net.hit("suspend")
		}
	}
	w.fault("suspend "+instance, func() {
		for _, h := range w.Hosts {
			h.Runtime.Pause(instance, false)
		}
	})
}

func (w *world) ssh(host string, refused bool) {
	h := w.Hosts[host]
	if !refused {
		w.undo("ssh " + host)
		return
	}
	w.net.hit("ssh")
	h.SetUnreachable(errors.New("no route to host"))
	w.fault("ssh "+host, func() {
		w.reachable(host)
		h.SetUnreachable(nil)
	})
}

// reachable notes that a host is reached again from now on.
func (w *world) reachable(host string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.healed[host] = time.Now()
}

// lose loses a document, or all, and puts it back: a control plane must not start
// without it.
func (w *world) lose(document string) error {
	w.life <- struct{}{}
	w.cutDown()
	whole := w.Store.Copy()
	if document == "all" {
		w.Store.Become(ottotest.NewStore())
	} else {
		w.Store.Lose(document)
	}
	starts := w.truth.count()
	if err := w.TryPlane(); !errors.Is(err, otto.ErrStateLost) {
		w.truth.broken("a control plane started although its store has lost %s: %v", document, err)
	}
	w.net.hit("lose")
	w.later(restartAfter, func() {
		defer w.revive()
		defer func() { <-w.life }()
		if n := w.truth.count(); n != starts {
			w.truth.tell("%d containers started while the store was lost", n-starts)
		}
		w.Store.Become(whole)
	})
	return nil
}

// twin starts a second agent from a copy of a host's disk, on another machine.
func (w *world) twin(host string) error {
	engine := ottotest.NewRuntime(image)
	engine.CopyVolumes(w.Hosts[host].Runtime)
	w.equip(host+"-twin", engine)
	off, err := w.Twin(host, engine)
	if err != nil || off == nil {
		return err
	}
	w.net.hit("twin")
	w.later(4*time.Second, func() {
		off()
		w.later(takeOver, func() { w.acceptMachine(host) }) // once the host has been heard
	})
	return nil
}

func (w *world) runs(instance, where string) error {
	want := []string{where}
	if where == "nowhere" {
		want = nil
	}
	if got := w.truth.hostsOf(instance); !slices.Equal(got, want) {
		return fmt.Errorf("it runs on %v", got)
	}
	return nil
}

func (w *world) started(instance, times string) error {
	n := 0
	for _, h := range w.Hosts {
		n += h.Runtime.Starts(instance)
	}
	if fmt.Sprint(n) != times {
		return fmt.Errorf("it was started %d times", n)
	}
	return nil
}
