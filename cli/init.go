package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto/config"
)

func newInit(a *app) *cobra.Command {
	var example bool
	c := &cobra.Command{
		Use:   "init",
		Short: "Check otto.yaml and remember it; touches no machine",
		Example: `  otto cluster init --example     write a starter otto.yaml here
  otto cluster init               check otto.yaml
  otto cluster init -c home.yaml  check another file`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if example {
				if err := a.writeExample(); err != nil {
					return err
				}
			}
			return a.init()
		},
	}
	c.Flags().BoolVar(&example, "example", false, "write a starter otto.yaml first, if there is none")
	return c
}

func (a *app) writeExample() error {
	f, err := os.OpenFile(a.config, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already and was left as it is", a.config)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(config.Example())
	return errors.Join(err, f.Close())
}

// collectRarely has the garbage of a file being read collected less often, until the
// function that it returns is called: a young process has a small heap, and would spend a
// third of the time on that.
func collectRarely() (back func()) {
	former := debug.SetGCPercent(800)
	return func() { debug.SetGCPercent(former) }
}

// load reads otto.yaml and prints its warnings.
func (a *app) load() (*config.File, error) {
	defer collectRarely()()
	f, err := config.Load(a.config, os.LookupEnv)
	a.warn(f)
	if err != nil {
		return nil, err
	}
	if f.Path, err = filepath.Abs(f.Path); err != nil {
		return nil, err
	}
	return f, nil
}

// warn prints what a file that was read is warned of; f may be nil.
func (a *app) warn(f *config.File) {
	if f == nil {
		return
	}
	for _, w := range f.Warnings {
		fmt.Fprintln(a.err, "warning:", w)
	}
}

func (a *app) init() error {
	f, err := a.load()
	if err != nil {
		return err
	}
	d, err := a.dir()
	if err != nil {
		return err
	}
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.remember(f, time.Now()); err != nil {
		return err
	}
	if a.json() {
		var c clusterFile
		if err := d.read(fileCluster, &c); err != nil {
			return err
		}
		return a.printJSON(c)
	}
	fmt.Fprintf(a.out, "%s is right: cluster %s, %s, %s.\nNext: otto cluster start\n",
		a.config, f.Name, count(len(f.Wanted.Nodes), "node"), count(len(f.Wanted.Services), "service"))
	return nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
