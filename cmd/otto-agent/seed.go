package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/docker"
	"github.com/otto-edge/otto/folder"
	"github.com/otto-edge/otto/seed"
	"github.com/otto-edge/otto/wire"
)

const (
	// slack is what a node keeps free, in bytes.
	slack = 64 << 20
	// quiet is how long nothing may come: a connection that was cut ends by itself after two
	// hours alone.
	quiet = 15 * time.Minute
	// helperFine is what a helper answers, and helperRemove what it is told to do instead of
	// taking in a stream.
	helperFine   = "ok"
	helperUnpack = "unpack"
	helperRemove = "remove"
)

// seedsDir is where the agent of dir has the data of projects; empty if an engine on another
// machine has no use for it. It stays when the agent is removed.
func seedsDir(dir string, localEngine bool) string {
	if !localEngine {
		return ""
	}
	return filepath.Join(dir, "data")
}

// takeSeed takes in the data of a project for the agent of dir: a wire.Seed, and then a stream
// of package seed.
func takeSeed(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	e, err := readEnrolment(dir)
	if err != nil {
		return errors.Join(errors.New("this is no node of the cluster"), err)
	}
	rt, err := engineOf(ctx, dir, e)
	if err != nil {
		return err
	}
	defer rt.Close()
	if !rt.Local() {
		return errors.New("its container engine is on another machine")
	}
	r := bufio.NewReaderSize(awake{in, time.AfterFunc(quiet, gone)}, 1<<16)
	line, err := r.ReadSlice('\n')
	var ask wire.Seed
	if err == nil {
		err = json.Unmarshal(line, &ask)
	}
	if err != nil {
		return errors.New("there is no word of what is to come")
	}
	s := seeding(dir, e.ClusterID, rt)
	err = s.Take(ctx, ask.Volume, func() (io.Reader, error) {
		if err := room(s.Dir, ask); err != nil {
			return nil, err
		}
		_, err := fmt.Fprintln(out, wire.SeedWanted)
		return r, err
	})
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("its disk is full: make room for %s, %s", ask.Path, megabytes(ask.Bytes))
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, wire.SeedTaken)
	return err
}

// awake puts off the end of this process whenever something comes.
type awake struct {
	io.Reader
	end *time.Timer
}

func (a awake) Read(b []byte) (int, error) {
	n, err := a.Reader.Read(b)
	if a.end.Reset(quiet); err != nil {
		a.end.Stop()
	}
	return n, err
}

// gone ends this process as a kill does, which is safe at any time; the next one removes what
// it leaves.
func gone() {
	fmt.Fprintf(os.Stderr, "nothing has come for %s\n", quiet)
	os.Exit(1)
}

// seeding is how data comes here: by this process if it is root, or else by a helper.
func seeding(dir, clusterID string, rt *docker.Runtime) agent.Seeding {
	s := agent.Seeding{
		Dir: seedsDir(dir, true), ClusterID: clusterID,
		Unpack: func(_ context.Context, from io.Reader, into string) error { return seed.Receive(from, into) },
		Remove: func(_ context.Context, at string) error { return folder.Remove(at) },
	}
	if os.Geteuid() == 0 {
		return s
	}
	s.Unpack = func(ctx context.Context, from io.Reader, into string) error {
		return helped(ctx, rt, helperUnpack, into, from)
	}
	s.Remove = func(ctx context.Context, at string) error {
		if folder.Remove(at) == nil {
			return nil
		}
		if err := os.Remove(filepath.Join(at, docker.HelperSocket)); err != nil && !os.IsNotExist(err) {
			return err
		}
		return errors.Join(helped(ctx, rt, helperRemove, at, nil), folder.Remove(at))
	}
	return s
}

// room refuses what does not fit on the disk.
func room(dir string, ask wire.Seed) error {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return nil //nolint:nilerr // then it shows when it is written
	}
	free := int64(s.Bavail) * int64(s.Bsize) //nolint:gosec,unconvert // both have fewer bits on some machines
	if need := ask.Bytes + int64(ask.Files)*512 + slack; free < need {
		return fmt.Errorf("there is no room: %s needs %s, and %s are free on the disk of %s", ask.Path, megabytes(need),
			megabytes(free), dir)
	}
	return nil
}

func megabytes(n int64) string { return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20) }

// helped has a helper do something with a directory.
func helped(ctx context.Context, rt *docker.Runtime, what, dir string, stream io.Reader) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	h := docker.Helper{Program: program, Args: []string{"help", "--dir", docker.HelperDir, what}, Dir: dir}
	err = rt.Help(ctx, h, func(c net.Conn) error { return talk(c, stream) })
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, docker.HelperSocket)); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// talk sends a stream, if there is one, and reads the answer.
func talk(c net.Conn, stream io.Reader) error {
	var err error
	if stream != nil {
		_, err = io.Copy(c, stream)
	}
	if half, ok := c.(*net.UnixConn); ok {
		err = errors.Join(err, half.CloseWrite())
	}
	said, readErr := io.ReadAll(io.LimitReader(c, 4096))
	switch text := strings.TrimSpace(string(said)); {
	case text == helperFine:
		return err
	case strings.HasPrefix(text, fullDisk):
		return syscall.ENOSPC
	case text != "":
		return errors.New(text)
	}
	return errors.Join(errors.New("the helper container has ended"), err, readErr)
}

const fullDisk = "no space: "

// help is the helper: it does one thing with dir, and calls the one who has started it there.
func help(ctx context.Context, dir, what string) error {
	c, err := new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, docker.HelperSocket))
	if err != nil {
		return err
	}
	defer c.Close()
	switch what {
	case helperUnpack:
		err = seed.Receive(c, dir)
	case helperRemove:
		err = folder.Remove(filepath.Join(dir, "tree"))
	default:
		err = fmt.Errorf("a helper of this build knows no %.60q", what)
	}
	answer := helperFine
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		answer = fullDisk + err.Error()
	case err != nil:
		answer = err.Error()
	}
	_, err = fmt.Fprintln(c, answer)
	return err
}
