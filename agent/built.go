package agent

import (
	"context"
	"fmt"
	"slices"

	"github.com/otto-edge/otto"
)

// notBuiltHere is what image of an instance, which Otto has built, has not come.
func notBuiltHere(inst otto.Instance) string {
	return fmt.Sprintf("%s of service %s is not on this node: run `otto apply` where its folder is",
		inst.Spec.Image, inst.Service)
}

// made reports whether a container was made from what is wanted of an instance.
func made(inst otto.Instance, have []otto.Container) bool {
	hash := inst.Hash()
	return slices.ContainsFunc(have, func(c otto.Container) bool { return c.SpecHash == hash })
}

// lookForBuilt asks the engine which images that Otto has built are missing, of instances of
// which there is no container yet. When one comes the engine says so, and this is done again.
func (c *converger) lookForBuilt(ctx context.Context) {
	c.absent = nil
	if c.assignment == nil {
		return
	}
	there := map[string]bool{}
	for _, inst := range c.assignment.Instances {
		image := inst.Spec.Image
		if !otto.BuiltImage(image) || made(inst, c.of(inst.Name)) {
			continue
		}
		if _, known := there[image]; !known {
			id, err := c.Runtime.ImageID(ctx, image)
			there[image] = err != nil || id != "" // who tries it will know
		}
		if !there[image] && c.absent == nil {
			c.absent = map[string]bool{}
		}
		if !there[image] {
			c.absent[image] = true
		}
	}
}

// of are the containers of an instance.
func (c *converger) of(instance string) (list []otto.Container) {
	for _, ctr := range c.containers {
		if ctr.Instance == instance {
			list = append(list, ctr)
		}
	}
	return list
}
