package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/bootstrap"
	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/durable"
	"github.com/otto-edge/otto/folder"
)

// A project of another node has its files there. They are brought here, as they are few, and what
// its containers write stays: a Compose file beside those of the project says where.

const (
	fetchedMark = ".otto-adopted"  // in a folder that was brought: of which project
	keptName    = "otto-kept.yaml" // says what stays on the node
)

// nodeFiles reads files of a node; bootstrap.Files is one.
type nodeFiles interface {
	Get(ctx context.Context, path string, limit int64) ([]byte, error)
	List(ctx context.Context, path string, most int) ([]bootstrap.Found, error)
}

// fetched are the files of a project that were brought. Paths are relative to their folder.
type fetched struct {
	Node    string   `json:"node"`
	Dir     string   `json:"dir"` // on the node
	Compose []string `json:"compose"`
	Files   []string `json:"files"`
	Notes   []string `json:"notes"`
}

// fetching brings the files of a project.
type fetching struct {
	from    nodeFiles
	project otto.Project
	to      string
	got     fetched
	text    strings.Builder // of all Compose files
	bytes   int64           // left of what may be brought
	kept    []config.Kept
}

// copyYourself is what to do about a project that cannot be brought.
const copyYourself = "copy the folder of the project here, without its data, and name it with -f"

// fetchProject brings the files of a project of a node into a new folder. On an error
// the folder is incomplete and must not be used.
func fetchProject(ctx context.Context, from nodeFiles, node string, p otto.Project, to string) (fetched, error) {
	f := fetching{
		from: from, project: p, to: to, bytes: folder.MaxBytes,
		got: fetched{Node: node, Dir: p.Dir, Compose: []string{}, Files: []string{}, Notes: []string{}},
	}
	err := os.Mkdir(to, 0o700)
	if err == nil {
		err = f.all(ctx)
	}
	if err != nil {
		return f.got, fmt.Errorf("its Compose file is on %s (%s), and cannot be brought from there: %w", node,
			dash(strings.Join(p.Files, ", ")), err)
	}
	mark, err := json.Marshal(f.got)
	if err == nil {
		err = durable.Replace(filepath.Join(to, fetchedMark), mark, 0o600)
	}
	return f.got, err
}

func (f *fetching) all(ctx context.Context) error {
	p := f.project
	switch {
	case len(p.Files) == 0:
		return fmt.Errorf("it is not noted where it is: %s", copyYourself)
	case p.Dir != path.Dir(p.Files[0]):
		return fmt.Errorf("the project was run with %s as its folder, and not with that of its file: %s", dash(p.Dir), copyYourself)
	}
	env := path.Join(p.Dir, ".env")
	for i := range p.Containers {
		other := p.Containers[i].Labels[otto.ComposeLabels+"project.environment_file"]
		if other != "" && other != env {
			return fmt.Errorf("it was run with --env-file %s: %s", other, copyYourself)
		}
	}
	if err := f.file(ctx, env, true); err != nil { // first, as the others have its variables
		return err
	}
	for _, at := range p.Files {
		if err := f.compose(ctx, at); err != nil {
			return err
		}
		f.got.Compose = append(f.got.Compose, f.inside(at))
	}
	if err := f.mounts(ctx); err != nil {
		return err
	}
	return f.keep()
}

// inside is a path of the node relative to the folder of the project; empty if it is not in it.
func (f *fetching) inside(at string) string {
	rel, in := strings.CutPrefix(path.Clean(at), strings.TrimSuffix(f.project.Dir, "/")+"/")
	if !in || !filepath.IsLocal(rel) {
		return ""
	}
	return rel
}

func (f *fetching) has(rel string) bool { return slices.Contains(f.got.Files, rel) }

// file brings one file, for its owner alone: it may have secrets.
func (f *fetching) file(ctx context.Context, at string, optional bool) error {
	rel := f.inside(at)
	switch {
	case rel == "":
		return fmt.Errorf("%s is not in the folder of the project, %s: %s", at, f.project.Dir, copyYourself)
	case rel == fetchedMark || rel == keptName:
		return fmt.Errorf("it has a file %s, which is a name of Otto's: %s", rel, copyYourself)
	case f.has(rel):
		return nil
	case len(f.got.Files) == folder.MaxFiles:
		return fmt.Errorf("it has more than %d files: %s", folder.MaxFiles, copyYourself)
	}
	content, err := f.from.Get(ctx, at, f.bytes)
	if optional && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", at, err, copyYourself)
	}
	return f.write(rel, content, 0o600)
}

func (f *fetching) write(rel string, content []byte, mode fs.FileMode) error {
	f.bytes -= int64(len(content))
	f.got.Files = append(f.got.Files, rel)
	here := filepath.Join(f.to, filepath.FromSlash(rel))
	if err := os.MkdirAll(filepath.Dir(here), 0o700); err != nil {
		return err
	}
	return durable.Replace(here, content, mode)
}

