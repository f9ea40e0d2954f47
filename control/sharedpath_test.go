package control_test

import (
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// TestWhatAllNodesShareIsNeverMade has a NAS come late, and then its service's node be lost: the
// service goes elsewhere, and no engine makes the path.
func TestWhatAllNodesShareIsNeverMade(t *testing.T) {
	const nas = "/mnt/nas/media"
	inThree(t, nil, func(t *testing.T, c *ottotest.Cluster) {
		s := binder("db", nas, "a", false)
		s.Data, s.Failover, s.Spec.Mounts[0].MustExist = otto.DataDisposable, otto.FailoverMove, true
		apply(t, c, three(s))
		c.Wait(2*time.Minute, "the path is missing", func(*otto.Cluster) bool {
			i := instance(c, "db")
			return i.Error != "" && strings.Contains(i.Error, "bind source path does not exist: "+nas)
		})
		for _, h := range c.Hosts {
			h.Runtime.SetDirectory(nas, otto.DataID{FileSystem: "nas:/export"})
		}
		runsOn(t, c, "db", "a", 5*time.Minute)
		c.WaitUp(20 * time.Second)
		c.PowerOff("a")
		c.Wait(5*time.Minute, "it runs elsewhere", func(*otto.Cluster) bool {
			at := c.Running("db")
			return len(at) == 1 && at[0] != "a"
		})
		for name, h := range c.Hosts {
			if made := h.Runtime.MadeDirectories(); len(made) > 0 {
				t.Errorf("the engine of %s has made %v", name, made)
			}
		}
	})
}
