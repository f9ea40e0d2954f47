package control_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/folder"
	"github.com/otto-edge/otto/ottotest"
)

// onFiles is what is wanted with services that mount ./conf of a project, beside one that
// does not, and brings that to the control plane as a command does.
func onFiles(t *testing.T, c *ottotest.Cluster, project string, names ...string) otto.Wanted {
	t.Helper()
	m, err := folder.Read(project, "conf", folder.NewBudget())
	if err != nil {
		t.Fatal(err)
	}
	w := wanted()
	w.Folders = map[string][]byte{m.Key(): m.Encode()}
	for _, name := range names {
		s := service(name, "")
		s.Spec.Mounts = []otto.Mount{
			{Type: otto.MountFiles, Source: "./conf", Target: "/conf", ReadOnly: true, Content: m.Key()},
		}
		w.Services = append(w.Services, s)
	}
	w.Services = append(w.Services, service("plain", "a"))
	lacking, err := c.Plane.LackFolders(t.Context(), w.Folders)
	if err != nil {
		t.Fatal(err)
	}
	for range lacking {
		var pack bytes.Buffer
		if err := errors.Join(folder.Pack(&pack, project, "conf", m), c.Plane.PutFolder(t.Context(), &pack)); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func edit(t *testing.T, project, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Join(project, "conf"), 0o700),
		os.WriteFile(filepath.Join(project, "conf/app.conf"), []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// served is what a container that runs reads in its files; empty if none does.
func served(t *testing.T, c *ottotest.Cluster, instance string) string {
	t.Helper()
	for _, h := range c.Hosts {
		for _, ctr := range h.Runtime.List() {
			if ctr.Instance != instance || ctr.State != otto.ContainerRunning {
				continue
			}
			b, err := os.ReadFile(filepath.Join(ctr.Mounts[0].Source, "app.conf"))
			if err != nil {
				t.Error(err)
			}
			return string(b)
		}
	}
	return ""
}

func inFolders(t *testing.T, f func(t *testing.T, c *ottotest.Cluster, project string)) {
	t.Helper()
	project := t.TempDir()
	edit(t, project, "one "+planted)
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) { f(t, c, project) })
}

func TestEditedConfigurationRecreatesWhatUsesIt(t *testing.T) {
	inFolders(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		apply(t, c, onFiles(t, c, project, "web"))
		c.WaitUp(time.Minute)
		if got := served(t, c, "web"); got != "one "+planted {
			t.Fatalf("it reads %q", got)
		}
		again, err := c.Plane.Plan(t.Context(), onFiles(t, c, project, "web"))
		if err != nil || len(again.Changes) > 0 {
			t.Errorf("the same files are another plan: %v %v", again.Changes, err)
		}
		edit(t, project, "two "+planted)
		w := onFiles(t, c, project, "web")
		p, err := c.Plane.Plan(t.Context(), w)
		if err != nil || len(p.Changes) != 1 || p.Changes[0].Detail != "files ./conf have changed" {
			t.Errorf("plan %v, %v", p.Changes, err)
		}
		plain := c.Hosts["a"].Runtime.Starts("plain")
		apply(t, c, w)
		c.WaitUp(time.Minute)
		if got := served(t, c, "web"); got != "two "+planted {
			t.Errorf("it reads %q", got)
		}
		if n := c.Hosts["a"].Runtime.Starts("plain"); n != plain {
			t.Error("what does not use them was made anew")
		}
		shown, err := json.Marshal([]any{c.Plane.Cluster(), p})
		if err != nil || bytes.Contains(shown, []byte(planted)) || strings.Contains(string(c.Bus.Everything()), planted) {
			t.Error("what is in the files is shown, or was sent over MQTT")
		}
		time.Sleep(time.Minute)
		for _, h := range c.Hosts { // what nobody uses is gone
			list, err := os.ReadDir(h.FoldersDir())
			if len(list) > 1 {
				t.Errorf("%v is left (%v)", list, err)
			}
		}
	})
}

