package docker

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

func volumesSurvive(t *testing.T, r *Runtime) {
	inst := instance("keeper", "touch", "/data/kept", "/scratch/lost")
	inst.Spec.Mounts = []otto.Mount{
		{Type: otto.MountVolume, Source: "data", Target: "/data"},
		{Type: otto.MountVolume, Target: "/scratch"},
	}
	id, err := r.Create(t.Context(), inst, inst.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "end", func() bool { return inspect(t, r, id).State == otto.ContainerExited })
	volumes := func() (names []string) {
		engine(t, r, func(c *client.Client) error {
			list, err := c.VolumeList(t.Context(), client.VolumeListOptions{})
			for _, v := range list.Items {
				names = append(names, v.Name)
				if v.Labels[otto.LabelCluster] != "home" || v.Labels[otto.LabelClusterID] != "c1" {
					t.Errorf("volume %s has labels %v", v.Name, v.Labels)
				}
			}
			return err
		})
		return names
	}
	if got := volumes(); len(got) != 2 {
		t.Errorf("volumes before: %v", got)
	}
	if err := r.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got := volumes(); !slices.Equal(got, []string{"data"}) {
		t.Errorf("volumes after: %v, want only data", got)
	}
	if got, err := r.Volumes(t.Context()); err != nil || !slices.Equal(got, []string{"data"}) {
		t.Errorf("it tells of %v: %v", got, err)
	}
}

func foreignIsLeftAlone(t *testing.T, r *Runtime) {
	other := newRuntime(t, r.url)
	other.owner = otto.Owner{Cluster: "elsewhere", ClusterID: "c2", Node: "n1"}
	inst := instance("mine", "sleep", "600")
	inst.Spec.NetworkMode = "none"
	create(t, other, inst)
	if _, err := r.Create(t.Context(), inst, "mine"); !errors.Is(err, otto.ErrNameTaken) ||
		!strings.Contains(err.Error(), "container mine of image "+testImage) {
		t.Errorf("got %v, want otto.ErrNameTaken", err)
	}
	own := create(t, r, instance("own", "true"))
	if err := r.Rename(t.Context(), own, "mine"); !errors.Is(err, otto.ErrNameTaken) {
		t.Errorf("rename: got %v, want otto.ErrNameTaken", err)
	}
	if _, err := r.Create(t.Context(), instance("own", "true"), "own"); err == nil ||
		errors.Is(err, otto.ErrNameTaken) {
		t.Errorf("a name that Otto itself has: %v", err)
	}
	if all, err := r.Containers(t.Context()); err != nil ||
		slices.ContainsFunc(all, func(c otto.Container) bool { return c.Name == "mine" }) {
		t.Errorf("containers of another cluster are among ours: %v, %v", all, err)
	}

	namesake := newRuntime(t, r.url)
	namesake.owner.ClusterID = "c2"
	if _, err := namesake.Create(t.Context(), inst, "own"); !errors.Is(err, otto.ErrNameTaken) {
		t.Errorf("a name that a cluster of the same name has: %v", err)
	}
	if _, err := namesake.Create(t.Context(), instance("x", "true"), "x"); err == nil ||
		!strings.Contains(err.Error(), "of another cluster, named home") {
		t.Errorf("its network: %v", err)
	}
	if all, err := namesake.Containers(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("its containers are taken for a namesake's: %v, %v", all, err)
	}
	if err := errors.Join(namesake.RemoveVolumes(t.Context()), namesake.RemoveNetwork(t.Context())); err != nil {
		t.Error(err)
	}

	engine(t, r, func(c *client.Client) error {
		_, err := c.NetworkCreate(t.Context(), "elsewhere", client.NetworkCreateOptions{Driver: "bridge"})
		return err
	})
	if _, err := other.Create(t.Context(), instance("x", "true"), "x"); err == nil ||
		!strings.Contains(err.Error(), "a network named elsewhere is there that is not this cluster's") {
		t.Errorf("got %v", err)
	}
	if err := other.RemoveNetwork(t.Context()); err != nil {
		t.Error(err)
	}
	engine(t, r, func(c *client.Client) error { // still there
		_, err := c.NetworkRemove(t.Context(), "elsewhere", client.NetworkRemoveOptions{})
		return err
	})
}

func hostPaths(t *testing.T, r *Runtime) {
	missing := filepath.Join(t.TempDir(), "missing")
	inst := instance("paths", "touch", "/data/x")
	inst.Spec.Mounts = []otto.Mount{{Type: otto.MountBind, Source: missing, Target: "/data", MustExist: true}}
	_, err := r.Create(t.Context(), inst, inst.Name)
	if want := "create paths: host path " + missing + " does not exist: create it on the node"; err == nil ||
		err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	inst.Spec.Mounts[0].MustExist = false
	start(t, r, inst)
	waitFor(t, "file in the new host path", func() bool {
		_, err := os.Stat(filepath.Join(missing, "x"))
		return err == nil
	})
	disk := filepath.Join(t.TempDir(), "disk") // is there at first, and not mounted later
	inst = instance("paths-there", "touch", "/data/x")
	inst.Spec.Mounts = []otto.Mount{{Type: otto.MountBind, Source: disk, Target: "/data"}}
	inst.Present = []string{disk}
	if err := os.Mkdir(disk, 0o750); err != nil {
		t.Fatal(err)
	}
	id := start(t, r, inst)
	waitFor(t, "end of its container", func() bool { return inspect(t, r, id).State == otto.ContainerExited })
	if err := os.RemoveAll(disk); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context(), id); err == nil {
		t.Error("it starts without its directory")
	}
	if _, err := os.Stat(disk); err == nil {
		t.Error("the engine has made its directory")
	}
}

// secretsAreRead: the directory of secrets is the agent's alone, which does not matter to
// those in the container; their own modes do.
func secretsAreRead(t *testing.T, r *Runtime) {
	dir := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	inst := instance("reader", "sh", "-c",
		"cat /run/secrets/open; cat /run/secrets/closed || echo not this one; echo x >/run/secrets/open || echo and not written")
	inst.Spec.User = "1234:1234"
	for i, mode := range []os.FileMode{0o444, 0o400} {
		path := filepath.Join(dir, strconv.Itoa(i))
		if err := errors.Join(os.WriteFile(path, []byte("hunter2\n"), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		inst.FilePaths = append(inst.FilePaths, path)
	}
	inst.Spec.Files = []otto.File{
		{Kind: otto.FileSecret, Name: "open", Target: "/run/secrets/open", Content: "1"},
		{Kind: otto.FileSecret, Name: "closed", Target: "/run/secrets/closed", Content: "2"},
	}
	id := start(t, r, inst)
	waitFor(t, "end of its container", func() bool { return inspect(t, r, id).State == otto.ContainerExited })
	got := logsOf(t, r, id, 10)
	for _, want := range []string{"hunter2", "not this one", "and not written"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in what it says:\n%s", want, got)
		}
	}
	if err := os.Remove(inst.FilePaths[0]); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context(), id); err == nil {
		t.Error("it starts without its secret")
	}
	if info, err := os.Stat(inst.FilePaths[0]); err == nil {
		t.Errorf("the engine has made %v there", info.Mode())
	}
}
