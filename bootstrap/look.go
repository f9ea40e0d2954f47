package bootstrap

import (
	"context"
	"fmt"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// Look asks the agent that is on a node what there is of a cluster. It changes
// nothing there. A host without an agent says nothing: the Look is empty.
func (f *Fleet) Look(ctx context.Context, node otto.Node, cluster string) (look wire.Look, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	err = f.look(ctx, node, cluster, func(h host, found facts) error {
		exe := found.anyAgent()
		if exe == "" {
			return nil
		}
		out, err := h.run(ctx, execScript, exe, "look", "--dir", found.dir)
		if err != nil {
			return fmt.Errorf("its agent cannot tell what runs there: %w", err)
		}
		look, err = wire.DecodeLook([]byte(out))
		return err
	})
	return look, err
}