// TestFailoverUsesTheConfigurationThatWasApplied, although the file has been edited, and
// the control plane was killed since.
func TestFailoverUsesTheConfigurationThatWasApplied(t *testing.T) {
	inFolders(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		apply(t, c, onFiles(t, c, project, "web"))
		c.WaitUp(time.Minute)
		from := c.Running("web")[0]
		edit(t, project, "edited")
		c.KillPlane()
		c.StartPlane()
		time.Sleep(10 * time.Second)
		c.PowerOff(from)
		c.Wait(5*time.Minute, "web runs on the other node", func(*otto.Cluster) bool {
			at := c.Running("web")
			return len(at) == 1 && at[0] != from
		})
		if got := served(t, c, "web"); got != "one "+planted {
			t.Errorf("it reads %q", got)
		}
	})
}

func TestNothingStartsWithoutItsFiles(t *testing.T) {
	inFolders(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		apply(t, c, otto.Wanted{Nodes: wanted().Nodes})
		c.WaitUp(time.Minute)
		for _, h := range c.Hosts {
			h.SSHTime = 30 * time.Second
		}
		apply(t, c, onFiles(t, c, project, "web"))
		time.Sleep(15 * time.Second)
		i := instance(c, "web")
		if want := "waiting for its files: ./conf has not come from the control plane yet"; i.State != otto.InstanceWaiting ||
			i.Reason != want || len(c.Running("web")) > 0 {
			t.Errorf("it is %s: %s", i.State, i.Reason)
		}
		if len(c.Running("plain")) != 1 {
			t.Error("others wait, too")
		}
		c.WaitUp(time.Minute)
	})
}

// TestSpoiledFilesAreBroughtAgain: the key in the assignment counts, not what lies there.
func TestSpoiledFilesAreBroughtAgain(t *testing.T) {
	inFolders(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		apply(t, c, onFiles(t, c, project, "web"))
		c.WaitUp(time.Minute)
		h := c.Hosts[c.Running("web")[0]]
		spoil := func(do func(tree string) error) {
			t.Helper()
			list, err := os.ReadDir(h.FoldersDir())
			list = slices.DeleteFunc(list, func(d os.DirEntry) bool { return !folder.ValidKey(d.Name()) })
			if err != nil || len(list) != 1 {
				t.Fatalf("%v %v", list, err)
			}
			if err := do(folder.Path(h.FoldersDir(), list[0].Name())); err != nil {
				t.Fatal(err)
			}
			h.Runtime.Exit("web", 1)
			time.Sleep(2 * time.Minute)
			c.WaitUp(time.Minute)
			if got := served(t, c, "web"); got != "one "+planted {
				t.Errorf("it reads %q", got)
			}
		}
		spoil(func(tree string) error { return os.WriteFile(filepath.Join(tree, "app.conf"), []byte("other"), 0o600) })
		spoil(func(tree string) error { return os.RemoveAll(filepath.Dir(tree)) })
		events, _ := c.Plane.Events(0)
		told := func(e otto.Event) bool {
			return strings.Contains(e.Message, "./conf") && e.Kind == "instance-files-spoiled"
		}
		if !slices.ContainsFunc(events, told) {
			t.Error("nobody is told")
		}
	})
}

func TestFilesThatCannotBeBroughtAreTold(t *testing.T) {
	inFolders(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		apply(t, c, otto.Wanted{Nodes: wanted().Nodes})
		c.WaitUp(time.Minute)
		w := onFiles(t, c, project, "web")
		c.Folders.Keep(nil, time.Now().Add(24*time.Hour)) // somebody has removed them
		if _, err := c.Apply(w); err == nil || !strings.Contains(err.Error(), "the files ./conf of service web have not come") {
			t.Errorf("got %v", err)
		}
		if len(c.Plane.Cluster().Services) > 0 {
			t.Error("something has changed")
		}
		apply(t, c, onFiles(t, c, project, "web"))
		c.Folders.Keep(nil, time.Now().Add(24*time.Hour))
		time.Sleep(30 * time.Second)
		if len(c.Running("web")) == 0 { // it was not faster
			told := func(e otto.Event) bool { return e.Kind == "files-not-brought" }
			if events, _ := c.Plane.Events(0); !slices.ContainsFunc(events, told) {
				t.Error("nobody is told")
			}
		}
		apply(t, c, onFiles(t, c, project, "web"))
		c.WaitUp(2 * time.Minute)
	})
}

