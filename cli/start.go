package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/bootstrap"
	"github.com/otto-edge/otto/config"
)

type startOptions struct {
	acceptHostKeys bool
	foreground     bool
	newState       bool
	clusterID      string
	takeOver       bool
	timeout        time.Duration
	base           *uint64 // the revision that the changes were shown against
	shown          bool    // what changes has been shown
	yes            bool    // nothing is to be asked
}

func newStart(a *app) *cobra.Command {
	var o startOptions
	c := &cobra.Command{
		Use:   "start",
		Short: "Bring the cluster up: broker, control plane, agents, services",
		Long: `Start brings up everything that otto.yaml describes and then returns. What is up
already is left alone, so it can be run again at any time; after an edit of
otto.yaml it shows what changes and applies it. What does not come up within
--timeout is named with its reason; everything else keeps running.`,
		Example: `  otto cluster start
  otto cluster start --accept-new-host-keys --timeout 5m
  otto cluster start --foreground`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.clusterID != "" && !o.newState {
				return fmt.Errorf("%w: --cluster-id goes with --new-state", errUsage)
			}
			return a.start(c.Context(), o)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.acceptHostKeys, "accept-new-host-keys", false,
		"accept SSH host keys that are not known yet without asking; a changed one is an error all the same")
	f.BoolVar(&o.yes, "yes", false, "do not ask before more than 1 GiB of data is copied to a node")
	f.BoolVar(&o.foreground, "foreground", false, "keep the control plane attached; Ctrl-C ends it, services run on")
	f.BoolVar(&o.newState, "new-state", false,
		"the stored state is lost: set what is left of it aside and take otto.yaml as the truth")
	f.StringVar(&o.clusterID, "cluster-id", "",
		"with --new-state, where all of .otto is lost: the id of the cluster that its nodes belong to")
	f.BoolVar(&o.takeOver, "take-over", false,
		"this control plane has stepped down for a newer one: make it decide again, and the other one step down")
	f.DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long to wait for nodes and services")
	return c
}

func (a *app) start(ctx context.Context, o startOptions) error {
	f, err := a.load()
	if err != nil {
		return err
	}
	return a.bringUp(ctx, f, o)
}

// bringUp makes what a file wants so.
func (a *app) bringUp(ctx context.Context, f *config.File, o startOptions) error {
	d, err := a.dir()
	if err != nil {
		return err
	}
	if a.context != "" {
		if err := a.suited(ctx, d.client(), f); err != nil {
			return err
		}
		return a.apply(ctx, d.client(), f, o)
	}
	if err := d.orphaned(); err != nil {
		return err
	}
	if err := a.trust(ctx, f.Wanted.Nodes, o.acceptHostKeys); err != nil {
		return err
	}
	if err := a.buildAll(ctx, d, f); err != nil {
		return err
	}
	if !o.newState { // before there is anything in the directory
		if err := a.lost(ctx, d, f); err != nil {
			return err
		}
	}
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.remember(f, time.Now()); err != nil {
		return err
	}
	if err := d.rememberBuilds(a.built); err != nil {
		return err
	}
	if o.newState {
		if err := a.setAside(ctx, d, o.clusterID); err != nil {
			return err
		}
	}
	level, err := a.level()
	if err != nil {
		return err
	}
	remote := slices.ContainsFunc(f.Wanted.Nodes, func(n otto.Node) bool { return !n.IsLocal() })
	settings := controlFile{
		Version:  a.version,
		Name:     f.Name,
		MQTT:     f.MQTT,
		API:      f.API,
		Nodes:    len(f.Wanted.Nodes),
		TakeOver: o.newState,
		LogLevel: level,
		Remote:   remote,
	}
	if o.foreground {
		return a.startForeground(ctx, d, settings, f, o.timeout)
	}
	if err := a.ensureControlPlane(ctx, d, settings); err != nil {
		return err
	}
	if err := a.ensureRecoveryKey(d, settings); err != nil {
		return err
	}
	if o.takeOver {
		if err := d.client().TakeOver(ctx); err != nil {
			return err
		}
	}
	return a.apply(ctx, d.client(), f, o)
}

// trust asks about host keys that are not known, before anything is touched.
func (a *app) trust(ctx context.Context, nodes []otto.Node, accept bool) error {
	fleet := bootstrap.New(bootstrap.Options{Log: slog.New(slog.DiscardHandler)})
	defer fleet.Close()
	answers := bufio.NewReader(a.in)
	return fleet.Trust(ctx, nodes, func(n otto.Node, fingerprint string) (bool, error) {
		if accept {
			fmt.Fprintf(a.err, "node %s: accepting the new host key %s\n", n.ID, fingerprint)
			return true, nil
		}
		if !isTerminal(a.in) {
			return false, fmt.Errorf(
				"the host key of %s (%s) is not known: run this in a terminal to be asked, or pass --accept-new-host-keys",
				n.ID,
				fingerprint,
			)
		}
		fmt.Fprintf(a.err, "The host key of %s (%s) is not known yet: %s\nIs it the right one? [y/N] ", n.ID, n.Host,
			fingerprint)
		line, err := answers.ReadString('\n')
		if err != nil {
			return false, err
		}
		answer := strings.ToLower(strings.TrimSpace(line))
		return answer == "y" || answer == "yes", nil
	})
}

