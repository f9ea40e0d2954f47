package hostdir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/otto-edge/otto"
)

const mountinfo = `22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/root rw
40 22 8:17 / /mnt/usb\040stick rw,nosuid shared:7 master:1 - vfat /dev/sdb1 rw
41 22 0:45 /@data /srv/\134x rw - btrfs /dev/sdc rw,subvol=/@data
42 22 0:50 / /nas rw - nfs4 nas:/export/db rw
43 22 0:51 / /pool rw - zfs tank/data rw
torn line
`

func TestMountsAreFound(t *testing.T) {
	for id, want := range map[string]mount{
		"40": {"40", "8:17", "/", "/mnt/usb stick", "vfat", "/dev/sdb1"},
		"41": {"41", "0:45", "/@data", `/srv/\x`, "btrfs", "/dev/sdc"},
		"42": {"42", "0:50", "/", "/nas", "nfs4", "nas:/export/db"},
	} {
		if got, ok := find(mountinfo, id); !ok || got != want {
			t.Errorf("%s: got %+v, %v", id, got, ok)
		}
	}
	if m, ok := find(mountinfo, "9"); ok {
		t.Errorf("found %+v", m)
	}
	if got := unescape(`\04a\9\\040`); got != `\04a\9\ ` {
		t.Errorf("got %q", got)
	}
}

func TestFileSystemsAreToldApart(t *testing.T) {
	none := t.TempDir()
	some := unix.Fsid{Val: [2]int32{0x1234, -1}}
	for name, tc := range map[string]struct {
		mount mount
		fsid  unix.Fsid
		want  string
	}{
		"by what it is made of":            {mount{kind: "ext4", device: "8:2", source: "/dev/root"}, some, "ext4 00001234ffffffff"},
		"also if it has several disks":     {mount{kind: "btrfs", device: "0:45", source: "/dev/sdc"}, some, "btrfs 00001234ffffffff"},
		"of a server":                      {mount{kind: "nfs4", device: "0:50", source: "nas:/export/db"}, some, "nas:/export/db"},
		"of a share":                       {mount{kind: "cifs", device: "0:50", source: "//nas/db"}, some, "//nas/db"},
		"of a pool":                        {mount{kind: "zfs", device: "0:51", source: "tank/data"}, some, "tank/data"},
		"not by the number of a device":    {mount{kind: "xfs", device: "8:17", source: "/dev/sdb1"}, some, ""},
		"nor by its name":                  {mount{kind: "bcachefs", device: "0:60", source: "/dev/sdb1:/dev/sdc1"}, some, ""},
		"not known":                        {mount{kind: "ext4", device: "8:2", source: "/dev/root"}, unix.Fsid{}, ""},
		"of a program, whatever it serves": {mount{kind: "fuse.mergerfs", device: "0:70", source: "a:b"}, some, "a:b"},
	} {
		if got := fileSystem(tc.mount, tc.fsid, none); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
	if got := fileSystem(mount{kind: "nfs4", device: "0:50", source: "nas:/x"}, some,
		"/no/such/directory"); got != "nas:/x" {
		t.Errorf("got %q", got)
	}
}

// TestDisksAreKnownByTheirUUID asks those of this machine.
func TestDisksAreKnownByTheirUUID(t *testing.T) {
	const dir = "/dev/disk/by-uuid"
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		entries = nil // no disks here, or nobody who names them
	}
	for _, e := range entries {
		device := deviceAt(filepath.Join(dir, e.Name()))
		if got := fileSystem(mount{kind: "xfs", device: device}, unix.Fsid{}, dir); device != "" &&
			deviceAt(filepath.Join(dir, got)) != device {
			t.Errorf("%s is %s: got %q", e.Name(), device, got)
		}
	}
	if got := deviceAt("/dev/null"); got != "" {
		t.Errorf("/dev/null is no disk: %q", got)
	}
}

