package control_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/ottotest"
	"github.com/otto-edge/otto/wire"
)

const planted = "hunter2-correct-horse"

// withSecret is what is wanted with services that have a secret of this content, beside
// one that has none.
func withSecret(content string, names ...string) otto.Wanted {
	w := otto.Wanted{
		Nodes:    []otto.Node{{ID: "a", Host: "a"}, {ID: "b", Host: "b"}},
		Contents: otto.Contents{"secret/password": otto.NewSecret([]byte(content))},
	}
	for _, name := range names {
		s := service(name, "a")
		s.Spec.Files = []otto.File{{
			Kind: otto.FileSecret, Name: "password", Target: "/run/secrets/password", Content: "secret/password",
		}}
		w.Services = append(w.Services, s)
	}
	w.Services = append(w.Services, service("plain", "a"))
	return w
}

// secretOf is what the container of an instance reads, as it runs; empty if it does not.
func secretOf(t *testing.T, c *ottotest.Cluster, host, instance string) string {
	t.Helper()
	for _, ctr := range c.Hosts[host].Runtime.List() {
		if ctr.Instance != instance || ctr.State != otto.ContainerRunning {
			continue
		}
		b, err := os.ReadFile(filepath.Join(c.Hosts[host].FilesDir(), ctr.SpecHash, "0"))
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	return ""
}

// log collects what is logged.
type log struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}

// TestSecretIsInItsFileAndNowhereElse searches all that is said, shown, sent and kept.
func TestSecretIsInItsFileAndNowhereElse(t *testing.T) {
	isNowhereElse(t, withSecret, secretOf)
}

// isNowhereElse has a service db have a planted secret, which its container then reads, and
// another one after it.
func isNowhereElse(
	t *testing.T,
	with func(content string, names ...string) otto.Wanted,
	read func(t *testing.T, c *ottotest.Cluster, host, instance string) string,
) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
		said := &log{}
		c.Log = slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.StartPlane()
		defer c.Close()
		w := with(planted, "db")
		p, err := c.Plane.Plan(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Apply(w); err != nil {
			t.Fatal(err)
		}
		view := c.WaitUp(time.Minute)
		if got := read(t, c, "a", "db"); got != planted {
			t.Fatalf("its container reads %q", got)
		}
		changes, err := c.Apply(with(planted+"!", "db"))
		if err != nil {
			t.Fatal(err)
		}
		c.Hosts["a"].Runtime.FailStart = func(otto.Instance) error { return os.ErrInvalid }
		c.Hosts["a"].Runtime.Exit("db", 1)
		time.Sleep(time.Minute)
		events, _ := c.Plane.Events(0)
		shown := map[string]any{"plan": p, "changes": changes, "view": view, "events": events, "later": c.Plane.Cluster()}
		places := map[string]string{"log": said.String(), "messages": string(c.Bus.Everything())}
		for name, v := range shown {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			places[name] = string(b)
		}
		err = filepath.WalkDir(c.Hosts["a"].Dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && path == c.Hosts["a"].FilesDir() {
				return fs.SkipDir
			}
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			places[path] = string(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		signed := c.Bus.Retained(wire.NodeTopic("a", wire.KindAssignment))
		asg, err := c.Hosts["a"].Enrolment().OpenStored(signed)
		if err != nil || len(asg.Sealed) == 0 {
			t.Fatalf("nothing is sealed for its node (%v)", err)
		}
		places["what is sealed, as it is sent"] = string(asg.Sealed)
		for name, text := range places {
			for _, form := range []string{planted, planted[:7], "aHVudGVyMi1jb3JyZWN0"} { // base64 of it
				if strings.Contains(text, form) {
					t.Errorf("it is in %s: %.2000s", name, text)
				}
			}
		}
	})
}