// setAside ends the control plane and keeps a lost store for a person to look at. The
// cluster stays the one that it was; clusterID says which, where nothing here knows it.
func (a *app) setAside(ctx context.Context, d stateDir, clusterID string) error {
	if err := endControlPlane(ctx, d); err != nil {
		return err
	}
	store := d.path(dirStore)
	aside := store + ".lost-" + time.Now().UTC().Format("20060102T150405")
	if err := os.Rename(store, aside); err == nil {
		fmt.Fprintf(a.err, "the former store is kept at %s\n", aside)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var c clusterFile
	if err := d.read(fileCluster, &c); err != nil {
		return err
	}
	if clusterID != "" && c.ClusterID != "" && clusterID != c.ClusterID {
		return fmt.Errorf("the cluster of %s has the id %s, not %s", d, c.ClusterID, clusterID)
	}
	c.StartedAt, c.ClusterID = time.Time{}, cmpOr(c.ClusterID, clusterID)
	return d.write(fileCluster, c)
}

// ensureControlPlane makes a control plane with these settings run. One that is
// just starting or ending, for a command that was killed perhaps, is waited for.
func (a *app) ensureControlPlane(ctx context.Context, d stateDir, want controlFile) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		_, err := d.client().Cluster(ctx)
		if err == nil {
			var have controlFile
			why := "its version or its settings have changed"
			if d.read(fileControl, &have) == nil && sameSettings(have, want) {
				why = d.amiss(ctx)
			}
			if why == "" {
				return nil
			}
			fmt.Fprintln(a.err, "control plane: started again, as "+why)
			err = endControlPlane(ctx, d)
		} else if errors.Is(err, api.ErrNotRunning) {
			err = nil
		}
		if err != nil {
			return err
		}
		if err := a.spawn(ctx, d, want); !errors.Is(err, errControlPlaneRuns) {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w (%s), and does not answer: see %s", errControlPlaneRuns, pidList(d.holders(false)),
				d.path(fileLog))
		}
	}
}

// amiss says what a control plane that answers lacks; empty if nothing.
func (d stateDir) amiss(ctx context.Context) string {
	if unlock, err := d.lockControlPlane(); err == nil {
		unlock()
		return "its supervisor, which starts it again when it dies, was gone"
	}
	p, err := d.client().Process(ctx)
	if err == nil && p.Dir != "" && p.Dir != string(d) {
		return "its directory was moved here from " + p.Dir
	}
	return ""
}

// sameSettings leaves out what does not need another control plane.
func sameSettings(a, b controlFile) bool {
	a.TakeOver, b.TakeOver = false, false
	return reflect.DeepEqual(a, b)
}

// apply makes what a file says what is wanted, shows what changes, and waits until it is so.
func (a *app) apply(ctx context.Context, c *api.Client, f *config.File, o startOptions) error {
	before, err := c.Cluster(ctx)
	if err != nil {
		return err
	}
	if o.base != nil && *o.base != before.Revision {
		return fmt.Errorf("%w: look at `otto plan` again", otto.ErrConflict)
	}
	if err := a.agreeToSeeds(ctx, c, f.Wanted, o.yes); err != nil {
		return err
	}
	if err := bringFiles(ctx, c, f); err != nil {
		return err
	}
	d, err := a.dir()
	if err != nil {
		return err
	}
	if !o.shown {
		for _, warning := range d.lostVariables(f) {
			fmt.Fprintln(a.err, "warning:", warning)
		}
	}
	var ship *shipper
	if len(f.Builds) > 0 {
		ship = a.newShipper(f, before)
		defer ship.close()
		if err := ship.prepare(ctx, c, before, f.Wanted); err != nil {
			return err
		}
	}
	changes, err := c.Apply(ctx, f.Wanted, before.Revision, false)
	if err != nil {
		return err
	}
	if err := d.rememberVariables(f); err != nil {
		fmt.Fprintf(a.err, "warning: which variables come from the shell is not remembered: %v\n", err)
	}
	if before.Revision > 0 && !a.json() && !o.shown {
		a.printChanges(changes)
	}
	last, err := a.bringImages(ctx, c, ship, o.timeout)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if a.json() {
		if err := a.printJSON(last); err != nil {
			return err
		}
	}
	if !a.json() {
		for _, n := range last.Nodes {
			for _, w := range n.Warnings {
				fmt.Fprintf(a.err, "warning: node %s: %s\n", n.ID, w)
			}
		}
	}
	missing := missing(last)
	if len(missing) == 0 {
		if !a.json() {
			fmt.Fprintf(a.out, "%s is up: %s, %s.\n", last.Name, count(len(last.Nodes), "node"),
				count(len(last.Services), "service"))
		}
		return nil
	}
	fmt.Fprintf(a.err, "otto: not everything is up; the rest keeps running, and Otto goes on trying:\n")
	for _, m := range missing {
		fmt.Fprintln(a.err, "  "+m)
	}
	return errPart
}