// found looks at a path that must not be an error.
func found(t *testing.T, path string) otto.Directory {
	t.Helper()
	d, err := new(Looker).Directory(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestLook(t *testing.T) {
	dir := t.TempDir()
	db, file, link := filepath.Join(dir, "db"), filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(db, 0o700), os.WriteFile(file, nil, 0o600), os.Symlink(db, link)); err != nil {
		t.Fatal(err)
	}
	if d := found(t, filepath.Join(dir, "none")); d.There {
		t.Errorf("nothing is %+v", d)
	}
	if d := found(t, filepath.Join(file, "none")); d.Kept {
		t.Errorf("a path through a file is %+v", d)
	}
	if d := found(t, file); !d.There || d.Kept {
		t.Errorf("a file is %+v", d)
	}
	if d := found(t, "/proc/self"); !d.There || d.Kept {
		t.Errorf("/proc is %+v", d)
	}
	d := found(t, db)
	if !d.There || d.Hidden {
		t.Errorf("a directory is %+v", d)
	}
	if diff := cmp.Diff(d, found(t, link)); diff != "" {
		t.Errorf("by another path it is another one: %s", diff)
	}
	if d.Kept && d.ID.Path != "" && filepath.Base(d.ID.Path) != "db" {
		t.Errorf("it is %+v", d)
	}
}

// TestDirectoryThatMayNotBeLookedIntoIsKnownByItsFileSystem is about an agent that is not root's.
func TestDirectoryThatMayNotBeLookedIntoIsKnownByItsFileSystem(t *testing.T) {
	dir := t.TempDir()
	closed := filepath.Join(dir, "closed")
	if err := errors.Join(os.Mkdir(closed, 0o700), os.Mkdir(filepath.Join(closed, "db"), 0o700)); err != nil {
		t.Fatal(err)
	}
	before := found(t, filepath.Join(closed, "db"))
	if err := errors.Join(os.Chmod(closed, 0), os.Chmod(dir, 0o755),
		os.Chmod(filepath.Dir(dir), 0o755)); err != nil { //nolint:gosec // for another user
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(closed, 0o700) }) //nolint:gosec // to remove it
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock it: its thread has another user, and ends
		if os.Geteuid() == 0 {
			if _, err := unix.SetfsuidRetUid(65534); err != nil {
				t.Error(err)
				return
			}
		}
		after, err := look(filepath.Join(closed, "db"))
		if err != nil || !after.There || !after.Hidden || !before.ID.Is(after.ID) || after.Kept != before.Kept ||
			after.ID.Inode != 0 {
			t.Errorf("it was %+v and is %+v, %v", before, after, err)
		}
	}()
	<-done
}

// TestMountedDirectoryIsAnotherOne mounts one directory over another one, as a disk, and
// takes it away again.
func TestMountedDirectoryIsAnotherOne(t *testing.T) {
	dir := t.TempDir()
	disk, point := filepath.Join(dir, "disk"), filepath.Join(dir, "mnt")
	if err := errors.Join(os.Mkdir(disk, 0o700), os.Mkdir(point, 0o700)); err != nil {
		t.Fatal(err)
	}
	bare := found(t, point)
	if err := unix.Mount(disk, point, "", unix.MS_BIND, ""); errors.Is(err, unix.EPERM) {
		t.Log("not root's: nothing is mounted")
		return
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(point, unix.MNT_DETACH) })
	mounted := found(t, point)
	if diff := cmp.Diff(found(t, disk), mounted); diff != "" {
		t.Errorf("the mount is not what is mounted: %s", diff)
	}
	if bare.Kept && bare.ID.Path != "" && bare.ID.Is(mounted.ID) {
		t.Errorf("%+v where %+v was mounted", bare, mounted)
	}
	if err := unix.Unmount(point, 0); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bare, found(t, point)); diff != "" {
		t.Error(diff)
	}
}

// TestHungLookIsWaitedForOnce has a server not answer for a while.
func TestHungLookIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := make(chan struct{})
		var looks atomic.Int32
		l := &Looker{Look: func(string) (otto.Directory, error) {
			looks.Add(1)
			<-hung
			return otto.Directory{There: true}, nil
		}}
		began := time.Now()
		for range 3 {
			if _, err := l.Directory(t.Context(), "/nas"); err == nil {
				t.Error("it has answered")
			}
		}
		if waited := time.Since(began); waited != Patience || looks.Load() != 1 {
			t.Errorf("waited for %s, %d looks", waited, looks.Load())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := l.Directory(ctx, "/other"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("not within the caller's time: %v", err)
		}
		close(hung)
		synctest.Wait()
		if d, err := l.Directory(t.Context(), "/nas"); err != nil || !d.There {
			t.Errorf("got %+v, %v", d, err)
		}
	})
}
