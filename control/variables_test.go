package control_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// withVariable is what is wanted with services that have a secret variable of this value,
// beside one that has none.
func withVariable(value string, names ...string) otto.Wanted {
	w := otto.Wanted{
		Nodes:    []otto.Node{{ID: "a", Host: "a"}, {ID: "b", Host: "b"}},
		Contents: otto.Contents{"variable": otto.NewSecret([]byte(value))},
	}
	for _, name := range names {
		s := service(name, "a")
		s.Spec.SecretEnvironment = map[string]string{"PASSWORD": "variable"}
		w.Services = append(w.Services, s)
	}
	w.Services = append(w.Services, service("plain", "a"))
	return w
}

func variableOf(_ *testing.T, c *ottotest.Cluster, host, instance string) string {
	return c.Hosts[host].Runtime.Variable(instance, "PASSWORD")
}

func TestSecretVariableIsInItsContainerAndNowhereElse(t *testing.T) {
	isNowhereElse(t, withVariable, variableOf)
}

// TestChangedSecretVariableRecreatesWhatUsesIt and nothing else, and so does the mark itself;
// the same again changes nothing.
func TestChangedSecretVariableRecreatesWhatUsesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
		c.StartPlane()
		defer c.Close()
		apply := func(w otto.Wanted, want ...string) map[string]string {
			t.Helper()
			changes, err := c.Apply(w)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, change := range changes {
				got = append(got, change.Name+" "+change.Detail)
			}
			if diff := cmp.Diff(want, got); want != nil && diff != "" {
				t.Errorf("changes (-want +got)\n%s", diff)
			}
			time.Sleep(time.Minute)
			c.WaitUp(time.Minute)
			ids := map[string]string{}
			for _, ctr := range c.Hosts["a"].Runtime.List() {
				ids[ctr.Instance] = ctr.ID
			}
			return ids
		}
		unmarked := withVariable("1", "db")
		unmarked.Services[0].Spec.SecretEnvironment = nil
		unmarked.Services[0].Spec.Environment = map[string]string{"PASSWORD": "1"}
		apply(unmarked)
		was := apply(withVariable("1", "db"), "db environment, secret variable PASSWORD added")
		c.KillPlane() // the key of the contents is kept
		c.StartPlane()
		time.Sleep(time.Minute)
		if changes, err := c.Apply(withVariable("1", "db")); len(changes) > 0 || err != nil {
			t.Errorf("the same again changes %v, %v", changes, err)
		}
		time.Sleep(time.Minute)
		now := apply(withVariable("2", "db"), "db secret variable PASSWORD has changed")
		if now["db"] == was["db"] || now["plain"] != was["plain"] || c.Hosts["a"].Runtime.Variable("db", "PASSWORD") != "2" {
			t.Errorf("containers were %v and are %v", was, now)
		}
	})
}

// TestFormerAgentGetsNoSecretVariables: it would run the service without.
func TestFormerAgentGetsNoSecretVariables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
		c.Hosts["a"].Former = true
		c.OwnBroker = true
		c.StartPlane()
		defer c.Close()
		if _, err := c.Apply(withVariable(planted, "db")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		i := instance(c, "db")
		if len(c.Running("db")) > 0 || i.State != otto.InstanceWaiting || !strings.Contains(i.Reason, "older") {
			t.Errorf("it is %s: %s", i.State, i.Reason)
		}
		if strings.Contains(string(c.Bus.Everything()), planted) {
			t.Error("its value was sent in plain")
		}
		c.Hosts["a"].Former = false
		c.KillAgent("a") // a new one is brought
		c.WaitUp(2 * time.Minute)
		if got := variableOf(t, c, "a", "db"); got != planted {
			t.Errorf("its container reads %q", got)
		}
	})
}

// TestUpdateThatFailsGoesBackToItsSecretVariable, which the file does not have any more; and
// a restored cluster makes nothing anew.
func TestUpdateThatFailsGoesBackToItsSecretVariable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
		c.StartPlane()
		defer c.Close()
		if _, err := c.Apply(withVariable("good", "db")); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(time.Minute)
		c.Hosts["a"].Runtime.FailStart = func(i otto.Instance) error {
			for _, key := range i.Spec.SecretEnvironment {
				if string(i.Contents[key].Plain()) == "bad" {
					return errors.New("exited")
				}
			}
			return nil
		}
		if _, err := c.Apply(withVariable("bad", "db")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		c.Hosts["a"].Runtime.Exit("db", 1)
		time.Sleep(time.Minute)
		if got := variableOf(t, c, "a", "db"); got != "good" {
			t.Errorf("its container reads %q", got)
		}
	})
}

func TestSecretVariablesAreKeptByARestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
		c.StartPlane()
		defer c.Close()
		if _, err := c.Apply(withVariable(planted, "db")); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(time.Minute)
		starts := c.Hosts["a"].Runtime.Starts("db")
		content := c.Backup()
		c.KillPlane()
		c.Restore(content)
		c.StartPlane()
		if _, err := c.Apply(withVariable(planted, "db")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		c.WaitUp(time.Minute)
		if n := c.Hosts["a"].Runtime.Starts("db"); n != starts {
			t.Errorf("it was started %d times more", n-starts)
		}
	})
}

// TestSameValueLooksDifferentInEachCluster: labels and the status show a spec's hash and key
// of a value, and nobody can try passwords on either.
func TestSameValueLooksDifferentInEachCluster(t *testing.T) {
	seen := map[string]bool{}
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
			c.StartPlane()
			defer c.Close()
			if _, err := c.Apply(withVariable(planted, "db")); err != nil {
				t.Fatal(err)
			}
			spec := c.Plane.Cluster().Services[0].Spec
			seen[fmt.Sprint(spec.SecretEnvironment)], seen[spec.Hash()] = true, true
		})
	}
	if len(seen) != 4 {
		t.Errorf("there are %d keys of a value and hashes of a spec, want 2 of each", len(seen))
	}
}
