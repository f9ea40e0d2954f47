package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/bootstrap"
	"github.com/otto-edge/otto/bundle"
	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/control/journal"
	"github.com/otto-edge/otto/doctor"
)

func newDebug(a *app) *cobra.Command {
	c := &cobra.Command{Use: "debug", Short: "Help those who look for a mistake in Otto", Args: noArgs, RunE: help}
	c.AddCommand(newDebugBundle(a))
	return c
}

func newDebugBundle(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "bundle [FILE.tar.gz]",
		Short: "Gather what a maintainer needs into one file, without secrets",
		Long: `Bundle writes one archive with versions, the state of the cluster, its events, the
logs of the control plane and of the agents, what the nodes should run and what
their engines say of it, and what otto doctor finds. Values of environments,
labels and commands, passwords and keys are left out, also where a log repeats
them, and so is what containers print. Names and addresses are in it. It is plain
text: look through it before you give it away.

It works while the control plane or some nodes are down; notes.txt in it says what
is missing.`,
		Example: "  otto debug bundle\n  otto debug bundle /tmp/otto.tar.gz",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("%w: %s takes one file: %s", errUsage, c.CommandPath(), c.UseLine())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return a.bundle(c.Context(), strings.Join(args, ""), time.Now())
		},
	}
}

func (a *app) bundle(ctx context.Context, path string, now time.Time) error {
	k, err := a.know(ctx)
	if err != nil {
		return err
	}
	stem := "otto-debug-" + cmpOr(k.name, "none") + "-" + now.UTC().Format("20060102T150405")
	path = cmpOr(path, stem+".tar.gz")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already and was left as it is: name another file", path)
	}
	if err != nil {
		return err
	}
	w := bundle.NewWriter(f, stem, now)
	a.fillBundle(ctx, w, k)
	err = errors.Join(w.Close(), f.Sync(), f.Close())
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(path))
	}
	if a.json() {
		return a.printJSON(map[string]string{"file": path})
	}
	_, err = fmt.Fprintf(a.out, "%s holds what a maintainer needs, and no secret that Otto knows of. Look through it before you send it: tar xzf %s\n", path, path)
	return err
}

func (a *app) fillBundle(ctx context.Context, w *bundle.Writer, k *known) {
	nodes := k.collect(ctx)
	exams := k.examine(ctx)
	k.tellSecrets(&w.Secrets)
	w.JSON("versions.json", map[string]any{
		"otto": a.version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH, "time": time.Now(),
		"control_plane_runs": k.running,
	})
	if k.cluster != nil {
		w.JSON("cluster.json", bundle.Cluster(*k.cluster))
	}
	w.JSON("doctor.json", withoutQuotes(append(doctor.Machine(k.here(ctx)), judge(exams)...)))
	k.addConfig(w, a.config)
	k.addControl(ctx, w)
	for i, n := range nodes {
		dir := "nodes/" + k.nodes[i].ID + "/"
		if exams[i].Err == nil {
			w.JSON(dir+"facts.json", exams[i].Facts)
		}
		addNode(w, dir, n)
	}
}

// nodeOrWhy is what a node has told, or why it has not.
type nodeOrWhy struct {
	bundle.Node
	err error
}

// collect asks all nodes.
func (k *known) collect(ctx context.Context) []nodeOrWhy {
	fleet := bootstrap.New(bootstrap.Options{})
	defer fleet.Close()
	nodes := make([]nodeOrWhy, len(k.nodes))
	k.eachNode(func(i int, n otto.Node) { nodes[i].Node, nodes[i].err = fleet.Collect(ctx, n, k.name) })
	return nodes
}

// withoutQuotes leaves of findings about otto.yaml, which quote it, the places.
func withoutQuotes(findings []doctor.Finding) []doctor.Finding {
	for i, f := range findings {
		if f.Check == "config" && f.Level != doctor.OK {
			place := strings.SplitN(f.What, ": ", 2)[0]
			findings[i].What, findings[i].Try = place+": "+bundle.Redacted, ""
		}
	}
	return findings
}

// tellSecrets notes all that must not be in a bundle, and what may be although it
// is the value of something, too.
func (k *known) tellSecrets(s *bundle.Secrets) {
	if env, err := config.DotEnv(filepath.Dir(string(k.dir))); err == nil {
		for _, v := range env {
			s.Add(v)
		}
	}
	brokers := []config.MQTT{k.mqtt}
	if k.file != nil {
		brokers = append(brokers, k.file.MQTT)
		s.AddServices(k.file.Wanted.Services)
		s.AddContents(k.file.Wanted.Contents)
		s.AddRequirements(k.file.Wanted.Requirements)
	}
	for _, m := range brokers {
		s.Add(m.Password)
		if m.TLS != nil {
			s.Add(m.TLS.Key)
		}
	}
	s.Public(k.name)
	for _, n := range k.nodes {
		s.Public(n.ID, n.Host, n.User)
		for _, v := range n.Labels {
			s.Add(v)
		}
		s.AddRequirements(n.Requirements)
	}
	if k.cluster == nil {
		return
	}
	s.AddRequirements(k.cluster.Requirements)
	for _, service := range k.cluster.Services {
		s.AddServices([]otto.Service{service.Service})
		s.Public(service.Name, service.Spec.Image)
		for _, i := range service.Instances {
			s.Public(i.Name)
		}
	}
}

func (k *known) addConfig(w *bundle.Writer, path string) {
	data, err := os.ReadFile(path)
	if err == nil {
		data, err = config.Redact(filepath.Base(path), data)
	}
	if err != nil {
		w.Note("otto.yaml", err)
		return
	}
	w.Text("otto.yaml", data)
}

func (k *known) addControl(ctx context.Context, w *bundle.Writer) {
	w.Text("files.txt", bundle.Files(string(k.dir)))
	for _, name := range []string{fileLog, fileLog + ".1"} {
		b, err := bundle.Tail(k.dir.path(name), bundle.MaxFile)
		if err == nil {
			w.Text("control/"+name, b)
		} else if !errors.Is(err, fs.ErrNotExist) {
			w.Note("control/"+name, err)
		}
	}
	k.addEvents(w)
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	p, err := k.dir.client().Process(ctx)
	if err != nil {
		w.Note("control/process.json", notAnswering(err))
		return
	}
	w.JSON("control/process.json", p)
	dump, err := k.dir.client().Goroutines(ctx)
	w.Note("control/goroutines.txt", err)
	w.Text("control/goroutines.txt", dump)
}

func notAnswering(err error) error {
	if errors.Is(err, api.ErrNotRunning) {
		return api.ErrNotRunning
	}
	return err
}

// addEvents takes the newest events from where they are kept, which needs no
// control plane.
func (k *known) addEvents(w *bundle.Writer) {
	events, err := journal.Read(k.dir.path(fileEvents))
	w.Note("events.json", err)
	const most = 5000
	w.JSON("events.json", events[max(0, len(events)-most):])
}

func addNode(w *bundle.Writer, dir string, n nodeOrWhy) {
	if n.err != nil {
		w.Note(strings.TrimSuffix(dir, "/"), n.err)
		return
	}
	w.Text(dir+"agent.log", []byte(n.Log))
	w.Text(dir+"files.txt", []byte(n.Files))
	if n.Assignment != nil {
		w.JSON(dir+"assignment.json", n.Assignment)
	}
	w.JSON(dir+"containers.json", n.Containers)
	for _, note := range n.Notes {
		w.Note(strings.TrimSuffix(dir, "/"), errors.New(note))
	}
}
