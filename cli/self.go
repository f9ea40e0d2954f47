package cli

import (
	"fmt"
	"os"
)

// self is what a control plane was when it started: who has started it, and in which
// directory.
type self struct {
	dir    stateDir
	at     place
	parent int // 0 for one without a supervisor
}

// newSelf is to be called at the start.
func newSelf(d stateDir, supervised bool) (s self, err error) {
	s.dir = d
	if supervised {
		s.parent = os.Getppid()
	}
	s.at, err = d.place()
	return s, err
}

// there reports whether the directory is where it was.
func (s self) there() bool {
	now, err := s.dir.place()
	return err == nil && now.Inode == s.at.Inode
}

// ailments are what is wrong with this process or its directory.
func (s self) ailments() (list []string) {
	if s.parent != 0 && os.Getppid() != s.parent {
		list = append(list,
			"the supervisor of the control plane is gone: nothing starts it again if it dies; run `otto cluster start`")
	}
	if !s.there() {
		list = append(
			list,
			fmt.Sprintf(
				"%s was moved or removed while the control plane runs (pid %d): put it back, or run `otto cluster start` where it is now",
				s.dir,
				os.Getpid(),
			),
		)
	}
	return list
}
