package docker

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

// volumesHaveLabels shows that a volume is known by a label of its own, that another one
// of its name has another, and that it is as empty as before for the image's content.
func volumesHaveLabels(t *testing.T, r *Runtime) {
	if v, there, err := r.Volume(t.Context(), "labelled"); there || err != nil {
		t.Errorf("before it is made: %+v, %v", v, err)
	}
	engine(t, r, func(c *client.Client) error {
		_, err := c.VolumeCreate(t.Context(), client.VolumeCreateOptions{Name: "by-hand"})
		return err
	})
	if v, there, err := r.Volume(t.Context(), "by-hand"); !there || v.ID != "" || v.Others != "nobody knows whose" ||
		err != nil {
		t.Errorf("one made by hand is %+v, %v", v, err)
	}
	engine(t, r, func(c *client.Client) error {
		_, err := c.VolumeRemove(t.Context(), "by-hand", client.VolumeRemoveOptions{})
		return err
	})
	other := newRuntime(t, r.url)
	other.owner = otto.Owner{Cluster: "elsewhere", ClusterID: "other", Node: "n1"}
	inst := instance("labelled", "true")
	inst.Spec.Mounts = []otto.Mount{
		{Type: otto.MountVolume, Source: "labelled", Target: "/bin"},
		{Type: otto.MountVolume, Target: "/cache"},
	}
	inst.Spec.Command = []string{"sh", "-c", "exit 0"} // it is copied into the volume with all of /bin
	made := func() string {
		id := start(t, r, inst)
		waitFor(t, "end", func() bool { return inspect(t, r, id).State == otto.ContainerExited })
		c := inspect(t, r, id)
		if c.ExitCode != 0 {
			t.Errorf("the volume is not filled with what the image has: %+v", c)
		}
		if diff := cmp.Diff([]otto.Mount{{Type: otto.MountVolume, Source: "labelled", Target: "/bin"}},
			c.Mounts); diff != "" {
			t.Error(diff)
		}
		v, there, err := r.Volume(t.Context(), "labelled")
		if !there || v.ID == "" || v.Others != "" || err != nil {
			t.Errorf("it is %+v, %v", v, err)
		}
		if v, there, err := other.Volume(t.Context(),
			"labelled"); !there || !strings.Contains(v.Others, "another cluster, named home") ||
			err != nil {
			t.Errorf("for another cluster of the engine it is %+v, %v", v, err)
		}
		if err := r.Remove(t.Context(), id); err != nil {
			t.Error(err)
		}
		return v.ID
	}
	first := made()
	if again := made(); again != first {
		t.Errorf("its label was %s and is %s", first, again)
	}
	remove := func() {
		engine(t, r, func(c *client.Client) error {
			_, err := c.VolumeRemove(t.Context(), "labelled", client.VolumeRemoveOptions{})
			return err
		})
	}
	remove()
	if other := made(); other == first {
		t.Errorf("another one has the label %s too", first)
	}
	remove()
}
