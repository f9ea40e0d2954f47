package e2e_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/e2e/lab"
)

// wholeYAML has configuration, data in relative folders and files, and a build. Each start of db is
// in its data.
const wholeYAML = `services:
  db:
    image: redis:alpine
    user: "999:1000"
    restart: always
    entrypoint: [sh, -c, "echo begun >>/data/ran && exec sleep 10000"]
    volumes: ["./data:/data", "./acme.json:/acme.json"]
    stop_grace_period: 0s
  web:
    build: ./web
    restart: unless-stopped
    depends_on: [db]
    volumes: ["./conf:/conf:ro", "./data/www:/www:ro"]
    stop_grace_period: 0s
`

// makeWhole makes the project of wholeYAML in a folder, as a script for the machine that it is on.
const makeWhole = `set -e
mkdir -p "$1" && cd "$1"
mkdir -p web conf data/www data/private
printf 'FROM redis:alpine\nENTRYPOINT []\nCMD ["sh", "-c", "cat /text /conf/app.conf; exec sleep 10000"]\nCOPY text /\n' >web/Dockerfile
echo built >web/text
echo configured >conf/app.conf
echo '{"account": 1}' >acme.json
i=0; while [ $i -lt 40 ]; do head -c 20000 /dev/urandom >"data/www/page-$i"; i=$((i+1)); done
printf 'latin' >"$(printf 'data/caf\351')"
ln -s www/page-1 data/current
ln data/www/page-2 data/same
echo run >data/run
chown -R 999:1000 data
chown -R 1000:1000 data/www
chown 0:0 data/private data/run acme.json
chmod 700 data/private
chmod 600 acme.json
chmod 4755 data/run
`

// fullProject is the project of wholeYAML on a machine, which it does things on.
type fullProject struct {
	t   *testing.T
	dir string
	on  func(args ...string) (string, error)
}

func (w fullProject) run(args ...string) string {
	w.t.Helper()
	out, err := w.on(args...)
	if err != nil {
		w.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(out)
}

func (w fullProject) docker(args ...string) string {
	w.t.Helper()
	return w.run(append([]string{"docker"}, args...)...)
}

// begin makes it and has Compose start it, and returns its data as it lists that.
func (w fullProject) begin(tool string) (data [2][]string) {
	w.t.Helper()
	w.run("sh", "-c", makeWhole, "sh", w.dir)
	w.run("sh", "-c", `cd "$1" && cat >compose.yaml <<'END'`+"\n"+wholeYAML+"END\n", "sh", w.dir)
	w.docker("build", "--tag", "shop-web", filepath.Join(w.dir, "web"))
	w.compose(tool, "up", "-d")
	lab.Until(w.t, "Compose has started it", func() bool { return w.starts() == 1 && w.says() == "built\nconfigured" })
	return w.data()
}

func (w fullProject) compose(tool string, args ...string) {
	w.t.Helper()
	w.run(append([]string{"sh", "-c", `cd "$1" && shift && exec "$@"`, "sh", w.dir, tool}, args...)...)
}

func (w fullProject) data() (data [2][]string) {
	w.t.Helper()
	for i, name := range []string{"data", "acme.json"} {
		data[i] = listed(w.t, w.run("sh", "-c", listing, "sh", filepath.Join(w.dir, name)))
		if len(data[i]) < 2 {
			w.t.Fatalf("%s has nothing in it", name)
		}
	}
	return data
}

// starts is how often db has begun with its data.
func (w fullProject) starts() int {
	out, _ := w.on("cat", filepath.Join(w.dir, "data/ran"))
	return strings.Count(out, "begun")
}

func (w fullProject) says() string {
	out, _ := w.on("docker", "logs", "shop-web-1")
	return strings.TrimSpace(out)
}

func (w fullProject) ids() (ids [2]string) {
	w.t.Helper()
	for i, name := range []string{"shop-db-1", "shop-web-1"} {
		ids[i] = w.docker("inspect", "-f", "{{.Id}} {{.State.Running}}", name)
	}
	return ids
}

// is checks that both run once with their data, db having begun so many times.
func (w fullProject) is(when string, starts int, data [2][]string) {
	w.t.Helper()
	if got := w.starts(); got != starts {
		w.t.Errorf("%s: db has begun %d times, not %d", when, got, starts)
	}
	if diff := cmp.Diff(data, w.data()); diff != "" {
		w.t.Errorf("%s, its data (-before +now):\n%s", when, diff)
	}
	lab.Until(w.t, when+": there are two containers, which run", func() bool {
		out := w.docker("ps", "-a", "--filter", "name=shop", "--format", "{{.Names}} {{.State}}")
		return out == "shop-web-1 running\nshop-db-1 running" || out == "shop-db-1 running\nshop-web-1 running"
	})
}

// tool is Compose itself.
func tool(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(composeTool)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Skip("needs Compose itself: make bin/tools/docker-compose")
	}
	return path
}

