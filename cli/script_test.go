package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/control"
	"github.com/otto-edge/otto/control/backup"
	"github.com/otto-edge/otto/control/store"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"otto":       func() { os.Exit(Main("test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
		"otto-state": func() { tool(makeState) },
		"otto-seal":  func() { tool(sealFile) },
	})
}

func tool(do func(args []string) error) {
	if err := do(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// makeState makes the state of a cluster that was started with the otto.yaml
// here, and had every service on the node that is its home.
func makeState([]string) error {
	f, err := config.Load("otto.yaml", os.LookupEnv)
	if err != nil {
		return err
	}
	a := &app{config: "otto.yaml"}
	d, err := a.dir()
	if err != nil {
		return err
	}
	c := clusterFile{ConfigPath: f.Path, ClusterName: f.Name, StartedAt: time.Now()}
	placement := map[string]string{}
	for _, s := range f.Wanted.Services {
		placement[s.Name] = s.Node
	}
	return errors.Join(d.write(fileCluster, c), withStore(context.Background(), d.path(dirStore), true, func(s *store.Store) error {
		ctx := context.Background()
		_, err := control.New(ctx, control.Options{Name: f.Name, Store: s, Create: true, Log: slog.New(slog.DiscardHandler)})
		return errors.Join(err, s.Put(ctx, "desired", map[string]any{"wanted": f.Wanted, "placement": placement}))
	}))
}

// sealFile seals a file under the recovery key in another one: FILE KEYFILE INTO.
func sealFile(args []string) error {
	content, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	k := backup.NewKey()
	sealed, err := backup.Seal(k, content)
	return errors.Join(err, os.WriteFile(args[1], []byte(k.String()), 0o600), os.WriteFile(args[2], sealed, 0o600))
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serve,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Defer(func() { leavesNothing(t, e.WorkDir) })
			return nil
		},
	})
}

// leavesNothing ends what a script has started and left, such as a control plane with its
// broker, and is an error.
func leavesNothing(t *testing.T, dir string) {
	t.Helper()
	cwds, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, cwd := range cwds {
		at, err := os.Readlink(cwd)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(cwd)))
		if err != nil || pid == os.Getpid() || !strings.HasPrefix(at, dir) {
			continue
		}
		command, _ := os.ReadFile(filepath.Join(filepath.Dir(cwd), "cmdline"))
		t.Errorf("left running in %s: %s", at, bytes.ReplaceAll(command, []byte{0}, []byte{' '}))
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill()
		}
	}
}
