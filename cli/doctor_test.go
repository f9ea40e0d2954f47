package cli

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/doctor"
)

func TestFindingsAreGroupedByMachine(t *testing.T) {
	list := []doctor.Finding{
		{Check: "config", Level: doctor.OK, What: "otto.yaml is right"},
		{Node: "n1", Check: "engine", Level: doctor.Problem, What: "it hangs", Try: "restart it"},
		{Node: "n1", Check: "ssh", Level: doctor.OK, What: "it answers"},
		{Node: "n2", Check: "logs", Level: doctor.Warning, What: "no bounds"},
	}
	nodes := []otto.Node{{ID: "n1", Host: "192.0.2.1"}, {ID: "n2", Host: "192.0.2.2"}}
	var out strings.Builder
	a := &app{out: &out}
	a.printFindings(list, nodes, false)
	const want = `this machine: fine (1 check)
n1 (192.0.2.1)
  problem  engine  it hangs
                   → restart it
n2 (192.0.2.2)
  warning  logs    no bounds
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	out.Reset()
	a.printFindings(list, nodes, true)
	for _, line := range []string{"this machine\n  ok       config  otto.yaml is right\n", "  ok       ssh     it answers\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("no %q in\n%s", line, out.String())
		}
	}
}

func TestLongTextIsFoldedBeforeTheEdge(t *testing.T) {
	text := strings.Repeat("word ", 20) + strings.Repeat("long", 10)
	got := "    " + fold(text, 4, 30)
	for line := range strings.Lines(got) {
		if !strings.HasPrefix(line, "    ") || len(strings.TrimRight(line, "\n")) > 30 && strings.Contains(line, "word") {
			t.Errorf("%q", line)
		}
	}
	if strings.Join(strings.Fields(got), " ") != text {
		t.Errorf("words are lost: %q", got)
	}
	if fold(text, 4, 0) != text || fold(text, 20, 30) != text {
		t.Error("it is folded without room")
	}
}

// startedCluster is a directory with a cluster that was started, and its .otto.
func startedCluster(t *testing.T) (*app, stateDir) {
	t.Helper()
	a := &app{config: filepath.Join(t.TempDir(), "otto.yaml"), version: "test"}
	if err := os.WriteFile(a.config, []byte("cluster: {name: home}\nmqtt: {port: 4}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := a.dir()
	if err == nil {
		err = d.write(fileCluster, clusterFile{ClusterName: "home", StartedAt: time.Now()})
	}
	if err != nil {
		t.Fatal(err)
	}
	return a, d
}

func TestControlPlaneThatHangsIsAFinding(t *testing.T) {
	a, d := startedCluster(t)
	l, err := net.Listen("unix", api.Socket(string(d))) // and accepts nobody
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	k, err := a.know(ctx)
	if err != nil || k.running || !strings.Contains(k.control, "the control plane does not answer within 5s") {
		t.Errorf("%+v, %v", k, err)
	}
	if f := doctor.Machine(k.here(t.Context()))[0]; f.Check != "control" || f.Level != doctor.Problem || f.Try == "" {
		t.Errorf("%+v", f)
	}
}

func TestNodesOfAViewAreExaminedWithoutAFile(t *testing.T) {
	a, d := startedCluster(t)
	if err := d.write(fileView, otto.Cluster{Name: "home", Nodes: []otto.NodeStatus{{Node: otto.Node{ID: "pi", Host: "192.0.2.7"}}}}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.config, []byte("nodes: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := a.know(t.Context())
	if err != nil || len(k.problems) == 0 || !k.started || k.name != "home" || len(k.nodes) != 1 || k.nodes[0].ID != "pi" {
		t.Errorf("%+v, %v", k, err)
	}
}

func TestWhatOthersMayReadIsNamed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), ".otto")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"control.json": 0o640, "cluster.json": 0o600} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{".otto/control.json (mode 0640)"}, openToOthers(dir)); diff != "" {
		t.Error(diff)
	}
}
