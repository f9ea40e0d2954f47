package cli

import (
	"io"
	"slices"
	"testing"

	"github.com/spf13/cobra"
)

func TestCommandsFromAfarAreThere(t *testing.T) {
	var paths []string
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		paths = append(paths, c.CommandPath())
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	root := newRoot(&app{out: io.Discard, err: io.Discard})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	walk(root)
	for _, path := range fromAfar() {
		if !slices.Contains(paths, path) {
			t.Errorf("there is no command %s", path)
		}
	}
}
