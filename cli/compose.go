package cli

import (
	"github.com/spf13/cobra"

	"github.com/otto-edge/otto/config"
)

func newCompose(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "compose",
		Short: "Say what Otto makes of Docker Compose's files",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(newComposeKeys(a))
	return c
}

func newComposeKeys(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "keys",
		Short: "List all keys of Compose's files and what Otto does with them",
		Long: `Keys lists every key of the Compose specification and what Otto does with it: it
passes it to the engine as it is, does itself what the key asks for, needs nothing of
it, or refuses it, and then says why. A key has the fate of the one above it if it is
not listed itself.`,
		Example: `  otto compose keys
  otto compose keys --output json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			keys := config.ComposeKeys()
			if a.json() {
				return a.printJSON(keys)
			}
			rows := [][]string{{"KEY", "OTTO", "WHY"}}
			for _, k := range keys {
				rows = append(rows, []string{k.Path, k.Does, k.Why})
			}
			table(a.out, false, 0, rows)
			return nil
		},
	}
}
