package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/bootstrap"
	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/wire"
)

type adoptOptions struct {
	files []string
	yes   bool
	startOptions
}

func newAdopt(a *app) *cobra.Command {
	var o adoptOptions
	c := &cobra.Command{
		Use:   "adopt [NODE [PROJECT]]",
		Short: "Take over Compose projects that run on a node, with their data",
		Long: `Adopt lists the Compose projects that run on the nodes and are not the cluster's,
and says of each whether Otto would accept its file. With a project it shows what
would be taken over, asks, writes a stack into otto.yaml and takes it over: volumes,
networks, names, ports and fixed addresses stay, and each container is made anew
once, what others depend on first. The former container serves again if the new one
does not start. Run it again after anything that has interrupted it.

On this machine the Compose file is used where it is. From another node it is brought,
with what it refers to, into a folder beside otto.yaml that is called as the project;
what its containers write stays where it is there. With -f name a copy of your own.`,
		Example: `  otto adopt
  otto adopt nas
  otto adopt nas immich --yes
  otto adopt nas immich -f immich/compose.yaml`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 2 {
				return a.adopt(c.Context(), args[0], args[1], o)
			}
			if len(o.files) > 0 {
				return fmt.Errorf("%w: -f is of one project: name it, as in %s", errUsage, c.UseLine())
			}
			return a.listProjects(c.Context(), args)
		},
	}
	f := c.Flags()
	f.StringSliceVarP(&o.files, "file", "f", nil, "Compose file of the project, or its folder; may be repeated")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long to wait for it")
	return c
}

// foundProject is a Compose project in a list.
type foundProject struct {
	Node       string   `json:"node"`
	Name       string   `json:"name"`
	Files      []string `json:"files"` // its Compose files, on the node
	Services   []string `json:"services"`
	Containers []string `json:"containers"`
	Volumes    []string `json:"volumes"`
	Networks   []string `json:"networks"`
	Taken      []string `json:"taken"`         // services that are the cluster's already
	Accepted   bool     `json:"accepted"`      // whether Otto would take it over
	Why        string   `json:"why,omitempty"` // why not
}

// begunOf are the services of a stack that the cluster runs, of a project that it takes over.
// What is given back is Compose's.
func begunOf(v *otto.Cluster, stack string) (names []string) {
	for _, s := range servicesOf(v, stack) {
		if slices.ContainsFunc(s.Instances, func(i otto.PlacedInstance) bool { return i.UpToDate && i.State.Runs() }) {
			names = append(names, s.Name)
		}
	}
	return names
}

// listProjects lists the Compose projects of the nodes, or of one.
func (a *app) listProjects(ctx context.Context, args []string) error {
	_, v, _, err := a.seen(ctx)
	if err != nil {
		return err
	}
	nodes := v.Nodes
	if len(args) == 1 {
		n, err := findNode(v, args[0])
		if err != nil {
			return err
		}
		nodes = []otto.NodeStatus{n}
	}
	list, failed := []foundProject{}, 0
	for i := range nodes {
		projects, err := projectsOf(ctx, v, nodes[i].Node)
		if err != nil {
			failed++
			fmt.Fprintln(a.err, "otto: "+wire.Plain(err.Error()))
			continue
		}
		for _, p := range projects {
			list = append(list, a.judge(ctx, v, nodes[i].Node, p))
		}
	}
	if a.json() {
		err = a.printJSON(list)
	} else if len(list) > 0 || failed == 0 { // else it is not known whether there are any
		a.printProjects(list)
	}
	if err == nil && failed > 0 {
		err = errPart
	}
	return err
}

func (a *app) printProjects(list []foundProject) {
	if len(list) == 0 {
		fmt.Fprintln(a.out, "No Compose project runs there that is not the cluster's.")
		return
	}
	rows := [][]string{{"NODE", "PROJECT", "SERVICES", "CONTAINERS", "VOLUMES", "NETWORKS", "FILE", "ACCEPTED"}}
	for _, p := range list {
		accepted := "yes"
		switch {
		case !p.Accepted:
			accepted = "no: " + strings.ReplaceAll(p.Why, "\n", "; ")
		case len(p.Taken) > 0:
			accepted = "in part, has " + strings.Join(p.Taken, ", ") + ": `otto adopt " + p.Node + " " + p.Name + "` goes on"
		}
		rows = append(rows, []string{
			p.Node, p.Name, dash(strings.Join(p.Services, ",")), fmt.Sprint(len(p.Containers)), fmt.Sprint(len(p.Volumes)),
			fmt.Sprint(len(p.Networks)), dash(strings.Join(p.Files, ",")), accepted,
		})
	}
	table(a.out, false, 0, rows)
}

