package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/bootstrap"
	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/doctor"
	"github.com/otto-edge/otto/doctor/examine"
	"github.com/otto-edge/otto/mqtt"
	"github.com/otto-edge/otto/wire"
)

func newDoctor(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "doctor [NODE...]",
		Short: "Examine nodes, broker and this machine, and say what to mend",
		Long: `Doctor looks for what makes clusters of small machines fail: a node, an agent or
an engine that does not answer, clocks that differ, disks that are full or slow,
memory limits that are ignored, a weak power supply, Wi-Fi that sleeps, logs
without bounds, a broker that cannot be reached, secrets that others may read. It
works before the cluster is started and while the control plane is down, and
changes nothing. With names of nodes it examines only those.

The exit code is 0 if there is no problem, and 1 if there is one; warnings do not
count.`,
		Example: `  otto doctor
  otto doctor rpi-01 --all
  otto doctor --output json`,
		RunE: func(c *cobra.Command, nodes []string) error { return a.doctor(c.Context(), nodes, all) },
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "show what is fine, too")
	return c
}

func (a *app) doctor(ctx context.Context, only []string, all bool) error {
	k, err := a.know(ctx)
	if err != nil {
		return err
	}
	if err := k.narrow(only); err != nil {
		return err
	}
	findings := judge(k.examine(ctx))
	if len(only) == 0 {
		findings = append(doctor.Machine(k.here(ctx)), findings...)
	}
	if a.json() {
		err = a.printJSON(findings)
	} else {
		a.printFindings(findings, k.nodes, all)
		problems, warnings, fine := doctor.Count(findings, doctor.Problem), doctor.Count(findings, doctor.Warning), doctor.Count(findings, doctor.OK)
		fmt.Fprintf(a.out, "\n%s, %s, %s fine.\n", count(problems, "problem"), count(warnings, "warning"), count(fine, "check"))
	}
	if err == nil && doctor.Count(findings, doctor.Problem) > 0 {
		err = errFound
	}
	return err
}

// known is what there is to know of a cluster on this machine, whatever of it is
// broken.
type known struct {
	version  string
	dir      stateDir
	file     *config.File    // nil if otto.yaml is wrong
	problems []doctor.Remark // of otto.yaml
	name     string          // of the cluster
	mqtt     config.MQTT     // as the control plane has it, else as otto.yaml says
	started  bool            // and not stopped since
	cluster  *otto.Cluster
	running  bool
	control  string // why the control plane cannot be asked
	nodes    []otto.Node
}

// askWithin is how long a control plane may take to answer.
const askWithin = 5 * time.Second

func (a *app) know(ctx context.Context) (*known, error) {
	d, err := a.dir()
	if err != nil {
		return nil, err
	}
	k := &known{version: a.version, dir: d}
	k.readFile(a.config)
	var remembered clusterFile
	if err := d.read(fileCluster, &remembered); err == nil {
		k.name = cmpOr(remembered.ClusterName, k.name)
	} else if !errors.Is(err, fs.ErrNotExist) {
		k.control = err.Error()
	}
	var settings controlFile
	if d.read(fileControl, &settings) == nil {
		k.mqtt = settings.MQTT
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	if !remembered.StartedAt.IsZero() {
		k.ask(ctx)
	}
	k.listNodes()
	return k, nil
}

func (k *known) readFile(path string) {
	f, err := config.Load(path, os.LookupEnv)
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		k.problems = remarks(problems)
	case err != nil:
		k.problems = []doctor.Remark{{What: err.Error(), Try: "name a file that you may read, by --config"}}
	default:
		k.file, k.name, k.mqtt = f, f.Name, f.MQTT
	}
}

func remarks(list config.Problems) (out []doctor.Remark) {
	for _, p := range list {
		place := p
		place.Try = ""
		out = append(out, doctor.Remark{What: place.Error(), Try: p.Try})
	}
	return out
}

// ask looks at a cluster that has been started.
func (k *known) ask(ctx context.Context) {
	c, running, err := look(ctx, k.dir)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		k.control = fmt.Sprintf("the control plane does not answer within %s: look at %s", askWithin, k.dir.path(fileLog))
	case err != nil && running:
		k.control = "the control plane does not answer as it should: " + err.Error()
	}
	if err != nil {
		c = &otto.Cluster{Name: k.name}
	}
	k.cluster, k.running, k.started = c, running && err == nil, !c.Stopped
}

