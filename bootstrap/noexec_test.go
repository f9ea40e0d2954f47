package bootstrap

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/otto-edge/otto"
)

// TestHomeWithoutPrograms has a home directory that is mounted noexec. Nothing can have
// run there, so that nobody needs a program to be rid of Otto again.
func TestHomeWithoutPrograms(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", home, "tmpfs", unix.MS_NOEXEC, "size=64m"); errors.Is(err, unix.EPERM) {
		t.Log("not root's: nothing is mounted")
		return
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(home, unix.MNT_DETACH) })
	w := newWorld(t)
	w.opts.Home = home
	f := w.fleet()
	node := otto.Node{ID: "pi", Host: "localhost", DockerURL: "tcp://127.0.0.1:1"}
	_, err := f.Ensure(t.Context(), node, enrolment("pi", "127.0.0.1:1"), 0, bringing(func(string) {}, nil))
	wantError(t, err, "no program can be run in "+home+" on pi",
		"mounted noexec: run `sudo mount -o remount,exec "+home+"` there, or have the agent elsewhere:",
		"ln -s /opt/otto")
	// A former build has left its agent there before it found out.
	dir := filepath.Join(home, ".local/share/otto", cluster, "agents", testAgent.Hash)
	if err := errors.Join(
		os.MkdirAll(dir, 0o700),
		os.WriteFile(filepath.Join(dir, agentName), []byte("#!/bin/sh\n"), 0o700),
	); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	if err := errors.Join(f.Stop(t.Context(), node, us), f.Uninstall(t.Context(), node, us, true)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("it is still there")
	}
}