// TestChangedSecretRecreatesWhatUsesIt and nothing else; the same one again nothing at all.
func TestChangedSecretRecreatesWhatUsesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
		c.StartPlane()
		defer c.Close()
		ids := func() map[string]string {
			list := map[string]string{}
			for _, ctr := range c.Hosts["a"].Runtime.List() {
				list[ctr.Instance] = ctr.ID
			}
			return list
		}
		apply := func(w otto.Wanted) []otto.Change {
			t.Helper()
			changes, err := c.Apply(w)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			c.WaitUp(time.Minute)
			return changes
		}
		two := func(first, second string) otto.Wanted {
			w := withSecret(first, "one", "both")
			w.Contents["secret/other"] = otto.NewSecret([]byte(second))
			w.Services[1].Spec.Files = append(w.Services[1].Spec.Files, otto.File{
				Kind: otto.FileSecret, Name: "other", Target: "/run/secrets/other", Content: "secret/other",
			})
			return w
		}
		apply(two("1", "2"))
		was := ids()
		if changes := apply(two("1", "2")); len(changes) > 0 {
			t.Errorf("the same again changes: %v", changes)
		}
		c.KillPlane() // the key of the contents is kept
		c.StartPlane()
		time.Sleep(time.Minute)
		if diff := cmp.Diff(was, ids()); diff != "" {
			t.Errorf("containers were made anew:\n%s", diff)
		}
		changes := apply(two("1", "3"))
		want := []otto.Change{{Kind: "change", Noun: "service", Name: "both", Detail: "secret other has changed"}}
		if diff := cmp.Diff(want, changes); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		now := ids()
		if now["one"] != was["one"] || now["plain"] != was["plain"] || now["both"] == was["both"] {
			t.Errorf("containers were %v and are %v", was, now)
		}
		dirs, err := os.ReadDir(c.Hosts["a"].FilesDir())
		if err != nil || len(dirs) != 2 {
			t.Errorf("files of %d specs are there, want those of two (%v)", len(dirs), err)
		}
		w := two("1", "3")
		w.Services = w.Services[2:]
		apply(w)
		time.Sleep(2 * time.Minute)
		if dirs, _ := os.ReadDir(c.Hosts["a"].FilesDir()); len(dirs) > 0 {
			t.Errorf("what nobody uses is still there: %v", dirs)
		}
	})
}

// TestSecretsAreThereAfterARebootWithoutTheControlPlane: the files are gone then.
func TestSecretsAreThereAfterARebootWithoutTheControlPlane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
		c.StartPlane()
		defer c.Close()
		if _, err := c.Apply(withSecret(planted, "db")); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(time.Minute)
		c.KillPlane()
		c.PowerOff("a")
		time.Sleep(time.Minute)
		if err := c.PowerOn("a", false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if on := c.Running("db"); len(on) > 0 {
			t.Error("the engine has started it, and its secret is not there")
		}
		if err := c.StartAgent("a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := secretOf(t, c, "a", "db"); got != planted {
			t.Errorf("after the reboot its container reads %q", got)
		}
		if n := len(c.Hosts["a"].Runtime.List()); n != 2 {
			t.Errorf("%d containers", n)
		}
	})
}

// TestFormerAgentGetsNoSecrets: it would run the service without.
func TestFormerAgentGetsNoSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
		c.Hosts["a"].Former = true
		c.OwnBroker = true
		c.StartPlane()
		defer c.Close()
		if _, err := c.Apply(withSecret(planted, "db")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		i := instance(c, "db")
		if len(c.Running("db")) > 0 || i.State != otto.InstanceWaiting || !strings.Contains(i.Reason, "older") {
			t.Errorf("it is %s: %s", i.State, i.Reason)
		}
		if len(c.Running("plain")) != 1 {
			t.Error("others wait, too")
		}
		c.Hosts["a"].Former = false
		c.KillAgent("a") // a new one is brought
		c.WaitUp(2 * time.Minute)
		if got := secretOf(t, c, "a", "db"); got != planted {
			t.Errorf("its container reads %q", got)
		}
	})
}

func instance(c *ottotest.Cluster, name string) otto.PlacedInstance {
	for _, s := range c.Plane.Cluster().Services {
		for _, i := range s.Instances {
			if i.Name == name {
				return i
			}
		}
	}
	return otto.PlacedInstance{}
}

// TestRestoredClusterKeepsItsSecrets: the contents and their key are in backups, so that
// nothing is made anew.
func TestRestoredClusterKeepsItsSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
		c.StartPlane()
		defer c.Close()
		if _, err := c.Apply(withSecret(planted, "db")); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(time.Minute)
		starts := c.Hosts["a"].Runtime.Starts("db")
		content := c.Backup()
		c.KillPlane()
		c.Restore(content)
		c.StartPlane()
		if _, err := c.Apply(withSecret(planted, "db")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		c.WaitUp(time.Minute)
		if n := c.Hosts["a"].Runtime.Starts("db"); n != starts {
			t.Errorf("it was started %d times more", n-starts)
		}
	})
}

