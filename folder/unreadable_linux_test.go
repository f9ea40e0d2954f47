package folder_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/otto-edge/otto/folder"
)

// TestUnreadableIsRefused: root, who reads everything, reads as nobody for it.
func TestUnreadableIsRefused(t *testing.T) {
	dir := project(t, some)
	if err := os.Chmod(filepath.Join(dir, "conf/none"), 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		// What nobody meets on the way may be read by all.
		for _, name := range []string{filepath.Dir(dir), dir, filepath.Join(dir, "conf")} {
			if err := os.Chmod(name, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		const nobody = 65534
		if err := syscall.Setfsuid(nobody); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Setfsuid(0) }()
	}
	_, err := folder.Read(dir, "conf", folder.NewBudget())
	if err == nil || !strings.HasPrefix(err.Error(), `"./conf/none": permission denied`) {
		t.Error(err)
	}
}
