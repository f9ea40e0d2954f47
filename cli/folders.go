package cli

import (
	"context"

	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/config"
)

// bringFiles gives the control plane the files of projects that it does not have yet, for
// what is about to be wanted.
func bringFiles(ctx context.Context, c *api.Client, f *config.File) error {
	if len(f.Folders) == 0 {
		return nil
	}
	lacking, err := c.LackFolders(ctx, f.Wanted.Folders)
	if err != nil {
		return err
	}
	for _, key := range lacking {
		if err := c.PutFolder(ctx, f.Folders[key].Pack); err != nil {
			return err
		}
	}
	return nil
}
