// Package durable replaces files so that a power cut at any point leaves the former
// content or the new one, whole.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace replaces a file, or makes it, and is on disk when it returns. What was begun
// beside it, under the same name with .new, is removed after an error.
func Replace(path string, data []byte, mode fs.FileMode) error {
	temp := path + Suffix
	if err := Write(temp, data, mode); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Suffix ends the names of files that are not whole yet.
const Suffix = ".new"

// Write writes a file and forces its content to disk, but not its name: that is of use
// for a file that is renamed next. An error may leave a part of it.
func Write(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// SyncDir forces the names of a directory to disk: what was made, renamed and removed there.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