// listNodes are those of otto.yaml, and those that the control plane has besides.
func (k *known) listNodes() {
	if k.file != nil {
		k.nodes = slices.Clone(k.file.Wanted.Nodes)
	}
	if k.cluster == nil {
		return
	}
	for _, n := range k.cluster.Nodes {
		if !slices.ContainsFunc(k.nodes, func(o otto.Node) bool { return o.ID == n.ID }) {
			k.nodes = append(k.nodes, n.Node)
		}
	}
}

// narrow keeps the nodes that were asked for.
func (k *known) narrow(only []string) error {
	if len(only) == 0 {
		return nil
	}
	ids := nodeIDs(k.nodes)
	for _, id := range only {
		if !slices.Contains(ids, id) {
			return fmt.Errorf("%w: no node %q: there are %s", errUsage, id, cmpOr(strings.Join(ids, ", "), "none"))
		}
	}
	k.nodes = slices.DeleteFunc(k.nodes, func(n otto.Node) bool { return !slices.Contains(only, n.ID) })
	return nil
}

func (k *known) status(node string) *otto.NodeStatus {
	if k.cluster == nil {
		return nil
	}
	i := slices.IndexFunc(k.cluster.Nodes, func(n otto.NodeStatus) bool { return n.ID == node })
	if i < 0 {
		return nil
	}
	return &k.cluster.Nodes[i]
}

// atOnce is how many nodes are asked at the same time.
const atOnce = 32

// eachNode calls f for each node, for many at once.
func (k *known) eachNode(f func(i int, n otto.Node)) {
	var all sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, n := range k.nodes {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			f(i, n)
		})
	}
	all.Wait()
}

// examine looks at all nodes, and returns them in their order.
func (k *known) examine(ctx context.Context) []doctor.Exam {
	fleet := bootstrap.New(bootstrap.Options{})
	defer fleet.Close()
	exams := make([]doctor.Exam, len(k.nodes))
	k.eachNode(func(i int, n otto.Node) {
		x := fleet.Examine(ctx, n, k.name)
		status := k.status(n.ID)
		x.Started = k.started && status != nil
		if k.running {
			x.Status, x.Serving = status, true
		}
		exams[i] = x
	})
	return exams
}

func judge(exams []doctor.Exam) (findings []doctor.Finding) {
	for _, x := range exams {
		findings = append(findings, doctor.Node(x)...)
	}
	return findings
}

// here finds out about this machine.
func (k *known) here(ctx context.Context) doctor.Here {
	ctx, cancel := context.WithTimeout(ctx, examine.Within)
	defer cancel()
	h := doctor.Here{
		Version: k.version, Config: k.problems, Cluster: k.cluster, Running: k.running, Control: k.control,
		Remote: slices.ContainsFunc(k.nodes, func(n otto.Node) bool { return !n.IsLocal() }),
	}
	if k.file != nil {
		h.Warnings = remarks(k.file.Warnings)
	}
	if k.file != nil || k.running {
		h.Broker = k.tryBroker(ctx, h.Remote)
	}
	if k.running {
		if served, ok := strings.CutSuffix(k.cluster.Broker, " (served by Otto)"); ok {
			h.Needed = served
		}
		if p, err := k.dir.client().Process(ctx); err == nil {
			h.Listening = examine.Listening("", p.Pid)
		}
	}
	path := filepath.Dir(string(k.dir)) // where .otto will be
	if _, err := os.Stat(string(k.dir)); err == nil {
		path, h.Dir, h.Modes = string(k.dir), string(k.dir), openToOthers(string(k.dir))
		s := examine.Sync(ctx, path)
		h.Sync = &s
	}
	if disks := examine.Disks(path); len(disks) > 0 {
		h.Disk = &disks[0]
	}
	return h
}

// tryBroker logs in at the broker as it is seen from here. It is nil if the broker
// is Otto's own and no control plane runs that would serve it.
func (k *known) tryBroker(ctx context.Context, remote bool) *doctor.Broker {
	began := time.Now()
	if !k.running {
		plan, err := planBroker(ctx, k.mqtt, remote)
		switch {
		case err != nil:
			return &doctor.Broker{Problem: err.Error()}
		case plan.listen != "":
			return nil
		}
		return &doctor.Broker{Address: plan.dial, Took: time.Since(began), Open: isOpen(ctx, plan.dial, k.mqtt.TLS)}
	}
	b := &doctor.Broker{Address: net.JoinHostPort(cmpOr(k.mqtt.Host, "127.0.0.1"), strconv.Itoa(k.mqtt.Port))}
	t, err := k.brokerTLS().Config()
	if err == nil {
		err = mqtt.Probe(ctx, b.Address, t, k.mqtt.Username, k.mqtt.Password)
	}
	if err != nil {
		b.Problem = err.Error()
		return b
	}
	b.Took = time.Since(began)
	if served := strings.HasSuffix(k.cluster.Broker, " (served by Otto)"); !served {
		b.Open = isOpen(ctx, b.Address, k.mqtt.TLS)
	}
	return b
}

