package docker

import (
	"context"
	"strings"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

// Engine asks the engine who it is. Engine.Problem says why it cannot be used.
func (r *Runtime) Engine(ctx context.Context) otto.Engine {
	var engine otto.Engine
	err := r.call(ctx, shortCall, "engine", func(ctx context.Context, c *client.Client) error {
		version, err := c.ServerVersion(ctx, client.ServerVersionOptions{})
		if err != nil {
			return err
		}
		info, err := c.Info(ctx, client.InfoOptions{})
		if err != nil {
			return err
		}
		engine = otto.Engine{
			Name:     engineName(version),
			Version:  version.Version,
			API:      c.ClientVersion(),
			Warnings: lacks(info.Info),
		}
		return nil
	})
	if err != nil {
		engine.Problem = strings.TrimPrefix(err.Error(), "engine: ")
	}
	return engine
}

// RootDir is where the engine keeps its images and volumes, on its own machine.
func (r *Runtime) RootDir(ctx context.Context) (string, error) {
	var dir string
	err := r.call(ctx, shortCall, "data directory of the engine", func(ctx context.Context, c *client.Client) error {
		info, err := c.Info(ctx, client.InfoOptions{})
		dir = info.Info.DockerRootDir
		return err
	})
	return dir, err
}

func engineName(v client.ServerVersionResult) string {
	for _, c := range v.Components {
		if strings.HasPrefix(c.Name, "Podman") {
			return "Podman"
		}
	}
	return "Docker"
}

// lacks names the limits that the engine accepts but cannot enforce: a stock
// Raspberry Pi boots with the memory controller off.
func lacks(info system.Info) []string {
	var warnings []string
	if !info.MemoryLimit {
		warnings = append(warnings, "no memory limit support")
	}
	if !info.CPUCfsQuota {
		warnings = append(warnings, "no CPU limit support")
	}
	return warnings
}