// TestWholeProjectOfAnotherNodeIsAdopted has configuration, data and a build, and was started by
// Compose on a node that is not the control plane's machine. It is adopted from a copy without the data, used,
// given back, and Compose's again: at each step one recreation, and the data is the same by its checksums.
func TestWholeProjectOfAnotherNodeIsAdopted(t *testing.T) {
	compose := tool(t)
	l := lab.Up(t, 2)
	l.Engine()
	l.Images()
	l.Load("redis:alpine")
	n1 := l.Host("n1")
	n1.Load("redis:alpine")
	c := lab.NewCluster(t, strings.Replace(nodesYAML(l, "root", "n1", "n2"), "services:\n", "", 1))
	c.Know(l)
	tellIfFailed(t, c)
	c.Start()
	w := fullProject{t, "/srv/shop", n1.TryExec}
	data := w.begin(compose)
	before := w.ids()

	if out, err := c.Try("adopt", "n1", "shop", "--yes"); err == nil || !strings.Contains(out, "-f") || w.ids() != before {
		t.Errorf("its build is brought from there: %v\n%s", err, out)
	}
	shop := filepath.Join(c.Dir, "shop") // the copy that it asks for
	write := func(name, text string) {
		t.Helper()
		at := filepath.Join(shop, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"web/Dockerfile", "web/text", "conf/app.conf"} {
		write(name, w.run("cat", filepath.Join(w.dir, name))+"\n")
	}
	write("compose.yaml", wholeYAML)
	if out, err := c.Try("adopt", "n1", "shop", "-f", shop, "--yes"); err == nil || w.ids() != before || !strings.Contains(out, "/srv/shop/data:/data") {
		t.Errorf("its data would be another one: %v\n%s", err, out)
	}
	write("compose.yaml", strings.NewReplacer(`"./data`, `"/srv/shop/data`, `"./acme`, `"/srv/shop/acme`).Replace(wholeYAML))
	t.Log(c.Run("adopt", "n1", "shop", "-f", shop, "--yes"))
	w.is("adopted", 2, data)
	if got := w.says(); got != "built\nconfigured" {
		t.Errorf("adopted, it says %q", got)
	}
	if now := w.ids(); now[0] == before[0] || now[1] == before[1] {
		t.Error("adopted, its containers are Compose's")
	}

	before = w.ids()
	write("web/text", "built again\n")
	write("conf/app.conf", "configured again\n")
	c.Run("apply", "--yes")
	w.is("used", 2, data)
	if now := w.ids(); now[0] != before[0] || now[1] == before[1] || w.says() != "built again\nconfigured again" {
		t.Errorf("edited, it says %q; its containers are %v, and were %v", w.says(), now, before)
	}

	c.Run("release", "shop", "--yes")
	w.is("released", 3, data)
	before = w.ids()
	w.compose(compose, "up", "-d")
	w.is("Compose's again", 3, data)
	if now := w.ids(); now[0] != before[0] {
		t.Error("Compose makes db anew, which nobody has changed")
	}
	w.compose(compose, "down")
}

// TestWholeProjectOfThisMachineIsAdopted lies where the control plane runs, and is used in its place.
func TestWholeProjectOfThisMachineIsAdopted(t *testing.T) {
	compose := tool(t)
	l := lab.Up(t, 1)
	l.Engine()
	l.Images()
	l.Load("redis:alpine")
	c := lab.NewCluster(t, "name: home\nnodes:\n  - {id: here, host: localhost}\n")
	tellIfFailed(t, c)
	c.Start()
	w := fullProject{t, filepath.Join(c.Dir, "shop"), func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput() //nolint:gosec // of this test
		return string(out), err
	}}
	data := w.begin(compose)
	before := w.ids()
	t.Log(c.Run("adopt", "here", "shop", "--yes"))
	w.is("adopted", 2, data)
	if now := w.ids(); now[0] == before[0] || now[1] == before[1] || w.says() != "built\nconfigured" {
		t.Errorf("adopted, it says %q", w.says())
	}
	before = w.ids()
	if out := c.Run("apply", "--yes"); !strings.Contains(out, "Nothing would change.") || w.ids() != before {
		t.Errorf("an apply says:\n%s", out)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "web/text"), []byte("built again\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.Run("apply", "--yes")
	w.is("used", 2, data)
	if now := w.ids(); now[0] != before[0] || now[1] == before[1] || w.says() != "built again\nconfigured" {
		t.Errorf("edited, it says %q", w.says())
	}
	c.Run("release", "shop", "--yes")
	w.is("released", 3, data)
	before = w.ids()
	w.compose(compose, "up", "-d")
	w.is("Compose's again", 3, data)
	if now := w.ids(); now[0] != before[0] {
		t.Error("Compose makes db anew, which nobody has changed")
	}
	w.compose(compose, "down")
}