func TestFormerAgentGetsNoFiles(t *testing.T) {
	project := t.TempDir()
	edit(t, project, "one")
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
		c.Hosts["a"].Former, c.Hosts["b"].Former = true, true
		c.OwnBroker = true
		c.StartPlane()
		defer c.Close()
		apply(t, c, onFiles(t, c, project, "web"))
		time.Sleep(time.Minute)
		if i := instance(c, "web"); len(c.Running("web")) > 0 || !strings.Contains(i.Reason, "takes in no files of a project") {
			t.Errorf("it is %s: %s", i.State, i.Reason)
		}
		for name, h := range c.Hosts {
			h.Former = false
			c.KillAgent(name)
		}
		c.WaitUp(2 * time.Minute)
		if got := served(t, c, "web"); got != "one" {
			t.Errorf("it reads %q", got)
		}
	})
}

// TestUpdateGoesBackToItsFiles, which the project does not have any more.
func TestUpdateGoesBackToItsFiles(t *testing.T) {
	inFolders(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		apply(t, c, onFiles(t, c, project, "web"))
		c.WaitUp(time.Minute)
		for _, h := range c.Hosts {
			h.Runtime.FailStart = func(i otto.Instance) error {
				for _, path := range i.FolderPaths {
					if b, _ := os.ReadFile(filepath.Join(path, "app.conf")); string(b) == "bad" {
						return os.ErrInvalid
					}
				}
				return nil
			}
		}
		edit(t, project, "bad")
		apply(t, c, onFiles(t, c, project, "web"))
		time.Sleep(3 * time.Minute)
		if got := served(t, c, "web"); got != "one "+planted {
			t.Errorf("its container reads %q", got)
		}
	})
}

// TestRestartedControlPlaneBringsWhatWasApplied: killed after what is wanted was stored,
// and before anything was brought.
func TestRestartedControlPlaneBringsWhatWasApplied(t *testing.T) {
	inFolders(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		apply(t, c, otto.Wanted{Nodes: wanted().Nodes})
		c.WaitUp(time.Minute)
		apply(t, c, onFiles(t, c, project, "web"))
		c.KillPlane()
		edit(t, project, "edited")
		c.StartPlane()
		c.WaitUp(2 * time.Minute)
		if got := served(t, c, "web"); got != "one "+planted {
			t.Errorf("it reads %q", got)
		}
	})
}

// TestKeysOfFilesSayNothing: the same files have other keys in another cluster.
func TestKeysOfFilesSayNothing(t *testing.T) {
	project := t.TempDir()
	edit(t, project, "one")
	var keys []string
	for range 2 {
		inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
			w := onFiles(t, c, project, "web")
			apply(t, c, w)
			s := c.Plane.Cluster().Services[0]
			if s.Spec.Mounts[0].Content == w.Services[0].Spec.Mounts[0].Content {
				t.Error("the key is that of the files alone")
			}
			keys = append(keys, s.Spec.Mounts[0].Content)
		})
	}
	if keys[0] == keys[1] {
		t.Error("it is the same in another cluster")
	}
}

// TestRestoredClusterKeepsItsFiles: they are in backups, and nothing is made anew.
func TestRestoredClusterKeepsItsFiles(t *testing.T) {
	inFolders(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		w := onFiles(t, c, project, "web")
		apply(t, c, w)
		c.WaitUp(time.Minute)
		from := c.Running("web")[0]
		starts := c.Hosts[from].Runtime.Starts("web")
		content := c.Backup()
		c.KillPlane()
		c.Restore(content)
		c.StartPlane()
		apply(t, c, w)
		time.Sleep(time.Minute)
		c.WaitUp(time.Minute)
		if n := c.Hosts[from].Runtime.Starts("web"); n != starts {
			t.Errorf("it was started %d times more", n-starts)
		}
		c.PowerOff(from)
		c.Wait(5*time.Minute, "web runs on the other node", func(*otto.Cluster) bool {
			at := c.Running("web")
			return len(at) == 1 && at[0] != from
		})
		if got := served(t, c, "web"); got != "one "+planted {
			t.Errorf("it reads %q", got)
		}
	})
}
