package main

import (
	"slices"
	"testing"

	"github.com/otto-edge/otto"
)

// TestContainersOfComposeStay when a cluster is uninstalled in the middle of a takeover.
func TestContainersOfComposeStay(t *testing.T) {
	ids := func(list []otto.Container) (ids []string) {
		for _, c := range list {
			ids = append(ids, c.ID)
		}
		return ids
	}
	remove, start := apart([]otto.Container{
		{ID: "own", State: otto.ContainerRunning},
		{ID: "own stopped", State: otto.ContainerExited},
		{ID: "compose runs", State: otto.ContainerRunning, Taken: true},
		{ID: "compose stopped for own", State: otto.ContainerExited, Taken: true},
		{ID: "compose stopped by somebody", State: otto.ContainerExited, Taken: true},
		{ID: "never ran", State: otto.ContainerCreated, Taken: true},
	}, []string{"compose stopped for own", "gone", "own stopped"})
	if got := ids(remove); !slices.Equal(got, []string{"own", "own stopped", "never ran"}) {
		t.Errorf("it removes %v", got)
	}
	if got := ids(start); !slices.Equal(got, []string{"compose stopped for own"}) {
		t.Errorf("it starts %v", got)
	}
}