// compose brings a Compose file, and what it refers to.
func (f *fetching) compose(ctx context.Context, at string) error {
	if rel := f.inside(at); rel != "" && f.has(rel) {
		return nil
	}
	if err := f.file(ctx, at, false); err != nil {
		return err
	}
	here := filepath.Join(f.to, filepath.FromSlash(f.inside(at)))
	content, err := os.ReadFile(here)
	if err != nil {
		return err
	}
	f.text.Write(content)
	refs, err := config.References(here, os.LookupEnv)
	if why := (config.NotAloneError{}); errors.As(err, &why) {
		return fmt.Errorf("%s: %w: %s", at, why, copyYourself)
	}
	if err != nil {
		return err
	}
	for _, ref := range refs {
		of := ref.Path
		if !path.IsAbs(of) {
			of = path.Join(path.Dir(at), of)
		}
		if ref.Compose {
			err = f.compose(ctx, of)
		} else {
			err = f.file(ctx, of, ref.Optional)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mounts brings what containers only read, if it is in the folder of the project and anybody may
// read it there, so that it is the same here. All else stays where it is.
func (f *fetching) mounts(ctx context.Context) error {
	var binds []config.Kept
	for i := range f.project.Containers {
		c := &f.project.Containers[i]
		for _, m := range c.Mounts {
			same := func(k config.Kept) bool { return k.Service == c.Service && k.Target == m.Target }
			if m.Type != otto.MountBind || c.OneOff || slices.ContainsFunc(binds, same) {
				continue
			}
			binds = append(binds, config.Kept{Service: c.Service, Source: path.Clean(m.Source), Target: m.Target, ReadOnly: m.ReadOnly})
		}
	}
	tried := map[string]string{} // why a path stays; empty if it was brought
	for _, b := range binds {
		rel := f.inside(b.Source)
		why, known := tried[b.Source]
		written := slices.ContainsFunc(binds, func(o config.Kept) bool { return !o.ReadOnly && overlap(o.Source, b.Source) })
		switch {
		case rel != "" && f.has(rel) && !written: // such as a file of configs or secrets
			continue
		case rel == "" && b.Source != path.Clean(f.project.Dir) && strings.Contains(f.text.String(), b.Source): // as the file has it
			continue
		case rel == "" || written:
			f.kept = append(f.kept, b)
			continue
		case !known:
			var err error
			if why, err = f.bring(ctx, b.Source, rel); err != nil {
				return err
			}
			if tried[b.Source] = why; why != "" {
				f.got.Notes = append(f.got.Notes, fmt.Sprintf("%s stays on %s: %s", b.Source, f.got.Node, why))
			}
		}
		if why != "" {
			f.kept = append(f.kept, b)
		}
	}
	return nil
}

// overlap reports whether one path is the other one or below it.
func overlap(a, b string) bool {
	return a == b || strings.HasPrefix(a, strings.TrimSuffix(b, "/")+"/") || strings.HasPrefix(b, strings.TrimSuffix(a, "/")+"/")
}

// bring brings a file or a folder that is only read, or says why it stays.
func (f *fetching) bring(ctx context.Context, at, rel string) (why string, err error) {
	const readable, searchable = 0o004, 0o005
	list, err := f.from.List(ctx, at, folder.MaxFiles-len(f.got.Files))
	if err != nil {
		return err.Error(), ctx.Err()
	}
	size := int64(0)
	for _, e := range list {
		size += e.Size
		switch mode := e.Mode; {
		case !mode.IsRegular() && !mode.IsDir():
			return e.Path + " in it is no file", nil
		case mode.IsRegular() && mode&readable == 0, mode.IsDir() && mode&searchable != searchable:
			return "not everybody may read it", nil
		case mode&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0:
			return "it has special modes", nil
		case size > f.bytes:
			return fmt.Sprintf("it is larger than %d MB", folder.MaxBytes/otto.MB), nil
		}
	}
	for _, e := range list {
		here := path.Join(rel, filepath.ToSlash(e.Path))
		if e.Mode.IsDir() {
			if err := os.MkdirAll(filepath.Join(f.to, filepath.FromSlash(here)), 0o700); err != nil {
				return "", err
			}
			continue
		}
		if f.has(here) {
			continue
		}
		content, err := f.from.Get(ctx, path.Join(at, filepath.ToSlash(e.Path)), f.bytes)
		if err == nil {
			err = f.write(here, content, e.Mode.Perm())
		}
		if err != nil {
			return "", err
		}
	}
	for _, e := range slices.Backward(list) { // a folder that nobody may write to is filled by now
		if e.Mode.IsDir() {
			if err := os.Chmod(filepath.Join(f.to, filepath.FromSlash(path.Join(rel, filepath.ToSlash(e.Path)))), e.Mode.Perm()|0o700); err != nil {
				return "", err
			}
		}
	}
	return "", nil
}

// keep writes the Compose file that says what stays.
func (f *fetching) keep() error {
	if len(f.kept) == 0 {
		return nil
	}
	text, err := config.KeptFile(fmt.Sprintf("# Made by otto adopt: what project %s keeps on %s, where it has written it.\n", f.project.Name,
		f.got.Node), f.kept)
	if err != nil {
		return err
	}
	for _, k := range f.kept {
		if note := fmt.Sprintf("%s stays on %s", k.Source, f.got.Node); !slices.ContainsFunc(f.got.Notes, func(n string) bool {
			return strings.HasPrefix(n, note)
		}) {
			f.got.Notes = append(f.got.Notes, note)
		}
	}
	f.got.Compose = append(f.got.Compose, keptName)
	return f.write(keptName, []byte(text), 0o600)
}

// fetchedBefore is what was brought into a folder by a command before this one; false if the
// folder is not there.
func fetchedBefore(dir, node string, p otto.Project) (f fetched, there bool, err error) {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return f, false, nil
	}
	mark, err := os.ReadFile(filepath.Join(dir, fetchedMark))
	if err == nil {
		err = json.Unmarshal(mark, &f)
	}
	if err != nil || f.Node != node || f.Dir != p.Dir {
		return f, true, fmt.Errorf("its files would be brought from %s to %s, and that is there: name its Compose file with -f if it is "+
			"the project's, or rename it", node, dir)
	}
	return f, true, nil
}
