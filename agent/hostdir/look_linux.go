package hostdir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/otto-edge/otto"
)

// look finds out which directory is at a path. It may hang for as long as a server or
// a disk does.
func look(path string) (otto.Directory, error) {
	fd, err := open(path)
	hidden := path
	for errors.Is(err, unix.EACCES) && path != "/" { // its file system at least is that of what leads there
		path = filepath.Dir(path)
		fd, err = open(path)
	}
	switch {
	case errors.Is(err, unix.ENOENT):
		return otto.Directory{}, nil
	case errors.Is(err, unix.ENOTDIR):
		return otto.Directory{There: true}, nil
	case err != nil:
		return otto.Directory{}, err
	}
	defer unix.Close(fd)
	d := otto.Directory{There: true, Kept: true, Hidden: path != hidden}
	if d.ID, d.Kept, err = identify(fd); err != nil {
		return otto.Directory{}, err
	}
	if d.Hidden {
		d.ID.Inode = 0
		if d.ID.Path != "" {
			d.ID.Path = filepath.Join(d.ID.Path, strings.TrimPrefix(hidden, path))
		}
	}
	return d, nil
}

// open returns a descriptor that only names a directory: no right to read is needed,
// and an automount is triggered.
func open(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// inMemory are file systems that keep nothing.
var inMemory = []string{ //nolint:gochecknoglobals // a constant
	"tmpfs", "ramfs", "devtmpfs", "devpts", "proc", "sysfs", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs",
	"configfs", "pstore", "mqueue", "hugetlbfs", "bpf", "binfmt_misc", "fusectl", "rpc_pipefs", "nsfs", "efivarfs",
}

// identify tells an open directory from others.
func identify(fd int) (id otto.DataID, kept bool, err error) {
	var stat unix.Stat_t
	var fs unix.Statfs_t
	if err := errors.Join(unix.Fstat(fd, &stat), unix.Fstatfs(fd, &fs)); err != nil {
		return id, false, err
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return id, false, err
	}
	m, known, err := mountOf(fd)
	if err != nil || !known { // in a chroot some mounts cannot be seen: it is known by presence only
		return id, true, err
	}
	if slices.Contains(inMemory, m.kind) {
		return id, false, nil
	}
	if rel, err := filepath.Rel(m.point, path); err == nil {
		id.Path = filepath.Join(m.root, rel)
	}
	if m.kind == "ext4" || m.kind == "xfs" { // others may number anew at each mount
		id.Inode = stat.Ino
	}
	id.FileSystem = fileSystem(m, fs.Fsid, "/dev/disk/by-uuid")
	return id, true, nil
}

// mountOf finds the mount that an open directory is in: not by its path, which may be
// hidden by another mount.
func mountOf(fd int) (m mount, known bool, err error) {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return m, false, err
	}
	_, after, _ := strings.Cut(string(info), "mnt_id:")
	number := strings.Fields(after)
	if len(number) == 0 {
		return m, false, nil
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return m, false, err
	}
	m, known = find(string(mounts), number[0])
	return m, known, nil
}

// fileSystem is what tells a file system from others across reboots; empty if nothing
// does. Numbers and names of devices follow the order in which they are found.
func fileSystem(m mount, fsid unix.Fsid, byUUID string) string {
	switch m.kind {
	case "ext2", "ext3", "ext4", "btrfs": // made of the UUID; xfs, f2fs and vfat make it of the device
		if fsid != (unix.Fsid{}) {
			return fmt.Sprintf("%s %08x%08x", m.kind, uint32(fsid.Val[0]),
				uint32(fsid.Val[1])) //nolint:gosec // its bits
		}
		return ""
	}
	if strings.HasPrefix(m.device, "0:") && !strings.HasPrefix(m.source, "/dev/") {
		return m.source // of a server, a pool, a program
	}
	entries, err := os.ReadDir(byUUID)
	if err != nil {
		return ""
	}
	device := m.device
	if strings.HasPrefix(device, "0:") {
		device = deviceAt(m.source)
	}
	for _, e := range entries {
		if d := deviceAt(filepath.Join(byUUID, e.Name())); d != "" && d == device {
			return e.Name()
		}
	}
	return ""
}

// deviceAt is the major:minor of a device node; empty if there is none.
func deviceAt(path string) string {
	var stat unix.Stat_t
	if unix.Stat(path, &stat) != nil || stat.Mode&unix.S_IFMT != unix.S_IFBLK {
		return ""
	}
	return fmt.Sprintf("%d:%d", unix.Major(stat.Rdev), unix.Minor(stat.Rdev))
}
