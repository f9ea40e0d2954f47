package agent

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/otto-edge/otto"
)

// wish is an instance as an assignment asks for it.
type wish struct {
	otto.Instance
	of       otto.Revision // of the assignment
	contents otto.Contents // likewise
}

// perform does a step. Each part is harmless when done again.
func (c *converger) perform(ctx context.Context, want wish, st step) (warning string, err error) {
	switch st.do {
	case doDeploy:
		return c.deploy(ctx, want)
	case doUpdate:
		return c.update(ctx, want, st)
	case doAttach:
		c.noteBegun(want, st.current.ID)
		return "", c.Runtime.Attach(ctx, want.Instance, st.current.ID)
	case doStart:
		return "", c.start(ctx, want, st.current.ID)
	case doRestart:
		return "", c.restart(ctx, want, *st.current)
	case doRecover:
		return "", c.start(ctx, want, st.others[max(comeBackTo(want.ContainerName(), st.others), 0)].ID)
	case doKeepOne:
		_, err = c.keepOne(ctx, want.Instance, st.others)
		return "", err
	case doFence:
		return "", c.kill(ctx, append(slices.Clone(st.others), current(st)...), st.grace)
	case doStop:
		return "", c.stop(ctx, append(slices.Clone(st.others), current(st)...))
	case doReturn:
		return "", c.giveBack(ctx, *st.current)
	case doAbort:
		return "", c.abort(ctx, want, *st.current, c.ended(ctx, *st.current))
	case doRetire:
		return "", c.replace(ctx, want, st)
	}
	return "", nil
}

// replace makes the current container the only one of its instance, under its
// name. Where both run, the new one has the name before the former one stops, so
// that whoever asks for the name always finds one that serves.
func (c *converger) replace(ctx context.Context, want wish, st step) error {
	name := want.ContainerName()
	named := st.current == nil || st.current.Name == name
	if !named && want.StartFirst && alive(*st.current) {
		named = c.handOver(ctx, name, st)
	}
	if err := c.retire(ctx, want.Instance, st.others); err != nil || named {
		return err
	}
	return c.Runtime.Rename(ctx, st.current.ID, name)
}

// handOver gives the name of an instance from the former container to the current
// one while both run, and reports whether that went well.
func (c *converger) handOver(ctx context.Context, name string, st step) bool {
	i := slices.IndexFunc(st.others, func(o otto.Container) bool { return o.Name == name })
	if i >= 0 && c.Runtime.Rename(ctx, st.others[i].ID, name+suffixFormer) != nil {
		return false
	}
	return c.Runtime.Rename(ctx, st.current.ID, name) == nil
}

// abort gives up a new container that does not work beside the former one, which
// has gone on to serve.
func (c *converger) abort(ctx context.Context, want wish, ctr otto.Container, why error) error {
	return fmt.Errorf("the update did not come up beside the former container, which runs on: %w", errors.Join(why,
		c.stop(ctx, []otto.Container{ctr}),
		c.Runtime.Rename(ctx, ctr.ID, want.ContainerName()+suffixFailed)))
}

func current(st step) []otto.Container {
	if st.current == nil {
		return nil
	}
	return []otto.Container{*st.current}
}

