package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
)

// foldersDir is where the agent of dir has the files of projects; empty if they would be
// of no use to an engine on another machine.
func foldersDir(dir string, localEngine bool) string {
	if !localEngine {
		return ""
	}
	return filepath.Join(dir, "files")
}

// bring takes in files for the agent of dir: a line with their key, and then their pack.
func bring(dir string, in io.Reader, out io.Writer) error {
	if _, err := readEnrolment(dir); err != nil {
		return errors.Join(errors.New("this is no node of the cluster"), err)
	}
	r := bufio.NewReader(in)
	line, err := r.ReadSlice('\n')
	if err != nil {
		return errors.New("there is no key before the files")
	}
	if err := agent.Bring(foldersDir(dir, true), strings.TrimSpace(string(line)), r); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, "taken")
	return err
}

// foldersFor are where the files of a spec are.
func foldersFor(dir string, localEngine bool, spec otto.ContainerSpec) (map[string]string, error) {
	if len(spec.Folders()) == 0 {
		return nil, nil
	}
	return agent.FolderPaths(foldersDir(dir, localEngine), spec)
}
