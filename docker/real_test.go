package docker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/otto-edge/otto"
)

func TestRealEngine(t *testing.T) {
	r := startDockerd(t)
	for _, tc := range []struct {
		name string
		test func(*testing.T, *Runtime)
	}{
		{"a container's life", containersLife},
		{"services find each other by name", servicesFindEachOther},
		{"named volumes survive, anonymous ones do not", volumesSurvive},
		{"volumes have labels", volumesHaveLabels},
		{"foreign names and networks are left alone", foreignIsLeftAlone},
		{"host paths", hostPaths},
		{"secrets are read by users of the container", secretsAreRead},
		{"errors are short", errorsAreShort},
		{"everything at once", everythingAtOnce},
		{"changes are noticed", changesAreNoticed},
		{"kills for want of memory", killsAreTold},
		{"commands in a container", commandsInAContainer},
		{"a person in a container", personInAContainer},
		{"a run of a service", runOfAService},
		{"an address of its own", addressOfItsOwn},
		{"several networks", severalNetworks},
		{"drift is seen and mended", driftIsSeen},
		{"a name that means another image", nameMeansAnother},
		{"a paused container stops", pausedStops},
		{"an image that is half extracted", halfExtracted},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, r) })
	}
	if err := r.RemoveNetwork(t.Context()); err != nil {
		t.Error(err)
	}
	if err := r.RemoveNetwork(t.Context()); err != nil {
		t.Errorf("the second time: %v", err)
	}
}

func instance(name string, command ...string) otto.Instance {
	return otto.Instance{Name: name, Service: name, Spec: otto.ContainerSpec{Image: testImage, Command: command}}
}

// create makes a container that is removed with the test.
func create(t *testing.T, r *Runtime, inst otto.Instance) string {
	t.Helper()
	if warning, err := r.Pull(t.Context(), inst.Spec); err != nil || warning != "" {
		t.Fatalf("pull of an image that is there: %v, %q", err, warning)
	}
	id, err := r.Create(t.Context(), inst, inst.Name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(r.Stop(ctx, id), r.Remove(ctx, id)); err != nil {
			t.Error(err)
		}
	})
	return id
}

func start(t *testing.T, r *Runtime, inst otto.Instance) string {
	t.Helper()
	id := create(t, r, inst)
	if err := r.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

func inspect(t *testing.T, r *Runtime, id string) otto.Container {
	t.Helper()
	all, err := r.Containers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(c otto.Container) bool { return c.ID == id })
	if i < 0 {
		t.Fatalf("container %s is not among %d", id, len(all))
	}
	return all[i]
}

func logsOf(t *testing.T, r *Runtime, id string, lines int) string {
	t.Helper()
	got, err := r.Logs(t.Context(), id, lines)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(got, "\n")
}