// judge says of a project whether it would be taken over.
func (a *app) judge(ctx context.Context, v *otto.Cluster, n otto.Node, p otto.Project) foundProject {
	found := foundProject{
		Node: n.ID, Name: p.Name, Files: append([]string{}, p.Files...), Services: []string{}, Containers: []string{},
		Volumes: []string{}, Networks: []string{}, Taken: append([]string{}, begunOf(v, p.Name)...),
	}
	for _, v := range p.Volumes {
		found.Volumes = append(found.Volumes, v.Name)
	}
	for _, n := range p.Networks {
		found.Networks = append(found.Networks, n.Name)
	}
	for _, c := range p.Containers {
		found.Containers = append(found.Containers, c.Name)
		if !slices.Contains(found.Services, c.Service) {
			found.Services = append(found.Services, c.Service)
		}
	}
	temp, err := os.MkdirTemp("", "otto-adopt-")
	if err != nil {
		found.Why = err.Error()
		return found
	}
	defer os.RemoveAll(temp)
	src, err := a.sourceOf(ctx, v, n, p, nil, filepath.Join(temp, "files"))
	if err == nil {
		var f *config.File
		if _, f, err = a.withStack(src.stack); err == nil {
			t := takeoverOf(p, n.ID, f.Wanted.Services, found.Taken)
			switch {
			case len(t.Refused) > 0:
				err = errors.New(strings.Join(t.Refused, "\n"))
			case len(t.Containers) == 0 && len(found.Taken) > 0:
				err = fmt.Errorf("stack %s is the cluster's, and its file does not have these: they are left alone", p.Name)
			}
		}
	}
	if found.Accepted = err == nil; err != nil {
		found.Why = err.Error()
	}
	return found
}

// projectsOf are the Compose projects of a node that are not the cluster's.
func projectsOf(ctx context.Context, c *otto.Cluster, n otto.Node) ([]otto.Project, error) {
	fleet := bootstrap.New(bootstrap.Options{Log: slog.New(slog.DiscardHandler)})
	defer fleet.Close()
	return fleet.Projects(ctx, n, authority(c))
}

// withStack is otto.yaml with one more stack, as it would be read. Nothing is written.
func (a *app) withStack(s config.Stack) ([]byte, *config.File, error) {
	data, err := os.ReadFile(a.config)
	if err != nil {
		return nil, nil, err
	}
	data, err = config.AddStack(data, s)
	if there := (config.StackThereError{}); errors.As(err, &there) {
		err = fmt.Errorf("%s:%d: a stack %s is here already, from %s: it needs another name first", a.config, there.Line, there.Name,
			strings.Join(there.Compose, ", "))
	}
	if err != nil {
		return nil, nil, err
	}
	defer collectRarely()()
	f, err := config.LoadAs(a.config, data, os.LookupEnv)
	return data, f, err
}

// adopt takes over a project.
func (a *app) adopt(ctx context.Context, node, project string, o adoptOptions) error {
	d, v, err := a.controlled(ctx)
	if err != nil {
		return err
	}
	n, err := findNode(v, node)
	if err != nil {
		return err
	}
	projects, err := projectsOf(ctx, v, n.Node)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(projects, func(p otto.Project) bool { return p.Name == project })
	if i < 0 && len(servicesOf(v, project)) > 0 {
		a.printAdopted(project, node, nil)
		return nil
	}
	if i < 0 {
		var names []string
		for _, p := range projects {
			names = append(names, p.Name)
		}
		return fmt.Errorf("no Compose project %q on %s: there are %s", project, node, cmpOr(strings.Join(names, ", "), "none"))
	}
	temp := filepath.Join(filepath.Dir(a.config), "."+project+".adopt")
	src, err := a.sourceOf(ctx, v, n.Node, projects[i], o.files, temp)
	if err != nil {
		return fmt.Errorf("project %s: %w", project, err)
	}
	defer src.close()
	adopting := adoption{stack: src.stack, project: projects[i], begun: begunOf(v, project)}
	t, p, err := a.planTakeover(ctx, adopting)
	if err != nil {
		return err
	}
	t.Brought = append(t.Brought, src.Files...)
	t.Notes = append(t.Notes, src.Notes...)
	if len(t.Containers) == 0 && len(adopting.begun) > 0 {
		a.printAdopted(project, node, t.Left)
		return nil
	}
	if a.json() {
		if err := a.printJSON(t); err != nil {
			return err
		}
	} else {
		a.printTakeover(t)
	}
	if len(t.Refused) > 0 {
		return fmt.Errorf("%s was not taken over: %s", project, strings.Join(t.Refused, "; "))
	}
	if !o.yes {
		if err := a.confirm("Take it over?"); err != nil {
			return err
		}
	}
	if err := src.settle(a); err != nil {
		return err
	}
	adopting.stack = src.stack
	if t.record, p, err = a.builtTakeover(ctx, d, adopting, t.record, p); err != nil {
		return err
	}
	// First the record: without it what is wanted would find names and volumes that are not
	// the cluster's.
	if err := d.client().Adopt(ctx, t.record); err != nil {
		return err
	}
	o.shown = true
	add := func(data []byte) ([]byte, error) { return config.AddStack(data, src.stack) }
	if err := a.applyAdoption(ctx, o.startOptions, add, p); err != nil {
		return err
	}
	look := func(ctx context.Context) ([]otto.Project, error) { return projectsOf(ctx, v, n.Node) }
	for _, name := range untilGone(ctx, look, t.record) {
		fmt.Fprintf(a.err, "warning: container %s of Compose's is stopped, and not removed yet: Otto goes on trying\n", name)
	}
	return nil
}

