package docker

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"

	"github.com/otto-edge/otto"
)

// borrowing is the spec of an instance as the engine takes it: containers in place of the
// services from which it borrows.
func borrowing(inst otto.Instance) (otto.ContainerSpec, error) {
	spec := inst.Spec
	var missing error
	spec.RenameLenders(func(service string) string {
		if inst.Lent[service] == "" {
			missing = fmt.Errorf("there is no container of %s here, from which it borrows", service)
		}
		return inst.Lent[service]
	})
	if missing != nil {
		return spec, missing
	}
	spec.NetworkMode = joining(spec.NetworkMode)
	if len(spec.Joined()) > 0 { // RenameLenders has made a copy of Engine
		spec.Engine.PIDMode, spec.Engine.IPCMode = joining(spec.Engine.PIDMode), joining(spec.Engine.IPCMode)
	}
	spec.VolumesFrom = slices.Clone(spec.VolumesFrom)
	for i, from := range spec.VolumesFrom {
		_, spec.VolumesFrom[i], _ = strings.Cut(from, ":")
	}
	return spec, nil
}

// joining is a mode with a container in place of a service.
func joining(mode string) string {
	if id, ok := strings.CutPrefix(mode, otto.ServicePrefix); ok {
		return "container:" + id
	}
	return mode
}

// borrows are the containers whose namespaces a container is in, or whose mounts it has.
func borrows(host *container.HostConfig) (ids []string) {
	if host == nil {
		return nil
	}
	for _, id := range []string{host.NetworkMode.ConnectedContainer(), host.PidMode.Container(), host.IpcMode.Container()} {
		if id != "" {
			ids = append(ids, id)
		}
	}
	for _, from := range host.VolumesFrom {
		id, _, _ := strings.Cut(from, ":")
		ids = append(ids, id)
	}
	return ids
}