// kill stops containers without the engine's help if need be, all at once; grace is how
// long they may take.
func (c *converger) kill(ctx context.Context, list []otto.Container, grace time.Duration) error {
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	if err := c.stops.note(list); err != nil { // the end of a lease does not wait for a disk
		c.Log.Warn("what Compose may have to be given back is not on disk", "err", err)
	}
	for i, ctr := range list {
		if alive(ctr) {
			wg.Go(func() { errs[i] = c.Runtime.Kill(ctx, ctr, grace) })
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (c *converger) deploy(ctx context.Context, want wish) (warning string, err error) {
	if warning, err = c.pull(ctx, &want); err != nil {
		return warning, err
	}
	id, err := c.create(ctx, want, want.ContainerName())
	if err != nil {
		return warning, err
	}
	return warning, c.start(ctx, want, id)
}

// create makes a container of an instance, unless its data is not there.
func (c *converger) create(ctx context.Context, want wish, name string) (id string, err error) {
	seen, err := c.ready(ctx, want)
	if err != nil {
		return "", err
	}
	want.Present = present(want.Spec.Kept(), seen)
	if want.FilePaths, err = c.files.place(want.Spec, want.Hash(), want.contents); err != nil {
		return "", err
	}
	if why := want.contents.Lack(want.Spec); why != "" {
		return "", fmt.Errorf("%w: %s", errNotNow, why)
	}
	want.FolderPaths, want.Contents = c.folders.paths(want.Spec), want.contents
	if want.Release != nil { // Compose has them in the folder of the project
		for _, m := range want.Spec.Folders() {
			want.FolderPaths[m.Content] = path.Join(want.Release.Dir, m.Source)
		}
	}
	if want.SeedPaths, err = c.seeds.use(want.Spec); err != nil {
		return "", err
	}
	return c.Runtime.Create(ctx, want.Instance, name)
}

// errNotNow says that an instance must not be started at the moment, which is no
// fault of its own.
var errNotNow = errors.New("not started")

func (c *converger) mayStart(want wish) error {
	if why, _ := c.lease.judge(want.Instance, want.of); why != "" {
		return fmt.Errorf("%w: %s", errNotNow, why)
	}
	return nil
}

// begin starts a container, which is attached to its network anew if that was removed. Its
// files may be gone since it was made: they are in memory. Whether it may still run is looked
// at last: a pull can outlast a lease, and so can a look at a disk.
func (c *converger) begin(ctx context.Context, want wish, id string) error {
	if _, err := c.files.place(want.Spec, want.Hash(), want.contents); err != nil {
		return err
	}
	if err := c.mayStart(want); err != nil {
		return err
	}
	c.noteBegun(want, id)
	err := c.Runtime.Start(ctx, id)
	if err == nil {
		c.stops.forget(id)
	}
	if !errors.Is(err, otto.ErrNetworkGone) {
		return err
	}
	if attachErr := c.Runtime.Attach(ctx, want.Instance, id); attachErr != nil {
		return errors.Join(err, attachErr)
	}
	return c.Runtime.Start(ctx, id)
}

// noteBegun remembers a container that is about to be started under a lease.
func (c *converger) noteBegun(want wish, id string) {
	if !needsLease(want.Instance) {
		return
	}
	if err := c.lease.begins(want.Instance, id); err != nil {
		c.Log.Warn("an agent that follows may not know what was begun", "instance", want.Name, "err", err)
	}
}

// restart stops and starts a container. One that may not be started any more is
// not stopped for it.
func (c *converger) restart(ctx context.Context, want wish, ctr otto.Container) error {
	if err := c.mayStart(want); err != nil {
		return err
	}
	if _, err := c.ready(ctx, want); err != nil {
		return err
	}
	if err := c.stop(ctx, []otto.Container{ctr}); err != nil {
		return err
	}
	return c.start(ctx, want, ctr.ID)
}

// update replaces an instance's container. Everything that can fail early (the
// pull, the creation) is done while the former one serves; if the new one does
// not start, it is kept aside for its logs and the former one comes back.
func (c *converger) update(ctx context.Context, want wish, st step) (warning string, err error) {
	var id string
	if st.current != nil {
		id = st.current.ID // made before the agent was interrupted
	} else {
		if warning, err = c.pull(ctx, &want); err != nil {
			return warning, err
		}
		if _, err := c.ready(ctx, want); err != nil {
			return warning, err
		}
		if st.others, err = c.keepOne(ctx, want.Instance, st.others); err != nil {
			return warning, err
		}
		if id, err = c.create(ctx, want, want.ContainerName()+suffixNext); err != nil {
			return warning, err
		}
	}
	former := slices.DeleteFunc(slices.Clone(st.others),
		func(o otto.Container) bool { return o.Name != want.ContainerName() })
	first := want.StartFirst && slices.ContainsFunc(st.others, alive)
	if !first {
		if former, err = c.makeWay(ctx, want, st.others, former); err != nil {
			return warning, err
		}
	}
	late, startErr := c.startAnyway(ctx, want, id)
	if startErr == nil {
		startErr = c.staysUp(ctx, want, id)
	}
	if startErr != nil && first && !errors.Is(startErr, errNotNow) && ctx.Err() == nil {
		return warning, c.abort(ctx, want, otto.Container{ID: id, State: otto.ContainerRunning}, startErr)
	}
	if startErr != nil && !errors.Is(startErr, errNotNow) && len(former) > 0 && ctx.Err() == nil {
		return warning, c.putBack(ctx, want, otto.Container{ID: id, State: otto.ContainerRunning}, late, former[0], startErr)
	}
	return warning, startErr // the next pass removes the former one and gives its name to the new one
}

// makeWay stops the containers that an update replaces, and returns which of former it can go
// back to. One of a stateful service that does not run is removed: the engine may have been
// asked to start it, by this agent or the one before it, and start it late, beside the new one.
func (c *converger) makeWay(ctx context.Context, want wish, list, former []otto.Container) ([]otto.Container, error) {
	if err := c.stop(ctx, list); err != nil || !want.Spec.Stateful() {
		return former, err
	}
	late := func(o otto.Container) bool { return !alive(o) && !isTaken(o) }
	for _, ctr := range list {
		if late(ctr) {
			if err := c.Runtime.Remove(ctx, ctr.ID); err != nil {
				return former, err
			}
		}
	}
	return slices.DeleteFunc(former, late), nil
}

// putBack starts the former container of an update that did not start. The new one is kept
// aside for its logs, or removed if the engine may start it late. What cannot be stopped is not
// replaced: two containers of a stateful service never run.
func (c *converger) putBack(ctx context.Context, want wish, fresh otto.Container, late bool, former otto.Container, why error) error {
	err := c.stop(ctx, []otto.Container{fresh})
	if late && want.Spec.Stateful() {
		if err == nil {
			err = c.Runtime.Remove(ctx, fresh.ID)
		}
	} else {
		err = errors.Join(err, c.Runtime.Rename(ctx, fresh.ID, want.ContainerName()+suffixFailed))
	}
	if err != nil && want.Spec.Stateful() {
		return fmt.Errorf("the update did not start, and the former container was not put back: %w", errors.Join(why, err))
	}
	return fmt.Errorf("the update did not start and the former container was put back: %w",
		errors.Join(why, err, c.start(ctx, want, former.ID)))
}

// startAnyway starts an update's container in spite of an engine that does not answer
// for a while, which says nothing of the container: it is asked twice if it answers
// other questions, and otherwise when it does again. What it has not answered it may do late.
func (c *converger) startAnyway(ctx context.Context, want wish, id string) (late bool, err error) {
	for {
		if err = c.start(ctx, want, id); !errors.Is(err, otto.ErrNoAnswer) {
			return late, err
		}
		if _, down := c.Runtime.Containers(ctx); down != nil {
			return true, fmt.Errorf("%w: %w", errNotNow, down)
		}
		if late {
			return true, err
		}
		late = true
	}
}

// staysUp waits until a new container has run for a moment.
func (c *converger) staysUp(ctx context.Context, want wish, id string) error {
	wait(ctx, steady)
	list, err := c.Runtime.Containers(ctx)
	if err != nil { // unknown is no reason to go back
		c.Log.Warn("not known whether the update stays up", "instance", want.Name, "err", err)
		list = nil
	}
	i := slices.IndexFunc(list, func(o otto.Container) bool { return o.ID == id })
	if i < 0 || list[i].State == otto.ContainerPaused ||
		list[i].State == otto.ContainerRunning && list[i].Restarts == 0 {
		return nil
	}
	if list[i].State == otto.ContainerExited && list[i].ExitCode == 0 && ended(want.Spec, list[i], 0) {
		return nil
	}
	return c.ended(ctx, list[i])
}

// comeBackTo is the index of the container that an instance of a name goes back to if an
// update fails: the one that serves, or else the one with the name; -1 if there is none.
func comeBackTo(name string, list []otto.Container) int {
	keep := slices.IndexFunc(list, func(o otto.Container) bool { return o.Name == name && alive(o) })
	if keep < 0 {
		keep = slices.IndexFunc(list, alive)
	}
	if keep < 0 {
		keep = slices.IndexFunc(list, func(o otto.Container) bool { return o.Name == name })
	}
	return keep
}

// keepOne leaves of what earlier updates made only the container to come back to,
// under the instance's own name: the one that serves, which a newer update may
// have overtaken before it had that name.
func (c *converger) keepOne(ctx context.Context, want otto.Instance, list []otto.Container) ([]otto.Container, error) {
	keep := comeBackTo(want.ContainerName(), list)
	if keep < 0 {
		return nil, c.retire(ctx, want, list)
	}
	kept := list[keep]
	if err := c.retire(ctx, want, slices.Delete(slices.Clone(list), keep, keep+1)); err != nil {
		return list, err
	}
	if name := want.ContainerName(); kept.Name != name {
		if err := c.Runtime.Rename(ctx, kept.ID, name); err != nil {
			return list, err
		}
		kept.Name = name
	}
	return []otto.Container{kept}, nil
}

// downError says of a container why it is not up, with the last lines of its output.
type downError struct {
	why  string
	tail []string
}

// Error implements error.
func (e *downError) Error() string { return e.why }

// ended says why a container is not up. The exit code that an engine has for one that it
// has started again, or that was stopped after that, is not how it has ended by itself.
func (c *converger) ended(ctx context.Context, ctr otto.Container) error {
	down := &downError{}
	down.tail, _ = c.Runtime.Logs(ctx, ctr.ID, tailLines)
	switch {
	case ctr.Ailment != "":
		down.why = ctr.Ailment
	case ctr.OOM:
		down.why = "it was killed for want of memory"
	case ctr.LastExit != nil:
		down.why = fmt.Sprintf("it ended with exit code %d", *ctr.LastExit)
	case alive(ctr) && ctr.State != otto.ContainerRestarting:
		down.why = "it ended and was restarted" + times(" ", ctr.Restarts)
	default:
		down.why = fmt.Sprintf("it ended with exit code %d", ctr.ExitCode)
	}
	return down
}

// pull has the image be there. That of before is nowhere else: where it is gone its name
// has to do.
func (c *converger) pull(ctx context.Context, want *wish) (warning string, err error) {
	if want.ImageID != "" {
		there, err := c.Runtime.ImageID(ctx, want.ImageID)
		if err != nil || there == want.ImageID {
			return "", err
		}
		want.ImageID = ""
		c.Log.Warn("the image of before is gone: what its name means now is taken", "instance", want.Name, "image",
			want.Spec.Image)
	}
	if otto.BuiltImage(want.Spec.Image) {
		if there, err := c.Runtime.ImageID(ctx, want.Spec.Image); err == nil && there == "" {
			return "", fmt.Errorf("%w: image %s", errNotNow, notBuiltHere(want.Instance))
		}
	}
	c.progress(want.Name, true)
	defer c.progress(want.Name, false)
	spec := want.Spec
	if want.Pull && spec.PullPolicy != otto.PullNever {
		spec.PullPolicy = otto.PullAlways
	}
	return c.Runtime.Pull(ctx, spec)
}

func (c *converger) progress(instance string, pulling bool) {
	c.results <- result{instance: instance, pulling: &pulling}
}

// stop stops containers. It asks the engine also for those that do not run: it may
// be about to start one, because an agent before this one has asked for that.
func (c *converger) stop(ctx context.Context, list []otto.Container) error {
	if err := c.stops.note(list); err != nil {
		return err
	}
	var errs []error
	for _, ctr := range list {
		errs = append(errs, c.Runtime.Stop(ctx, ctr.ID))
	}
	return errors.Join(errs...)
}

// retire stops and removes containers, but for one that is to be kept.
func (c *converger) retire(ctx context.Context, want otto.Instance, list []otto.Container) error {
	if err := c.stop(ctx, list); err != nil {
		return err
	}
	kept := slices.IndexFunc(list, func(o otto.Container) bool { return want.Keep != "" && o.SpecHash == want.Keep })
	var errs []error
	for i, ctr := range list {
		if i != kept {
			errs = append(errs, c.Runtime.Remove(ctx, ctr.ID))
		}
	}
	if kept >= 0 && errors.Join(errs...) == nil {
		return c.Runtime.Rename(ctx, list[kept].ID, want.ContainerName()+otto.SuffixKept)
	}
	return errors.Join(errs...)
}