// How long adopt waits for the removal of the containers that others follow now, and how often
// it looks.
const (
	goneWithin = 30 * time.Second
	goneLook   = 300 * time.Millisecond
)

// untilGone waits until the former containers of a takeover are removed, which they are a moment
// after those that follow them are up. It returns the names of those that are not within
// goneWithin.
func untilGone(ctx context.Context, look func(context.Context) ([]otto.Project, error), of otto.Adoption) (left []string) {
	ctx, cancel := context.WithTimeout(ctx, goneWithin)
	defer cancel()
	for {
		projects, err := look(ctx)
		if err == nil {
			left = nil
		}
		for _, p := range projects {
			for _, c := range p.Containers {
				if _, former := of.Container(c.ID); former {
					left = append(left, c.Name)
				}
			}
		}
		if err == nil && len(left) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return left
		case <-time.After(goneLook):
		}
	}
}

// adoption is a project that is to be taken over.
type adoption struct {
	stack   config.Stack
	project otto.Project
	begun   []string // services that the cluster runs already
}

// printAdopted says that there is nothing to take over.
func (a *app) printAdopted(project, node string, left []string) {
	if a.json() {
		return
	}
	if len(left) > 0 {
		fmt.Fprintf(a.out, "%s is a stack of this cluster. Its file does not have %s on %s, which stay Compose's.\n", project,
			strings.Join(left, ", "), node)
		return
	}
	fmt.Fprintf(a.out, "%s is a stack of this cluster, and nothing of it is Compose's on %s.\n", project, node)
}

// applyAdoption writes the stack into otto.yaml, if it is not there, and waits until it is up.
func (a *app) applyAdoption(ctx context.Context, o startOptions, add func([]byte) ([]byte, error), p otto.Plan) error {
	quiet := *a
	if a.json() { // what was planned has been printed, and is the only document
		quiet.out = a.err
		quiet.output = "text"
	}
	return quiet.applyEdit(ctx, o, add, p, fmt.Sprintf("%s has the stack now.", filepath.Base(a.config)))
}

// builtTakeover builds what the stack builds, before anything is changed, and returns the record
// and the plan with that. A build that fails leaves the project as it is.
func (a *app) builtTakeover(ctx context.Context, d stateDir, of adoption, record otto.Adoption, p otto.Plan) (
	otto.Adoption, otto.Plan, error,
) {
	data, f, err := a.withStack(of.stack)
	if err != nil || len(f.Builds) == 0 {
		return record, p, err
	}
	if err := a.buildAll(ctx, d, f); err != nil {
		return record, p, err
	}
	record = takeoverOf(of.project, of.stack.Node, f.Wanted.Services, of.begun).record
	p, err = a.planOf(ctx, data)
	return record, p, err
}

// planTakeover is what would be taken over, and what the file with the stack would change.
func (a *app) planTakeover(ctx context.Context, of adoption) (t takeover, p otto.Plan, err error) {
	data, f, err := a.withStack(of.stack)
	if err != nil {
		a.warn(f)
		return t, p, err
	}
	if p, err = a.planOf(ctx, data); err != nil {
		return t, p, err
	}
	for _, c := range p.Changes {
		if c.Noun != "service" || !ofStack(c.Name, of.stack.Name) {
			return t, p, fmt.Errorf("%s has other changes that are not applied yet, such as of %s %s: look at `otto plan`, and "+
				"`otto apply` or undo them first", a.config, c.Noun, c.Name)
		}
	}
	return takeoverOf(of.project, of.stack.Node, f.Wanted.Services, of.begun), p, nil
}

func (a *app) printTakeover(t takeover) {
	fmt.Fprintf(a.out, "Project %s on %s becomes a stack of this cluster. Each container is made anew once.\n\n", t.Stack, t.Node)
	rows := [][]string{{"CONTAINER", "BECOMES", "KEEPS"}}
	for _, c := range t.Containers {
		rows = append(rows, []string{c.Name, c.Instance, dash(strings.Join(c.Keeps, ", "))})
	}
	table(a.out, false, 0, rows)
	fmt.Fprintln(a.out)
	a.line("volumes", strings.Join(t.Volumes, ", "))
	a.line("networks", strings.Join(t.Networks, ", "))
	if n := len(t.Brought); n > 0 {
		const shown = 10
		more := ""
		if n > shown {
			more = fmt.Sprintf(" and %d more", n-shown)
		}
		a.line("brought", "to "+t.Stack+"/: "+strings.Join(t.Brought[:min(n, shown)], ", ")+more)
	}
	a.line("left alone", strings.Join(t.Left, ", "))
	for _, n := range t.Notes {
		fmt.Fprintln(a.out, "Note: "+n+".")
	}
}
