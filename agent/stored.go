package agent

import (
	"os"
	"path/filepath"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// opened is an assignment that was checked, with what is sealed in it. Without the contents
// of their files the instances that need them wait, and all others do not; of one that is
// covered nothing is known without.
func (a *Agent) opened(asg otto.Assignment, err error, keys ...[]byte) (otto.Assignment, error) {
	if err != nil {
		return asg, err
	}
	asg, err = wire.Unseal(asg, keys...)
	if err != nil && !asg.Covered {
		a.Log.Warn("secrets and configs cannot be opened", "revision", asg.Revision.String(), "err", err)
		err = nil
	}
	return asg, err
}

// Served reports whether an agent has had an assignment in dir that counts, also if what is
// there has been set aside since. It changes nothing.
func Served(dir string, counts func([]byte) bool) bool {
	for _, name := range []string{currentFile, previousFile} {
		for _, aside := range []string{"", setAside} {
			if b, err := os.ReadFile(filepath.Join(dir, name+aside)); err == nil && counts(b) {
				return true
			}
		}
	}
	return false
}

// Stored returns the newest assignment in dir, which is an agent's, that open
// accepts; nil if there is none. It changes nothing.
func Stored(dir string, open func([]byte) (otto.Assignment, error)) []byte {
	for _, name := range []string{currentFile, previousFile} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		if _, err := open(b); err == nil {
			return b
		}
	}
	return nil
}
