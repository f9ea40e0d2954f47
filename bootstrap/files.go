package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pkg/sftp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// Files reads files of a node as the user that Otto is there, over one connection.
type Files struct{ h host }

// Found is a file or a folder of a node. Links are not followed.
type Found struct {
	Path string // relative to where was looked; "." is that itself
	Mode fs.FileMode
	Size int64
}

// Files connects to a node of by's to read files there.
func (f *Fleet) Files(ctx context.Context, node otto.Node, by wire.Authority) (*Files, error) {
	h, err := f.connect(ctx, node)
	if err != nil {
		return nil, err
	}
	found, err := probe(ctx, h, by.Cluster, node.DockerURL)
	if err == nil {
		err = found.stranger(node, by)
	}
	if err != nil {
		h.Close()
		return nil, err
	}
	return &Files{h}, nil
}

// Close ends the connection.
func (f *Files) Close() error { return f.h.Close() }

// Get reads a file of at most limit bytes; fs.ErrNotExist says that there is none.
func (f *Files) Get(ctx context.Context, path string, limit int64) ([]byte, error) {
	return f.h.get(ctx, path, limit)
}

// List is what is at a path and below it, most entries of it.
func (f *Files) List(ctx context.Context, path string, most int) ([]Found, error) {
	return f.h.list(ctx, path, most)
}

func tooMany(most int) error { return fmt.Errorf("there are more than %d files", most) }

func (local) list(_ context.Context, path string, most int) (all []Found, err error) {
	err = filepath.WalkDir(path, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if len(all) == most {
			return tooMany(most)
		}
		rel, err := filepath.Rel(path, at)
		all = append(all, Found{rel, info.Mode(), info.Size()})
		return err
	})
	return all, err
}

func (r *remote) list(ctx context.Context, path string, most int) (all []Found, err error) {
	defer context.AfterFunc(ctx, func() { r.Client.Close() })()
	c, err := sftp.NewClient(r.Client)
	if err != nil {
		return nil, lost(ctx, fmt.Errorf("SFTP: %w", err))
	}
	defer c.Close()
	for w := c.Walk(path); w.Step(); {
		if err := w.Err(); err != nil {
			return nil, whyUnread(w.Path(), err)
		}
		if len(all) == most {
			return nil, tooMany(most)
		}
		rel, err := filepath.Rel(path, w.Path())
		if err != nil {
			return nil, err
		}
		all = append(all, Found{rel, w.Stat().Mode(), w.Stat().Size()})
	}
	return all, nil
}

// whyUnread names the file of an error of SFTP, which does not.
func whyUnread(path string, err error) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s: %w", path, os.ErrPermission)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s: %w", path, os.ErrNotExist)
	}
	return fmt.Errorf("%s: %w", path, err)
}
