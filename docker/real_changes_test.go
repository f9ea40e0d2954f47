package docker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

// nameMeansAnother gives the name of an image that a container runs to another one.
func nameMeansAnother(t *testing.T, r *Runtime) {
	const name = "otto-renamed:1"
	engine := func(what string, do func(context.Context, *client.Client) error) {
		t.Helper()
		if err := r.call(context.WithoutCancel(t.Context()), longCall, what, do); err != nil {
			t.Error(err)
		}
	}
	engine("tag", func(ctx context.Context, c *client.Client) error {
		_, err := c.ImageTag(ctx, client.ImageTagOptions{Source: testImage, Target: name})
		return err
	})
	inst := instance("renamed", "true")
	inst.Spec.Image = name
	id := create(t, r, inst)
	t.Cleanup(func() { // before its container is gone: the name is all that is removed
		engine("untag", func(ctx context.Context, c *client.Client) error {
			_, err := c.ImageRemove(ctx, name, client.ImageRemoveOptions{Force: true})
			return err
		})
	})
	before, err := r.ImageID(t.Context(), name)
	if got := inspect(t, r, id).ImageID; err != nil || before == "" || got != before {
		t.Errorf("the container runs %q, and its name means %q, %v", got, before, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	told, ended := make(chan bool, 100), make(chan error, 1)
	go func() { ended <- r.Watch(ctx, func(images bool) { told <- images }) }()
	if !<-told {
		t.Error("who begins to watch is not told to look at images")
	}
	engine("commit", func(ctx context.Context, c *client.Client) error {
		_, err := c.ContainerCommit(ctx, id, client.ContainerCommitOptions{Reference: name})
		return err
	})
	for deadline := time.After(10 * time.Second); ; {
		select {
		case images := <-told:
			if !images {
				continue
			}
		case <-deadline:
			t.Error("another image of the name is not noticed")
		}
		break
	}
	cancel()
	<-ended
	after, err := r.ImageID(t.Context(), name)
	if got := inspect(t, r, id).ImageID; err != nil || after == before || got != before {
		t.Errorf("the container runs %q, and its name means %q after %q, %v", got, after, before, err)
	}
	former := instance("back", "true")
	former.Spec.Image, former.ImageID = name, before
	if there, err := r.ImageID(t.Context(), before); err != nil || there != before {
		t.Errorf("the former image is %q, %v", there, err)
	}
	if got := inspect(t, r, create(t, r, former)); got.ImageID != before || got.Image != name ||
		got.SpecHash != former.Spec.Hash() {
		t.Errorf("made from the former image: %+v", got)
	}
	if id, err := r.ImageID(t.Context(), "no-such-image"); id != "" || err != nil {
		t.Errorf("no image is %q, %v", id, err)
	}
}

func changesAreNoticed(t *testing.T, r *Runtime) {
	ctx, cancel := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- r.Watch(ctx, func(bool) {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	}()
	next := func(what string) {
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s is not noticed", what)
		}
	}
	next("the beginning")
	inst := instance("changing", "sh", "-c", "while :; do sleep 0.1; done")
	inst.Spec.StopGrace = time.Second
	id := start(t, r, inst)
	next("a start")
	pid := func() int {
		running, err := r.Running(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range running {
			if c.ID == id {
				return c.Pid
			}
		}
		return 0
	}
	first := pid()
	if second := pid(); first == 0 || second != first { // from memory
		t.Errorf("pids %d and %d", first, second)
	}
	if err := errors.Join(r.Stop(t.Context(), id), r.Start(t.Context(), id)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the new process", func() bool { return pid() == inspect(t, r, id).Pid })
	if pid() == first {
		t.Error("the pid is that of the former process")
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// driftIsSeen has somebody do to a container what Otto has to notice.
func driftIsSeen(t *testing.T, r *Runtime) {
	inst := instance("drifting", "sleep", "600")
	inst.Spec.StopGrace = time.Second
	inst.Spec.Resources.MemoryBytes = 32 << 20
	inst.Spec.Mounts = []otto.Mount{
		{Type: otto.MountVolume, Source: "drifting", Target: "/data"},
		{Type: otto.MountBind, Source: "/", Target: "/host", ReadOnly: true},
	}
	id := start(t, r, inst)
	was := inspect(t, r, id)
	for aspect, want := range map[string]string{
		"network " + r.owner.Cluster: "drifting",
		"mount /data":                "volume drifting",
		"mount /host":                "bind /, read-only",
		"restart policy":             "no",
		"CPU limit":                  "none",
	} {
		if was.Setup[aspect] != want {
			t.Errorf("%s is %q, want %q", aspect, was.Setup[aspect], want)
		}
	}
	var disconnected, attached, updated map[string]string
	engine(t, r, func(c *client.Client) error {
		_, err := c.NetworkDisconnect(t.Context(), r.owner.Cluster, client.NetworkDisconnectOptions{Container: id})
		return err
	})
	now := inspect(t, r, id)
	if disconnected = now.Setup; now.Address != "" {
		t.Errorf("address %q of a container in no network", now.Address)
	}
	if err := r.Attach(t.Context(), inst, id); err != nil {
		t.Fatal(err)
	}
	now = inspect(t, r, id)
	if attached = now.Setup; now.Address == "" || !now.Started.Equal(was.Started) {
		t.Errorf("address %q, started %s, before %s", now.Address, now.Started, was.Started)
	}
	if err := r.Attach(t.Context(), inst, id); err != nil {
		t.Errorf("one that is there: %v", err)
	}
	engine(t, r, func(c *client.Client) error {
		policy := container.RestartPolicy{Name: container.RestartPolicyAlways}
		_, err := c.ContainerUpdate(t.Context(), id, client.ContainerUpdateOptions{RestartPolicy: &policy})
		return err
	})
	updated = inspect(t, r, id).Setup
	if diff := cmp.Diff(was.Setup, attached); diff != "" {
		t.Error("attached again:", diff)
	}
	if _, there := disconnected["network "+r.owner.Cluster]; there || updated["restart policy"] != "always" {
		t.Errorf("not seen: %v, %v", disconnected, updated)
	}

	// Its network is removed and made anew while it is stopped: it has the name, and
	// the container the id of the former one.
	if err := r.Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if stopped := inspect(t, r, id).Setup; stopped["network "+r.owner.Cluster] != "drifting" {
		t.Errorf("stopped: %v", stopped)
	}
	engine(t, r, func(c *client.Client) error {
		_, err := c.NetworkRemove(t.Context(), r.owner.Cluster, client.NetworkRemoveOptions{})
		return err
	})
	if err := r.Start(t.Context(), id); !errors.Is(err, otto.ErrNetworkGone) {
		t.Fatalf("without its network: %v", err)
	}
	if err := errors.Join(r.Attach(t.Context(), inst, id), r.Start(t.Context(), id)); err != nil {
		t.Fatal(err)
	}
	if now := inspect(t, r, id); now.Address == "" || now.Setup["network "+r.owner.Cluster] != "drifting" {
		t.Errorf("address %q, %v", now.Address, now.Setup)
	}
}
