package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otto-edge/otto/e2e/lab"
)

// TestTenStacksAreApart has ten projects with the same names in them on two nodes: each finds
// its own database, and the removal of one touches no other. Links hold without a network of
// the stack's own. One more, for which a node has
// not enough addresses left, is refused as a whole.
func TestTenStacksAreApart(t *testing.T) {
	l := lab.Up(t, 2)
	l.Images()
	nodes := []string{"n1", "n2"}
	for _, name := range nodes {
		l.Host(name).Load("redis:alpine")
	}
	yaml := strings.TrimSuffix(nodesYAML(l, "otto", nodes...), "services:\n") + "stacks:\n"
	var names []string
	for i := range 10 {
		name := fmt.Sprintf("s%d", i)
		names = append(names, name)
		yaml += fmt.Sprintf("  - {name: %s, compose: %s/compose.yaml}\n", name, name)
	}
	c := lab.NewCluster(t, yaml)
	c.Know(l)
	tellIfFailed(t, c)
	write := func(name, text string) {
		t.Helper()
		dir := filepath.Join(c.Dir, name)
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		write(name, fmt.Sprintf(`
services:
  db: {image: "redis:alpine", restart: always, volumes: ["data:/data"]}
  app:
    image: redis:alpine
    restart: on-failure
    depends_on: [db]
    entrypoint: [redis-cli, -h, db, append, whose, %s]
volumes: {data: {}}
`, name))
	}
	c.Start()
	lab.Until(t, "all is up", func() bool { return strings.Count(c.Run("stack", "ls"), "2/2") == 10 })

	homes := map[string]string{}
	for _, node := range nodes {
		for name := range strings.FieldsSeq(l.Host(node).Docker("ps", "--format", `{{.Label "com.docker.compose.project"}}`)) {
			homes[name] = node
		}
	}
	if len(homes) != 10 || l.Host("n1").Docker("ps", "-q") == "" || l.Host("n2").Docker("ps", "-q") == "" {
		t.Fatalf("ten stacks are on %v", homes)
	}
	looks := func() map[string]string { // of each stack: what runs, with which data, and what there is of it
		all := map[string]string{}
		for name, node := range homes {
			h := l.Host(node)
			filter := "label=com.docker.compose.project=" + name
			whose, _ := h.TryDocker("exec", name+"-db-1", "redis-cli", "get", "whose")
			run, _ := h.TryDocker("inspect", "-f", "{{.Id}} {{.State.StartedAt}}", name+"-db-1", name+"-app-1")
			all[name] = fmt.Sprintf("whose: %s\nnetworks: %s\nvolumes: %s\n%s", strings.TrimSpace(whose),
				h.Docker("network", "ls", "--filter", filter, "--format", "{{.Name}}"),
				h.Docker("volume", "ls", "--filter", filter, "--format", "{{.Name}}"), run)
		}
		return all
	}
	before := looks()
	for name, of := range before {
		want := fmt.Sprintf("whose: %s\nnetworks: %s_default\nvolumes: %s_data\n", name, name, name)
		if !strings.HasPrefix(of, want) || homes[name] == "" {
			t.Errorf("stack %s: %s", name, of)
		}
	}

	c.Run("stack", "rm", "s3")
	after := looks()
	for name, of := range after {
		if name != "s3" && of != before[name] {
			t.Errorf("the removal of s3 has touched %s:\n%s\nand now\n%s", name, before[name], of)
		}
	}
	if !strings.HasPrefix(after["s3"], "whose: \nnetworks: \nvolumes: s3_data\n") || strings.Contains(after["s3"], "Z") {
		t.Errorf("left of s3: %s", after["s3"])
	}

	write("old", `
services:
  db: {image: "redis:alpine", network_mode: bridge}
  app:
    image: redis:alpine
    network_mode: bridge
    links: ["db:sql"]
    restart: on-failure
    entrypoint: [redis-cli, -h, sql, ping]
    depends_on: [db]
`)
	c.Run("apply", "-f", "old", "--node", "n2", "--yes")
	lab.Until(t, "a link on the engine's own bridge is found", func() bool {
		out, _ := l.Host("n2").TryDocker("logs", "old-app-1")
		return strings.Contains(out, "PONG")
	})
	noAddresses(t, l, c, write)
}

// noAddresses gives the engine of n1 one network less than a stack needs.
func noAddresses(t *testing.T, l *lab.Lab, c *lab.Cluster, write func(name, text string)) {
	t.Helper()
	h := l.Host("n1")
	took := 0
	// The pool of an engine of the lab is 172.30.0.0/16, in networks of 256 addresses.
	for i, subnet := range []string{"172.30.16.0/20", "172.30.32.0/19", "172.30.64.0/18", "172.30.128.0/17"} {
		h.Docker("network", "create", "--subnet", subnet, fmt.Sprintf("large%d", i))
	}
	for i := 0; ; i++ {
		name := fmt.Sprintf("taken%d", i)
		if _, err := h.TryDocker("network", "create", name); err != nil {
			break
		}
		if took++; took > 16 {
			t.Fatal("the engine has addresses without end")
		}
	}
	h.Docker("network", "rm", "taken0")
	write("wide", `
services:
  a: {image: "redis:alpine", networks: [one]}
  b: {image: "redis:alpine", networks: [one, two]}
networks: {one: {}, two: {}}
`)
	out, err := c.Try("apply", "-f", "wide", "--node", "n1", "--timeout", "20s", "--yes")
	if err == nil || !strings.Contains(out, "the engine has no addresses left for network wide_") {
		t.Errorf("without addresses: %v\n%s", err, out)
	}
	if made := h.Docker("ps", "-aq", "--filter", "label=com.docker.compose.project=wide"); made != "" {
		t.Errorf("a part of it was made: %s", made)
	}
	h.Docker("network", "rm", "taken1")
	lab.Until(t, "with addresses it comes up", func() bool { return strings.Count(c.Run("stack", "ls"), "2/2") == 11 })
}
