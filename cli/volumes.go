package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/bootstrap"
	"github.com/otto-edge/otto/wire"
)

// nodeVolume is a volume that is about to be deleted.
type nodeVolume struct {
	Node string `json:"node"`
	otto.VolumeUse
}

// mayDelete shows the volumes that would be deleted, with the data in them, and asks.
func (a *app) mayDelete(ctx context.Context, c *otto.Cluster, yes bool) error {
	list, problems := volumesOf(ctx, c)
	if a.json() {
		if err := a.printJSON(map[string]any{"cluster": c.Name, "volumes": list}); err != nil {
			return err
		}
	} else {
		a.printVolumes(list, time.Now())
	}
	for _, p := range problems {
		fmt.Fprintln(a.err, "otto: which volumes it has is not known: "+p)
	}
	if yes || len(list)+len(problems) == 0 {
		return nil
	}
	return a.agree(fmt.Sprintf("Delete these volumes of %s, with the data in them?", c.Name), "nothing was deleted")
}

func (a *app) printVolumes(list []nodeVolume, now time.Time) {
	rows := [][]string{{"NODE", "VOLUME", "SIZE", "AGE"}}
	for _, v := range list {
		bytes := "-"
		if v.Bytes >= 0 {
			bytes = size(uint64(v.Bytes))
		}
		rows = append(rows, []string{v.Node, v.Name, bytes, age(now, v.Created)})
	}
	if len(list) > 0 {
		table(a.out, false, 0, rows)
	}
}

// agree asks a question; an error, refused, says that the answer is not yes.
func (a *app) agree(question, refused string) error {
	if !isTerminal(a.in) {
		return errors.New(refused + ": run this in a terminal to be asked, or pass --yes")
	}
	fmt.Fprint(a.err, question+" [y/N] ")
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errors.New(refused)
	}
	return nil
}

// volumesOf are the volumes of a cluster on its nodes, in their order.
func volumesOf(ctx context.Context, c *otto.Cluster) (list []nodeVolume, problems []string) {
	fleet := bootstrap.New(bootstrap.Options{Log: slog.New(slog.DiscardHandler)})
	defer fleet.Close()
	by := wire.Authority{Cluster: c.Name, Warrant: wire.Warrant{ClusterID: c.ID}}
	found := make([][]otto.VolumeUse, len(c.Nodes))
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, n := range c.Nodes {
		g.Go(func() error {
			volumes, err := fleet.Volumes(ctx, n.Node, by)
			mu.Lock()
			defer mu.Unlock()
			found[i] = volumes
			if err != nil {
				problems = append(problems, err.Error())
			}
			return nil
		})
	}
	_ = g.Wait() // they return none
	list = []nodeVolume{}
	for i, n := range c.Nodes {
		for _, v := range found[i] {
			list = append(list, nodeVolume{n.ID, v})
		}
	}
	return list, problems
}
