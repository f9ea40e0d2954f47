package docker

import (
	"context"

	"github.com/moby/moby/client"
)

// Details are how an engine is set up, as far as it matters to those who look
// after the node.
type Details struct {
	Storage     string // its storage driver
	LogDriver   string // for containers that ask for none
	RootDir     string // where it keeps images and volumes, on its own machine
	MemoryLimit bool   // it can limit memory
}

// Details asks the engine how it is set up.
func (r *Runtime) Details(ctx context.Context) (Details, error) {
	var d Details
	err := r.call(ctx, shortCall, "engine", func(ctx context.Context, c *client.Client) error {
		info, err := c.Info(ctx, client.InfoOptions{})
		if err != nil {
			return err
		}
		d = Details{
			Storage: info.Info.Driver, LogDriver: info.Info.LoggingDriver,
			RootDir: info.Info.DockerRootDir, MemoryLimit: info.Info.MemoryLimit,
		}
		return nil
	})
	return d, err
}
