package e2e_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
)

// dataProject writes to a folder and to a single file beside its Compose file.
const dataProject = `
services:
  db:
    image: redis:alpine
    user: "999:1000"
    entrypoint: [sh, -c, "id -u >>/data/ran && exec sleep 10000"]
    stop_grace_period: 0s
    restart: unless-stopped
    volumes: ["./data:/data", "./acme.json:/acme.json"]
  web:
    image: redis:alpine
    user: root
    entrypoint: [sh, -c, "exec sleep 10000"]
    stop_grace_period: 0s
    restart: unless-stopped
    volumes: ["./data/www:/www:ro", "./conf:/conf:ro", "./fresh:/fresh"]
`

// makeData makes 200 MB of files in a folder: of three owners, with all kinds of permissions,
// links and names.
func makeData(t *testing.T, project string) {
	t.Helper()
	script := `set -e
cd "$1"
mkdir -p data/www data/base/16384 data/empty/deep data/private conf
echo configuration >conf/app.conf
echo '{"account": 1}' >acme.json
for i in 1 2 3 4; do head -c 48000000 /dev/urandom >"data/base/16384/$i"; done
i=0; while [ $i -lt 300 ]; do head -c 20000 /dev/urandom >"data/www/page-$i"; i=$((i+1)); done
printf 'latin' >"$(printf 'data/caf\351')"
printf 'odd' >"$(printf 'data/a\nb\t"c')"
mkdir "$(printf 'data/\377\376')"
echo in >"$(printf 'data/\377\376/in')"
ln -s base/16384/1 data/current
ln -s /var/lib/nowhere data/dangling
ln -s ../../../../etc/passwd data/out
ln data/base/16384/2 data/base/hard
ln data/www/page-1 data/same
printf 'run' >data/run
chown -R 999:1000 data
chown -R 1000:1000 data/www
chown 0:0 data/private acme.json data/run
chown -h 1000:999 data/dangling
chown 0:999 data/base/16384/3
chmod 700 data/private data/base
chmod 600 acme.json data/base/16384/1
chmod 400 data/base/16384/4
chmod 4755 data/run
chmod 1777 data/empty
chmod 2770 data/empty/deep
touch -h -d '2021-02-03 04:05:06.789012345 UTC' data/dangling data/www/page-2
`
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", script, "sh", project).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// listing has find and sha256sum say all that there is at $1, in base64. The time of the folder
// itself is left out, and so is a file ran: a service writes that into it.
const listing = `at=.; cd "$1" 2>/dev/null || { cd "$(dirname "$1")"; at=$(basename "$1"); }
{ find "$at" ! -name . ! -name ran -type d -printf '%P %y %m %U:%G %T@\0'
find "$at" ! -name ran ! -type d -printf '%P %y %m %U:%G %s %n %T@ %l\0'
find "$at" -name . -printf '%m %U:%G\0'
if [ "$at" = . ]; then find . -type f ! -name ran -print0 | xargs -0 sha256sum -z; else sha256sum <"$at"; fi
find "$at" -samefile base/hard -o -samefile same 2>/dev/null | sort | tr '\n' ' '; } | base64 -w0`

// listed are the records of a listing, in order.
func listed(t *testing.T, out string) (records []string) {
	t.Helper()
	all, err := base64.StdEncoding.DecodeString(strings.TrimSpace(out))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range strings.Split(string(all), "\x00") {
		records = append(records, fmt.Sprintf("%q", r))
	}
	slices.Sort(records)
	return records
}

// copyTime is how long a copy may take on a machine that has much to do.
const copyTime = 3 * time.Minute

// TestDataOfAProject has 200 MB beside a Compose file go to a node whose agent is root, and to
// one whose agent is not. The power of that one is cut in the middle, and then the control
// plane is killed. Nothing runs with a part of it; in the end independent tools find the same
// on both as here. From then on it is the node's: an apply never brings it again, what was
// edited here meanwhile stays here, and when the node is lost the data waits for it.
func TestDataOfAProject(t *testing.T) {
	l := lab.Up(t, 2)
	l.Images()
	l.Host("n1").Load("redis:alpine")
	l.Host("n2").Load("redis:alpine")
	nodes := strings.Replace(nodesYAML(l, "root", "n1", "n2"), "services:\n", "", 1)
	nodes = strings.Replace(nodes, l.Host("n2").IP+", user: root", l.Host("n2").IP+", user: otto", 1)
	file := nodes + "stacks:\n  - {name: one, compose: shop, node: n1}\n  - {name: two, compose: shop, node: n2}\n"
	c := lab.NewCluster(t, file)
	c.Know(l)
	tellIfFailed(t, c)
	shop := filepath.Join(c.Dir, "shop")
	if err := errors.Join(os.MkdirAll(shop, 0o755), os.WriteFile(filepath.Join(shop, "compose.yaml"), []byte(dataProject), 0o644)); err != nil {
		t.Fatal(err)
	}
	makeData(t, shop)
	here := map[string][]string{}
	for _, path := range []string{"data", "acme.json"} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", listing, "sh", filepath.Join(shop, path)).Output()
		if err != nil {
			t.Fatal(err)
		}
		here[path] = listed(t, string(out))
	}

	seeds := map[string]string{"n1": "/root/.local/share/otto/faults/data", "n2": "/home/otto/.local/share/otto/faults/data"}
	someOnN2 := func() {
		t.Helper()
		within(t, copyTime, "some of the data is on n2", func() bool {
			out, _ := l.Host("n2").TryExec("sh", "-c", "du -sm "+seeds["n2"]+"/.new-*/tree 2>/dev/null | sort -n | tail -1")
			var megabytes int
			_, err := fmt.Sscan(out, &megabytes)
			return err == nil && megabytes >= 20
		})
	}
	nothingOnN2 := func(after string) {
		t.Helper()
		if out, err := l.Host("n2").TryDocker("inspect", "two-db-1"); err == nil {
			t.Errorf("%s, it was made with a part of its data:\n%s", after, out)
		}
	}
	l.Host("n2").Rate("60mbit")
	start := c.Command(t.Context(), "cluster", "start", "--accept-new-host-keys", "--log-level", "debug")
	if err := start.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- start.Wait() }()
	someOnN2()
	l.Host("n2").Kill()
	if err := <-ended; err == nil {
		t.Error("the start says that all is well without n2")
	}
	l.Host("n2").Boot()
	nothingOnN2("after a power cut")
	someOnN2()
	abandon(t, c)
	nothingOnN2("with a control plane that was killed")
	l.Host("n2").Rate("none")
	c.Run("cluster", "start", "--timeout", copyTime.String())
	c.Abandoned = false

	for host, stack := range map[string]string{"n1": "one", "n2": "two"} {
		container := stack + "-db-1"
		within(t, copyTime, container+" runs on "+host, func() bool {
			out, err := l.Host(host).TryDocker("inspect", "-f", "{{.State.Running}}", container)
			return err == nil && out == "true"
		})
		for path, at := range map[string]string{"data": "data", "acme.json": "acme_json"} {
			tree := strings.TrimSpace(l.Host(host).Exec("sh", "-c", "echo "+seeds[host]+"/"+stack+"."+at+".*/tree"))
			out := l.Host(host).Exec("sh", "-c", listing, "sh", tree)
			if diff := cmp.Diff(here[path], listed(t, out)); diff != "" || len(here[path]) < 2 {
				t.Errorf("%s on %s (-here +there)\n%s", path, host, diff)
			}
		}
		within(t, copyTime, stack+"-web-1 runs", func() bool {
			out, err := l.Host(host).TryDocker("exec", stack+"-web-1", "sh", "-c", "cat /conf/app.conf; ls /www | wc -l; ls /fresh | wc -l")
			return err == nil && strings.Join(strings.Fields(out), " ") == "configuration 300 0"
		})
		if out, _ := l.Host(host).TryExec("sh", "-c", "ls -A "+seeds[host]+" | grep '^.new-'"); out != "" {
			t.Errorf("on %s is left: %s", host, out)
		}
		within(t, copyTime, "no helper is left on "+host, func() bool {
			containers, images := l.Host(host).Docker("ps", "-a", "--format", "{{.Names}}"), l.Host(host).Docker("images")
			return !strings.Contains(containers, "otto-helper") && !strings.Contains(images, "otto-helper")
		})
	}

	if err := os.WriteFile(filepath.Join(shop, "data/edited-here"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c.Run("apply", "--yes")
	c.Run("service", "restart", "two/db")
	ran := func(times int) func() bool {
		return func() bool {
			out, err := l.Host("n2").TryDocker("exec", "two-db-1", "sh", "-c", "cat /data/ran; ls /data")
			return err == nil && strings.Count(out, "999\n") >= times && !strings.Contains(out, "edited-here")
		}
	}
	within(t, copyTime, "two/db has run twice with the same data", ran(2))
	if out := c.Run("volume", "ls"); !strings.Contains(out, "two.data.") || !strings.Contains(out, "two/db") {
		t.Errorf("its volumes are:\n%s", out)
	}

	l.Host("n2").Kill()
	within(t, copyTime, "n2 is lost", func() bool { return c.Status().Nodes[1].State == otto.NodeLost })
	if out := l.Host("n1").Docker("ps", "-a", "--format", "{{.Names}}"); strings.Contains(out, "two-db-1") {
		t.Errorf("it has begun without its data:\n%s", out)
	}
	l.Host("n2").Boot()
	within(t, copyTime, "two/db runs with its data again", ran(3))
}

// TestDataForAFullNode is not begun: the node says what is missing, and is given it when there
// is room.
func TestDataForAFullNode(t *testing.T) {
	l := lab.Up(t, 1)
	l.Images()
	n1 := l.Host("n1")
	n1.Load("redis:alpine")
	nodes := strings.Replace(nodesYAML(l, "otto", "n1"), "services:\n", "", 1)
	c := lab.NewCluster(t, nodes)
	c.Know(l)
	tellIfFailed(t, c)
	c.Run("cluster", "start", "--accept-new-host-keys")
	shop := filepath.Join(c.Dir, "shop")
	err := errors.Join(
		os.MkdirAll(filepath.Join(shop, "data"), 0o755),
		os.WriteFile(filepath.Join(shop, "compose.yaml"), []byte(strings.ReplaceAll(dataProject, `, "./conf:/conf:ro"`, "")), 0o644),
		os.WriteFile(filepath.Join(shop, "data/file"), make([]byte, 8<<20), 0o644), os.Chown(filepath.Join(shop, "data"), 999, 1000),
	)
	if err != nil {
		t.Fatal(err)
	}
	c.Write(nodes + "stacks:\n  - {name: one, compose: shop, node: n1}\n")
	n1.Fill()
	if out, err := c.Try("apply", "--yes", "--timeout", "20s"); err == nil || !strings.Contains(out, "waiting for its data") {
		t.Errorf("it says %v:\n%s", err, out)
	}
	within(t, copyTime, "the node says what is missing", func() bool {
		warnings := ""
		for _, n := range c.Status().Nodes {
			warnings += strings.Join(n.Warnings, "\n")
		}
		return strings.Contains(warnings, "the data ./acme.json could not be brought there: ") &&
			strings.Contains(warnings, "the data ./data could not be brought there: ") &&
			(strings.Contains(warnings, "there is no room") || strings.Contains(warnings, "disk is full"))
	})
	n1.Free()
	within(t, copyTime, "one/db runs", func() bool { return allUp(c) })
}