// isOpen reports whether a broker that is not ours passes on what somebody without a name
// publishes in the place of a node.
func isOpen(ctx context.Context, address string, by *wire.TLS) bool {
	t, err := by.Config()
	return err == nil && echo(ctx, address, t, config.MQTT{}) == nil
}

// brokerTLS is how the broker is spoken to: in our own way where it is ours.
func (k *known) brokerTLS() *wire.TLS {
	ca, err := os.ReadFile(k.dir.path(fileCA))
	var c clusterFile
	if err != nil || k.dir.read(fileCluster, &c) != nil {
		return k.mqtt.TLS
	}
	return &wire.TLS{CA: string(ca), ServerName: c.ClusterID, Own: true}
}

// openToOthers are the state directory and what is directly in it, as far as
// others may read it or it is not ours.
func openToOthers(dir string) (list []string) {
	names := []string{"."}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []string{err.Error()}
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	for _, name := range names {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			continue // gone since
		}
		if mode := info.Mode(); mode.Perm()&0o077 != 0 && mode.Type()&fs.ModeSymlink == 0 {
			list = append(list, fmt.Sprintf("%s (mode %04o)", filepath.Join(filepath.Base(dir), name), mode.Perm()))
		} else if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
			list = append(list, fmt.Sprintf("%s (of user %d)", filepath.Join(filepath.Base(dir), name), st.Uid))
		}
	}
	return list
}

// printFindings prints findings by machine, the worst of each first, and what is
// fine as a count.
func (a *app) printFindings(list []doctor.Finding, nodes []otto.Node, all bool) {
	width := 0
	if f, ok := a.out.(*os.File); ok && isTerminal(a.out) {
		width, _, _ = term.GetSize(int(f.Fd())) // unknown is not folded
	}
	hosts := map[string]string{"": "this machine"}
	for _, n := range nodes {
		hosts[n.ID] = fmt.Sprintf("%s (%s)", n.ID, n.Host)
	}
	checks := 0
	for _, f := range list {
		checks = max(checks, len(f.Check))
	}
	for len(list) > 0 {
		node := list[0].Node
		end := slices.IndexFunc(list, func(f doctor.Finding) bool { return f.Node != node })
		if end < 0 {
			end = len(list)
		}
		a.printMachine(a.out, hosts[node], list[:end], all, checks, width)
		list = list[end:]
	}
}

func (a *app) printMachine(w io.Writer, title string, list []doctor.Finding, all bool, checks, width int) {
	fine := doctor.Count(list, doctor.OK)
	if !all && fine == len(list) {
		fmt.Fprintf(w, "%s: fine (%s)\n", title, count(fine, "check"))
		return
	}
	fmt.Fprintln(w, title)
	for _, f := range list {
		if f.Level == doctor.OK && !all {
			continue
		}
		level := fmt.Sprintf("%-7s", f.Level)
		if a.colour() {
			level = map[doctor.Level]string{doctor.OK: green, doctor.Warning: yellow, doctor.Problem: red}[f.Level] + level + plain
		}
		indent := 2 + 7 + 2 + checks + 2
		fmt.Fprintf(w, "  %s  %-*s  %s\n", level, checks, f.Check, fold(wire.Plain(f.What), indent, width))
		if f.Try != "" {
			fmt.Fprintf(w, "%*s%s\n", indent, "", fold("→ "+wire.Plain(f.Try), indent, width))
		}
	}
}

// fold breaks a text into lines that end before width, all but the first indented;
// not at all if there is no room for that.
func fold(text string, indent, width int) string {
	if width-indent < 20 {
		return text
	}
	var b strings.Builder
	at := indent
	for i, word := range strings.Fields(text) {
		n := len([]rune(word))
		switch {
		case i == 0:
		case at+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteString(" ")
			at++
		}
		b.WriteString(word)
		at += n
	}
	return b.String()
}