// TestUpdateThatFailsGoesBackToItsSecret, which the file does not have any more.
func TestUpdateThatFailsGoesBackToItsSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
		c.StartPlane()
		defer c.Close()
		if _, err := c.Apply(withSecret("good", "db")); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(time.Minute)
		c.Hosts["a"].Runtime.FailStart = func(i otto.Instance) error {
			for _, path := range i.FilePaths {
				if b, _ := os.ReadFile(path); string(b) == "bad" {
					return os.ErrInvalid
				}
			}
			return nil
		}
		if _, err := c.Apply(withSecret("bad", "db")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		c.Hosts["a"].Runtime.Exit("db", 1)
		time.Sleep(time.Minute)
		if got := secretOf(t, c, "a", "db"); got != "good" {
			t.Errorf("its container reads %q", got)
		}
	})
}

func TestTooManySecretsAreRefusedBeforeAnythingChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
		c.StartPlane()
		defer c.Close()
		w := withSecret("small", "db")
		random := make([]byte, 60<<10)
		for i := range 4 {
			for k := range random {
				random[k] = byte(k*k*(i+7) ^ k>>3*(i+1)*2654435761>>7) // gzip makes little of it
			}
			name := "big-" + strconv.Itoa(i)
			w.Contents[name] = otto.NewSecret(bytes.Clone(random[:len(random)-i]))
			w.Services[0].Spec.Files = append(w.Services[0].Spec.Files,
				otto.File{Kind: otto.FileConfig, Name: name, Target: "/" + name, Content: name})
		}
		p, err := c.Plane.Plan(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		want := "232 KiB are the most; its largest file is config big-0 of service db, with 60 KiB"
		if len(p.Refused) != 1 || !strings.Contains(p.Refused[0], want) {
			t.Errorf("the plan refuses %q", p.Refused)
		}
		if _, err := c.Apply(w); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("apply says %v", err)
		}
		w.Contents["big-0"] = otto.NewSecret(make([]byte, otto.MaxFile+1))
		if _, err := c.Apply(w); err == nil || !strings.Contains(err.Error(), "config big-0 of service db has 64 KiB") {
			t.Errorf("apply says %v", err)
		}
		delete(w.Contents, "big-0")
		if _, err := c.Apply(w); err == nil || !strings.Contains(err.Error(), "the content of config big-0 of service db is missing") {
			t.Errorf("apply says %v", err)
		}
	})
}

// TestSealedContentsAreOnTheWireOnce: an assignment is not published again and again
// because sealing is never the same twice.
func TestSealedContentsAreOnTheWireOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
		c.StartPlane()
		defer c.Close()
		if _, err := c.Apply(withSecret(planted, "db")); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(time.Minute)
		time.Sleep(time.Minute)
		topic := wire.NodeTopic("a", wire.KindAssignment)
		was := c.Bus.Retained(topic)
		time.Sleep(5 * time.Minute)
		if !bytes.Equal(was, c.Bus.Retained(topic)) {
			t.Error("it was published again")
		}
	})
}

// TestSameSecretLooksDifferentInEachCluster: what labels and the status show of it is made
// with a key, so nobody can try passwords on it.
func TestSameSecretLooksDifferentInEachCluster(t *testing.T) {
	seen := map[string]bool{}
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
			c.StartPlane()
			defer c.Close()
			if _, err := c.Apply(withSecret(planted, "db")); err != nil {
				t.Fatal(err)
			}
			spec := c.Plane.Cluster().Services[0].Spec
			seen[spec.Files[0].Content], seen[spec.Hash()] = true, true
		})
	}
	if len(seen) != 4 {
		t.Errorf("there are %d keys of a content and hashes of a spec, want 2 of each", len(seen))
	}
}

// TestRekeyedNodeOpensWhatItHasStored: it is started anew with its new key, and loses its power
// before the control plane has sealed anything for that.
func TestRekeyedNodeOpensWhatItHasStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
		c.OwnBroker = true
		c.StartPlane()
		defer c.Close()
		if _, err := c.Apply(withSecret(planted, "db")); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(time.Minute)
		h := c.Hosts["a"]
		former := h.Enrolment().SealKey
		stored := c.Bus.Retained(wire.NodeTopic("a", wire.KindAssignment))
		h.SSHTime = 5 * time.Second
		if err := c.Plane.Rekey(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		c.Bus.CutOneWay("a", true, false) // it hears nothing any more
		for bytes.Equal(h.Enrolment().SealKey, former) {
			time.Sleep(100 * time.Millisecond)
		}
		c.PowerOff("a")
		c.KillPlane()
		if !bytes.Equal(stored, agent.Stored(h.Dir, h.Enrolment().OpenStored)) {
			t.Fatal("it has got another assignment meanwhile")
		}
		if err := c.PowerOn("a", true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		if got := secretOf(t, c, "a", "db"); got != planted {
			t.Errorf("its container reads %q", got)
		}
	})
}
