package docker

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
)

const (
	// HelperDir is where a helper finds the directory that it works on.
	HelperDir = "/data"
	// HelperSocket is the name of the socket in it by which the helper is talked with.
	HelperSocket  = ".talk"
	helperProgram = "/otto-agent"
	helperWithin  = time.Minute // until it calls
)

// Helper is a container with a program of Otto's that does to the files of one directory what
// the user of the agent may not.
type Helper struct {
	Program string   // path of a static program
	Args    []string // of it
	Dir     string   // what it may change, and nothing else; its user must be able to make a socket there
}

// Help runs a helper and has talk talk with it until it ends. The container has an image of
// the program alone, no network, and no rights but those to write, own and change files.
func (r *Runtime) Help(ctx context.Context, h Helper, talk func(net.Conn) error) error {
	listener, err := listenIn(h.Dir)
	if err != nil {
		return err
	}
	defer listener.Close()
	id := make([]byte, 6)
	_, _ = rand.Read(id) // it never fails
	name := "otto-helper-" + hex.EncodeToString(id)
	image := "otto-helper:" + hex.EncodeToString(id)
	if err := r.Sweep(ctx, false); err != nil {
		r.log.Warn("what runs and helpers have left is still there", "err", err)
	}
	if err := r.importProgram(ctx, h.Program, image); err != nil {
		return err
	}
	defer r.removeHelper(name, image)
	err = r.heavy(ctx, "create "+name, func(ctx context.Context, c *client.Client) error {
		_, err := c.ContainerCreate(ctx, r.helperOptions(h, name, image))
		return err
	})
	if err != nil {
		return err
	}
	if err := r.Start(ctx, name); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	_ = listener.SetDeadline(time.Now().Add(helperWithin))
	conn, err := listener.AcceptUnix()
	if err != nil {
		return fmt.Errorf("the helper container does not work: %w", errors.Join(ctx.Err(), r.lastWords(name), err))
	}
	defer conn.Close()
	end := context.AfterFunc(ctx, func() { conn.Close() })
	defer end()
	return errors.Join(ctx.Err(), talk(conn))
}

// helperOptions are what the engine is asked to make.
func (r *Runtime) helperOptions(h Helper, name, image string) client.ContainerCreateOptions {
	return client.ContainerCreateOptions{
		Name: name,
		Config: &container.Config{
			Image: image, Entrypoint: append([]string{helperProgram}, h.Args...), User: "0:0",
			Labels: map[string]string{labelOnce: onceOf(r.owner), labelRunner: thisRunner()},
		},
		HostConfig: &container.HostConfig{
			NetworkMode: "none", ReadonlyRootfs: true, CapDrop: []string{"ALL"},
			CapAdd:      []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"},
			SecurityOpt: []string{"no-new-privileges", "label=disable"},
			UsernsMode:  "host", // ids in files are those of the machine
			Mounts:      []mount.Mount{{Type: mount.TypeBind, Source: h.Dir, Target: HelperDir}},
		},
	}
}

// listenIn listens at a socket in a directory, whose path may be longer than that of a socket.
func listenIn(dir string) (*net.UnixListener, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	at := fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), HelperSocket)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: at, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // its directory goes with it
	return l, nil
}

// importProgram makes an image of a program and nothing else.
func (r *Runtime) importProgram(ctx context.Context, program, image string) error {
	f, err := os.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	in, out := io.Pipe()
	defer in.Close()
	go func() {
		w := tar.NewWriter(out)
		err := w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(helperProgram, "/"), Mode: 0o755, Size: info.Size()})
		if err == nil {
			_, err = io.Copy(w, f)
		}
		out.CloseWithError(errors.Join(err, w.Close()))
	}()
	return r.call(ctx, longCall, "make the image of the helper", func(ctx context.Context, c *client.Client) error {
		answer, err := c.ImageImport(ctx, client.ImageImportSource{Source: in, SourceName: "-"}, image,
			client.ImageImportOptions{Message: "Otto's helper", Changes: []string{
				"LABEL " + labelOnce + "=" + strconv.Quote(onceOf(r.owner)),
				"LABEL " + labelRunner + "=" + strconv.Quote(thisRunner()),
			}})
		if err != nil {
			return err
		}
		defer answer.Close()
		said, err := io.ReadAll(io.LimitReader(answer, 1<<16))
		if err == nil && strings.Contains(string(said), `"error"`) {
			err = errors.New(strings.TrimSpace(string(said)))
		}
		return err
	})
}

// lastWords are what a helper has said before it ended.
func (r *Runtime) lastWords(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), shortCall)
	defer cancel()
	lines, err := r.Logs(ctx, name, 2)
	if err != nil || len(lines) == 0 {
		return nil // then nothing is known
	}
	return errors.New(strings.Join(lines, "; "))
}

func (r *Runtime) removeHelper(name, image string) {
	ctx, cancel := context.WithTimeout(context.Background(), removeWithin)
	defer cancel()
	if err := errors.Join(r.removeOnce(ctx, name), r.removeImage(ctx, image)); err != nil {
		r.log.Warn("a helper is still there", "container", name, "err", err)
	}
}

// sweepImages removes the images of helpers for which nobody waits any more.
func (r *Runtime) sweepImages(ctx context.Context, all bool) error {
	var left []string
	err := r.call(ctx, shortCall, "list images of helpers", func(ctx context.Context, c *client.Client) error {
		list, err := c.ImageList(ctx, client.ImageListOptions{
			Filters: client.Filters{}.Add("label", labelOnce+"="+onceOf(r.owner)),
		})
		left = nil
		for _, item := range list.Items {
			if all || !runnerLives(item.Labels[labelRunner]) {
				left = append(left, item.ID)
			}
		}
		return err
	})
	errs := []error{err}
	for _, id := range left {
		errs = append(errs, r.removeImage(ctx, id))
	}
	return errors.Join(errs...)
}

func (r *Runtime) removeImage(ctx context.Context, image string) error {
	return r.call(ctx, removeWithin, "remove the image of a helper", func(ctx context.Context, c *client.Client) error {
		_, err := c.ImageRemove(ctx, image, client.ImageRemoveOptions{Force: true, PruneChildren: true})
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// Users are the running containers that may write to a path of this machine, or to what is
// below it.
func (r *Runtime) Users(ctx context.Context, path string) (names []string, err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	within := func(a, b string) bool { return a == b || strings.HasPrefix(a, strings.TrimSuffix(b, "/")+"/") }
	err = r.call(ctx, shortCall, "list containers", func(ctx context.Context, c *client.Client) error {
		list, err := c.ContainerList(ctx, client.ContainerListOptions{})
		if err != nil {
			return err
		}
		for _, item := range list.Items {
			for _, m := range item.Mounts {
				source := m.Source
				if real, err := filepath.EvalSymlinks(source); err == nil {
					source = real
				}
				if m.Type == mount.TypeBind && m.RW && source != "/" && (within(source, path) || within(path, source)) {
					names = append(names, strings.TrimPrefix(item.Names[0], "/"))
					break
				}
			}
		}
		return nil
	})
	return names, err
}