// bringImages waits until everything is up, after what was built has come to where it
// is to run. ship is nil if nothing was.
func (a *app) bringImages(ctx context.Context, c *api.Client, ship *shipper, limit time.Duration) (*otto.Cluster, error) {
	if ship != nil {
		if err := ship.follow(ctx, c, limit); err != nil {
			return nil, err
		}
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	last, err := a.follow(within, c)
	if ship != nil && last != nil {
		ship.copies(ctx, c, last)
		ship.tidy(ctx)
	}
	return last, err
}

func (a *app) printChanges(changes []otto.Change) {
	signs := map[string]string{"add": "+", "change": "~", "remove": "-"}
	for _, c := range changes {
		line := fmt.Sprintf("%s %s %s", signs[c.Kind], c.Noun, c.Name)
		if c.Detail != "" {
			line += ": " + c.Detail
		}
		fmt.Fprintln(a.out, line)
	}
}

// giveUpAfter is how long everything that is missing must have had its reason
// before start stops waiting: it may still mend itself, but not soon.
const giveUpAfter = 5 * time.Second

// follow prints what happens until everything is up, nothing more is to be
// expected soon, or ctx ends. It returns the last view.
func (a *app) follow(ctx context.Context, c *api.Client) (*otto.Cluster, error) {
	var last *otto.Cluster
	lines := newProgress(a)
	hopeless := time.Time{}
	err := c.Watch(ctx, func(now *otto.Cluster) bool {
		last = now
		if !a.json() {
			lines.show(now)
		}
		if len(missing(now)) == 0 {
			return false
		}
		if !stuck(now) {
			hopeless = time.Time{}
		} else if hopeless.IsZero() {
			hopeless = time.Now()
		}
		return hopeless.IsZero() || time.Since(hopeless) < giveUpAfter
	})

	if last == nil && err == nil {
		err = api.ErrNotRunning
	}
	if last != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return last, err
}

// missing names what is not as wanted, with the reason.
func missing(c *otto.Cluster) []string {
	var list []string
	if c.Problem != "" {
		list = append(list, c.Problem)
	}
	waiting := map[string][]string{} // instances, by their node
	var failed []string
	var down []otto.PlacedInstance
	for _, s := range c.Services {
		if going(s) && len(s.Instances) > 0 {
			failed = append(failed,
				fmt.Sprintf("the update of service %s is not over: %s", s.Name, updateText(s.Rollout)))
		}
		for _, i := range s.Instances {
			switch {
			case i.Up():
			case i.State == otto.InstanceUnknown && !i.UpToDate:
				waiting[i.Node] = append(waiting[i.Node], i.Name)
			default:
				down = append(down, i)
			}
		}
	}
	for _, n := range c.Nodes {
		if settled(n) && n.Problem == "" && waiting[n.ID] == nil {
			if stops(n) {
				list = append(list, fmt.Sprintf("node %s still stops what is not wanted there", n.ID))
			}
			continue
		}
		line := fmt.Sprintf("node %s is %s", n.ID, n.State)
		if why := cmpOr(n.Problem, n.Step, n.Reason); why != "" {
			line += ": " + why
		}
		if names := waiting[n.ID]; names != nil {
			line += " (" + strings.Join(names, ", ") + " to run there)"
		}
		list = append(list, line)
	}
	return slices.Concat(list, failed, describeAll(down))
}

// stuck reports whether everything that is missing has said why.
func stuck(c *otto.Cluster) bool {
	bad := map[string]bool{}
	for _, n := range c.Nodes {
		bad[n.ID] = n.Problem != ""
		if !bad[n.ID] && (!settled(n) || stops(n)) {
			return false
		}
	}
	for _, s := range c.Services {
		if going(s) {
			return false
		}
		for _, i := range s.Instances {
			failed := i.State == otto.InstanceFailed || i.State == otto.InstancePaused ||
				i.Error != "" && i.State != otto.InstanceStarting // the error is of a former attempt
			if !i.Up() && !failed && !bad[i.Node] && !strings.HasPrefix(i.Reason, "waiting: ") {
				return false
			}
		}
	}
	return true
}

// settled reports whether a node reports and is as a person wants it: one that is
// being drained may stay so for good, and is empty already as a rule.
func settled(n otto.NodeStatus) bool {
	return n.State == otto.NodeReady || n.State == otto.NodeDraining && n.Intent.Draining
}

// stops reports whether a node has yet to stop what is not wanted there any more.
func stops(n otto.NodeStatus) bool { return n.State == otto.NodeReady && !n.Current }

// going reports whether an update of a service is under way, or on its way back.
func going(s otto.ServiceStatus) bool {
	return s.Rollout != nil && (s.Rollout.State == otto.UpdateGoing || s.Rollout.State == otto.UpdateBack)
}

func cmpOr(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
