package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/e2e/lab"
)

// TestNamesakeTouchesOnlyItsOwn runs every command in a second directory with the same
// name of the cluster and the same host, and lists a machine twice.
func TestNamesakeTouchesOnlyItsOwn(t *testing.T) {
	l := lab.Up(t, 2)
	l.Images()
	first, second := l.Host("n1"), l.Host("n2")
	first.Load("otto-echo:1")
	second.Load("otto-echo:1")
	const services = "services:\n  web: {image: 'otto-echo:1'}\n  db: {image: 'otto-echo:1', node: n1, volumes: ['db:/data']}\n"
	node := func(id, host, user string) string {
		return fmt.Sprintf("  - {id: %s, host: %q, user: %s, identity_file: %s}\n", id, host, user, l.Key)
	}
	file := func(name string, port int, nodes, services string) string {
		return fmt.Sprintf("cluster: {name: %s}\nmqtt: {host: 10.77.0.1, port: %d}\nnodes:\n%s%s", name, port, nodes,
			services)
	}
	c := lab.NewCluster(t, file("same", 18831, node("n1", first.IP, "otto"), services))
	c.Know(l)
	c.Start()
	const inspect = `docker ps -aq | sort | xargs docker inspect -f '{{.Id}} {{.Name}} {{.State.Status}} {{.State.StartedAt}}'; docker volume ls; docker network ls -q; ls -I snapshot.1 -I snapshot.new ~otto/.local/share/otto/same; pgrep -f '[o]tto-agent run '`
	runs := func() string { return first.SSH(inspect) }
	lab.Until(t, "the first snapshot of the state", func() bool { return strings.Contains(runs(), "\nsnapshot\n") })
	before := runs()
	unharmed := func(t *testing.T, what string) {
		t.Helper()
		if diff := cmp.Diff(before, runs()); diff != "" {
			t.Errorf("after %s (-before +after):\n%s", what, diff)
		}
	}

	t.Run("a lost directory", func(t *testing.T) {
		other := lab.NewCluster(t, file("same", 18832, node("n1", first.IP, "otto"), services))
		other.Know(l)
		out, err := other.Try("cluster", "start", "--timeout", "5s")
		if err == nil || !strings.Contains(out, "there is a cluster named same already (id ") ||
			strings.Contains(out, "recovery key:") {
			t.Errorf("%v\n%s", err, out)
		}
		unharmed(t, "start")
	})
	t.Run("a second cluster", func(t *testing.T) {
		other := lab.NewCluster(
			t,
			file("same", 18832, node("n1", first.IP, "otto")+node("n2", second.IP, "otto"),
				"services:\n  web: {image: 'otto-echo:1', node: n1}\n"),
		)
		other.Abandoned = true // n1 is not its own, and says so at each uninstall
		other.Know(l)
		commands := []string{
			"cluster start --timeout 5s",
			"node drain n1 --deadline 2s",
			"service restart web --timeout 2s",
			"service rm web",
			"cluster stop",
			"cluster uninstall --volumes --yes",
		}
		if _, asked := soak(t); asked {
			commands = append(commands, "cluster start --timeout 5s", "cluster stop",
				"cluster start --take-over --timeout 5s", "cluster start --new-state --timeout 5s",
				"apply --timeout 5s", "node cordon n1", "cluster stop", "cluster uninstall",
				"cluster start --timeout 5s", "cluster uninstall --volumes --yes")
		}
		for _, words := range commands {
			out, err := other.Try(strings.Fields(words)...)
			if refused := strings.Contains(out, "n1 belongs to another cluster named same (id "); !refused &&
				(strings.HasPrefix(words, "cluster start") || strings.HasPrefix(words, "cluster uninstall") || words == "cluster stop") {
				t.Errorf("otto %s: %v\n%s", words, err, out)
			}
			unharmed(t, "otto "+words)
		}
	})
	t.Run("a copied directory", func(t *testing.T) {
		copied := *c
		copied.Dir = t.TempDir()
		if out, err := exec.Command("cp", "-a", c.Dir+"/.", copied.Dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, words := range []string{"cluster stop", "cluster uninstall --volumes --yes"} {
			if out, err := copied.Try(
				strings.Fields(words)...); err == nil ||
				!strings.Contains(out, "is a copy of "+c.Dir) {
				t.Errorf("otto %s: %v\n%s", words, err, out)
			}
		}
		unharmed(t, "the copy")
	})
	t.Run("a machine twice", func(t *testing.T) {
		for name, nodes := range map[string]string{
			"by two names": node("a", second.IP, "otto") + node("b", second.IP, "otto"),
			"by two users": node("a", second.IP, "otto") + node("b", second.IP, "root"),
		} {
			twice := lab.NewCluster(t,
				file("twice", 18833, nodes, "services:\n  ss: {image: 'otto-echo:1', replicas: 2}\n"))
			twice.Abandoned = true
			twice.Know(l)
			out, err := twice.Try("cluster", "start", "--timeout", "15s")
			refused := regexp.MustCompile(
				"is the same machine as the one in line|list each machine once|one machine is one node of one user",
			)
			if err == nil || !refused.MatchString(out) {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
			if agents := second.SSH("pgrep -x otto-agent || true"); agents != "" {
				t.Errorf("%s: agents run: %s", name, agents)
			}
		}
	})
	t.Run("a supervisor alone", func(t *testing.T) {
		pid := controlProcess(t, c, false)
		if err := exec.Command("kill", "-9", strconv.Itoa(pid)).Run(); err != nil {
			t.Fatal(err)
		}
		lab.Until(t, "status names it", func() bool {
			return strings.Contains(c.Run("cluster", "status"), "the supervisor of the control plane is gone")
		})
		if out := c.Run("cluster",
			"start"); !strings.Contains(out, "its supervisor, which starts it again when it dies, was gone") {
			t.Error(out)
		}
		if len(c.Status().Warnings) > 0 || controlProcess(t, c, false) == pid {
			t.Errorf("after start: %q", c.Status().Warnings)
		}
		unharmed(t, "the death of the supervisor")
	})
	t.Run("a directory that goes", func(t *testing.T) {
		dir, away := filepath.Join(c.Dir, ".otto"), filepath.Join(c.Dir, "away")
		if err := os.Rename(dir, away); err != nil {
			t.Fatal(err)
		}
		pid := fmt.Sprint(controlProcess(t, c, true))
		for _, words := range []string{"cluster status", "cluster start"} {
			out, err := c.Try(strings.Fields(words)...)
			if err == nil ||
				!strings.Contains(out, "the state of this cluster") && !strings.Contains(out, "there is a cluster named same already") &&
					!strings.Contains(out, pid) {
				t.Errorf("otto %s: %v\n%s", words, err, out)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(away, dir); err != nil {
			t.Fatal(err)
		}
		c.Run("cluster", "start")
		unharmed(t, "the move")
	})
}

// TestTwoClustersShareHosts gives random commands to two clusters on the same hosts for
// as long as OTTO_SOAK says: none may touch what is the other's.
func TestTwoClustersShareHosts(t *testing.T) {
	long, asked := soak(t)
	if !asked {
		t.Skip("takes as long as OTTO_SOAK says, 30m for example")
	}
	l := lab.Up(t, 3)
	l.Images()
	for _, name := range hosts {
		l.Host(name).Load("otto-echo:1")
	}
	file := func(name string, port int, services string) string {
		return strings.Replace(nodesYAML(l, "otto", hosts...), "cluster: {name: faults}\nmqtt: {host: 10.77.0.1}",
			fmt.Sprintf("cluster: {name: %s}\nmqtt: {host: 10.77.0.1, port: %d}", name, port), 1) + services
	}
	variants := func(name string) []string {
		const web, db, kv = "  - {name: %[1]s-web, image: 'otto-echo:1', replicas: %[2]d}\n",
			"  - {name: %[1]s-db, image: 'otto-echo:1', node: n1, volumes: ['%[1]s-db:/data']}\n",
			"  - {name: %[1]s-kv, image: 'otto-echo:1', node: n2, volumes: ['%[1]s-kv:/data']}\n"
		return []string{
			fmt.Sprintf(web+db+kv, name, 2), fmt.Sprintf(web+db, name, 3), fmt.Sprintf(db+kv, name, 0),
		}
	}
	type member struct {
		*lab.Cluster
		name  string
		port  int
		files []string
	}
	var both []member
	for i, name := range []string{"one", "two"} {
		m := member{name: name, port: 18835 + i, files: variants(name)}
		m.Cluster = lab.NewCluster(t, file(name, m.port, m.files[0]))
		m.Know(l)
		m.Start()
		both = append(both, m)
	}
	runs := func(m member) (all string) {
		for _, name := range hosts {
			all += l.Host(name).SSH(fmt.Sprintf(
				`docker ps -aq --filter label=otto.cluster=%[1]s | sort | xargs -r docker inspect -f '{{.Id}} {{.Name}} {{.State.Status}} {{.State.StartedAt}}'; `+
					`docker volume ls -q | grep ^%[1]s || true; docker network ls -q --filter label=otto.cluster=%[1]s; ls -I 'snapshot*' ~otto/.local/share/otto/%[1]s 2>/dev/null; true`,
				m.name,
			))
		}
		return all
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	words := []string{
		"cluster start",
		"cluster start",
		"cluster start",
		"cluster stop",
		"apply",
		"apply",
		"apply",
		"node drain n3",
		"node uncordon n3",
		"service restart NAME-db",
		"service rm NAME-web --yes",
		"cluster uninstall --volumes --yes",
	}
	given, failed := 0, 0
	for end := time.Now().Add(long); time.Now().Before(end); given++ {
		i := random.IntN(2)
		actor, other := both[i], both[1-i]
		before := runs(other)
		actor.Write(file(actor.name, actor.port, actor.files[random.IntN(len(actor.files))]))
		command := strings.ReplaceAll(words[random.IntN(len(words))], "NAME", actor.name)
		out, err := actor.Try(strings.Fields(command)...)
		if err != nil {
			failed++ // a stopped cluster refuses most of them
		}
		if diff := cmp.Diff(before, runs(other)); diff != "" {
			t.Fatalf("otto %s of %s: %v\n%s\nchanged what %s has (-before +after):\n%s", command, actor.name, err, out,
				other.name, diff)
		}
	}
	t.Logf("%d commands in %s, %d of them refused", given, long, failed)
	for _, m := range both {
		m.Write(file(m.name, m.port, m.files[0]))
		m.Run("cluster", "start")
		m.Run("apply")
	}
}

// controlProcess is the process of a directory's control plane, or of its supervisor.
func controlProcess(t *testing.T, c *lab.Cluster, worker bool) int {
	t.Helper()
	out, err := exec.Command("pgrep", "-f", "^"+c.Path+" control-plane ").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range strings.Fields(string(out)) {
		line, _ := os.ReadFile("/proc/" + word + "/cmdline")
		if strings.Contains(string(line), "--worker") == worker {
			pid, _ := strconv.Atoi(word)
			return pid
		}
	}
	t.Fatalf("no control plane among %s", out)
	return 0
}

// TestFormerReleaseIsTakenOverAsItRuns starts a cluster by the release before cluster ids
// and goes on with this one: OTTO_FORMER is the path of that otto.
func TestFormerReleaseIsTakenOverAsItRuns(t *testing.T) {
	former := os.Getenv("OTTO_FORMER")
	if former == "" {
		t.Skip("needs an otto of before, which takes minutes to build: OTTO_FORMER=$(scripts/former COMMIT)")
	}
	l := lab.Up(t, 2)
	l.Images()
	nodes := ""
	for _, name := range []string{"n1", "n2"} {
		l.Host(name).Load("otto-echo:1")
		nodes += fmt.Sprintf("  - {id: %s, host: %s, user: otto, identity_file: %s}\n", name, l.Host(name).IP, l.Key)
	}
	c := lab.NewCluster(t, "cluster: {name: former}\nmqtt: {host: 10.77.0.1, port: 18834}\nnodes:\n"+nodes+
		"services:\n  web: {image: 'otto-echo:1', node: n1, replicas: 2}\n  db: {image: 'otto-echo:1', node: n1, volumes: ['db:/data']}\n  kv: {image: 'otto-echo:1', node: n2, volumes: ['kv:/data'], depends_on: [web]}\n")
	c.Know(l)
	now := c.Path
	c.Path = former
	c.Start()
	runs := func() (all string) {
		for _, name := range []string{"n1", "n2"} {
			all += l.Host(
				name,
			).SSH(
				"docker ps -aq | sort | xargs docker inspect -f '{{.Id}} {{.Name}} {{.State.StartedAt}} {{.State.Status}} {{.RestartCount}}'; docker volume ls -q; docker network ls -q -f name=former",
			)
		}
		return all
	}
	before := runs()
	c.Path = now
	out := c.Run("cluster", "start")
	t.Log(out)
	if strings.Contains(out, "waiting for its former") {
		t.Errorf("something waits:\n%s", out)
	}
	if diff := cmp.Diff(before, runs()); diff != "" {
		t.Errorf("taken over (-before +after):\n%s", diff)
	}
	t.Log(before)
	for _, s := range c.Status().Services {
		for _, i := range s.Instances {
			if !i.Up() {
				t.Errorf("%s is %s: %s", i.Name, i.State, i.Error+i.Reason)
			}
		}
	}
	c.Run("cluster", "stop")
	c.Run("cluster", "start")
	c.Run("cluster", "uninstall", "--volumes", "--yes")
	for _, name := range []string{"n1", "n2"} {
		if left := strings.TrimSpace(
			l.Host(name).SSH("docker ps -aq; docker volume ls -q; docker network ls -q -f name=former"),
		); left != "" {
			t.Errorf("left on %s: %s", name, left)
		}
	}
}
