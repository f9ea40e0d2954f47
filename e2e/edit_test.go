package e2e_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/e2e/lab"
)

// TestEditedFileIsApplied edits otto.yaml of a running cluster, and takes it all
// away at the end.
func TestEditedFileIsApplied(t *testing.T) {
	l := lab.Up(t, 1)
	l.Images()
	h := l.Host("n1")
	h.Load("otto-echo:1", "nginx:alpine")
	before := traces(h)
	file := func(services string) string {
		return fmt.Sprintf(
			"cluster: {name: edited}\nmqtt: {host: 10.77.0.1}\nnodes:\n  - {id: pi, host: %s, user: otto, identity_file: %s}\nservices:\n%s",
			h.IP,
			l.Key,
			services,
		)
	}
	const web = "  - {name: web, image: 'nginx:alpine'}\n"
	c := lab.NewCluster(t, file(web+"  - {name: echo, image: 'otto-echo:1', environment: {COLOR: red}}\n"))
	c.Know(l)

	t.Run("two starts at once", func(t *testing.T) {
		var wg sync.WaitGroup
		var outs [2]string
		var errs [2]error
		for i := range outs {
			wg.Go(func() { outs[i], errs[i] = c.Try("cluster", "start") })
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("both end alike: %v, %v\n%s\n%s", errs[0], errs[1], outs[0], outs[1])
		}
		refused := outs[0]
		if errs[0] == nil {
			refused = outs[1]
		}
		if want := "otto: another otto command is changing this cluster right now: wait for it\n"; refused != want {
			t.Errorf("the second start says %q", refused)
		}
	})
	t.Run("edit", func(t *testing.T) {
		untouched := h.Docker("inspect", "-f", "{{.Id}} {{.State.StartedAt}}", "web")
		c.Write(
			file(
				web + "  - {name: echo, image: 'otto-echo:1', environment: {COLOR: blue}}\n  - {name: new, image: 'otto-echo:1'}\n",
			),
		)
		out := c.Run("cluster", "start")
		changes, _, _ := strings.Cut(out, "node pi")
		if diff := cmp.Diff("~ service echo: environment\n+ service new\n", changes); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		if env := h.Docker("inspect", "-f", "{{.Config.Env}}", "echo"); !strings.Contains(env, "COLOR=blue") {
			t.Errorf("environment of echo: %s", env)
		}
		if now := h.Docker("inspect", "-f", "{{.Id}} {{.State.StartedAt}}", "web"); now != untouched {
			t.Error("web was touched")
		}
	})
	t.Run("a service that fails", func(t *testing.T) {
		c.Write(
			file(web + "  - {name: echo, image: 'otto-echo:1', environment: {COLOR: blue}, command: ['-exit', '7']}\n"),
		)
		out, err := c.Try("cluster", "start", "--timeout", "20s")
		if err == nil ||
			!strings.Contains(out, "service echo is running on pi in its former version, as the new one failed: ") ||
			!strings.Contains(out, "it ended with exit code 7") ||
			!strings.Contains(out, "line 12: about to end with code 7") ||
			strings.Contains(out, "line 2:") {
			t.Errorf("start ends with %v and says:\n%s", err, out)
		}
		if names := h.Docker("ps", "--format",
			"{{.Names}} {{.Label \"otto.service\"}}"); !strings.Contains(names, "web") ||
			strings.Contains(names, "new") {
			t.Errorf("running: %s", names)
		}
	})
	t.Run("uninstall", func(t *testing.T) {
		c.Run("cluster", "uninstall", "--volumes", "--yes")
		if diff := cmp.Diff(before, traces(h)); diff != "" {
			t.Errorf("left on the node (-before +after):\n%s", diff)
		}
	})
}
