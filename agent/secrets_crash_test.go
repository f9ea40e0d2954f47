package agent_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/ottotest"
)

func withSecret(content string) otto.Wanted {
	s := web("")
	s.Spec.Files = []otto.File{{Kind: otto.FileSecret, Name: "s", Target: "/run/secrets/s", Content: "s"}}
	w := wanted(s)
	w.Contents = otto.Contents{"s": otto.NewSecret([]byte(content))}
	return w
}

// TestAgentKilledWhileASecretChangesFinishesTheJob kills the agent at each change that
// a new secret makes to the engine, with and without the files that it has written: at
// the end one container runs, with the new secret, and nothing else is left of either.
func TestAgentKilledWhileASecretChangesFinishesTheJob(t *testing.T) {
	for nth, killed := 1, true; killed; nth++ {
		killed = false
		for _, after := range []bool{false, true} {
			for _, reboot := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					c := ottotest.NewCluster(t, []string{"a"}, "web")
					h := c.Hosts["a"]
					c.StartPlane()
					defer c.Close()
					if _, err := c.Apply(withSecret("old")); err != nil {
						t.Fatal(err)
					}
					c.WaitUp(time.Minute)
					engine := &dying{nth: nth, after: after, dead: make(chan struct{})}
					h.Wrap(func(r agent.Runtime) agent.Runtime { engine.Runtime = r; return engine })
					c.KillAgent("a")
					if err := c.StartAgent("a"); err != nil {
						t.Fatal(err)
					}
					c.WaitUp(time.Minute)
					if _, err := c.Apply(withSecret("new")); err != nil {
						t.Fatal(err)
					}
					select {
					case <-engine.dead:
						killed = true
					case <-time.After(time.Minute):
					}
					h.Wrap(nil)
					c.KillAgent("a") // the control plane brings the next one
					if reboot {
						c.PowerOff("a")
						if err := c.PowerOn("a", true); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(3 * time.Minute)
					list := h.Runtime.List()
					if len(list) != 1 || list[0].State != otto.ContainerRunning {
						t.Fatalf("killed at change %d (after: %t, reboot: %t): %+v", nth, after, reboot, list)
					}
					b, err := os.ReadFile(filepath.Join(h.FilesDir(), list[0].SpecHash, "0"))
					if err != nil || string(b) != "new" {
						t.Errorf("killed at change %d (after: %t, reboot: %t): it reads %q (%v)", nth, after, reboot, b, err)
					}
					if dirs, err := os.ReadDir(h.FilesDir()); err != nil || len(dirs) != 1 {
						t.Errorf("killed at change %d (after: %t, reboot: %t): left are %v (%v)", nth, after, reboot, dirs, err)
					}
				})
			}
		}
		if !killed && nth < 4 {
			t.Errorf("there are %d changes: nothing much was killed", nth-1)
		}
	}
}
