package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/bootstrap"
	"github.com/otto-edge/otto/config"
)

// buildTail is how many of the last lines of a build that fails are shown.
const buildTail = 12

// image is what was built for services.
type image struct {
	of       *config.Build
	id       string
	platform string // that nodes must have, if they have several
	layers   []string
	bytes    int64
	engine   engine // where it was built
}

// engine is a container engine as the docker command reaches it.
type engine struct{ env []string } // nil for the user's own

// docker runs the docker command, and returns what it prints.
func (e engine) docker(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = append(os.Environ(), e.env...)
	said := &bytes.Buffer{}
	cmd.Stderr = said
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("docker %s: %w", args[0], complaint(ctx, err, said.String()))
	}
	return out, err
}

// complaint is why a command of docker failed, in its own words.
func complaint(ctx context.Context, err error, said string) error {
	said = strings.TrimPrefix(strings.Join(lastLines(said, 3), "; "), "Error response from daemon: ")
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return errors.New("the command is not there: images are built with it: install Docker on this machine")
	case said != "":
		return errors.New(said)
	}
	return err
}

func lastLines(text string, most int) []string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.TrimSpace(line) == "" })
	return lines[max(0, len(lines)-most):]
}

// builder builds the images of a file.
type builder struct {
	*app
	file   *config.File
	arch   map[string]string // of nodes, by id, as far as they are known
	own    string            // architecture of the engine here
	buildx bool
}

// buildAll builds what a file says, and has its services run that. Nothing of the cluster is
// changed.
func (a *app) buildAll(ctx context.Context, d stateDir, f *config.File) error {
	if len(f.Builds) == 0 || a.builtOf == f {
		return nil
	}
	b := builder{app: a, file: f}
	own, err := engine{}.docker(ctx, "version", "--format", "{{.Server.Arch}}")
	if err != nil {
		return fmt.Errorf("build %s: %w", f.Builds[0].Image, err)
	}
	b.own = strings.TrimSpace(string(own))
	_, err = engine{}.docker(ctx, "buildx", "version")
	b.buildx = err == nil
	b.arch = a.architectures(ctx, d, f)
	var images []image
	for _, of := range f.Builds {
		img, err := b.build(ctx, of)
		if err != nil {
			return err
		}
		images = append(images, img)
	}
	a.built, a.builtOf = images, f
	for _, img := range images {
		f.SetBuilt(img.of, img.id, img.platform)
	}
	return nil
}

// alreadyBuilt has services of another reading of the file run what was built for them.
func (a *app) alreadyBuilt(f *config.File) {
	for _, b := range f.Builds {
		i := slices.IndexFunc(a.built, func(img image) bool { return img.of.Services[0] == b.Services[0] })
		if i >= 0 {
			f.SetBuilt(b, a.built[i].id, a.built[i].platform)
		}
	}
}

// architectures are those of the nodes, from the control plane or, where that does not
// know, from the nodes.
func (a *app) architectures(ctx context.Context, d stateDir, f *config.File) map[string]string {
	all := map[string]string{}
	if v, err := d.client().Cluster(ctx); err == nil {
		for _, n := range v.Nodes {
			if n.Facts.Arch != "" {
				all[n.ID] = n.Facts.Arch
			}
		}
	}
	fleet := bootstrap.New(bootstrap.Options{Log: slog.New(slog.DiscardHandler)})
	defer fleet.Close()
	for _, n := range f.Wanted.Nodes {
		if all[n.ID] == "" {
			if arch, err := fleet.Arch(ctx, n, f.Name); err == nil && arch != "" {
				all[n.ID] = arch
			}
		}
	}
	return all
}

// platform is for what an image is built, and whether nodes have to be told from others
// by it.
func (b *builder) platform(of *config.Build) (platform string, pin bool, err error) {
	archs := map[string]bool{}
	all := map[string]bool{}
	for _, arch := range b.arch {
		all[arch] = true
	}
	for _, s := range b.file.Wanted.Services {
		switch {
		case !slices.Contains(of.Services, s.Name):
		case s.Platform != "" && platform != "" && s.Platform != platform:
			return "", false, fmt.Errorf("build %s (%s): its services are for %s and %s: give each a build of its own", of.Image,
				of.Place, platform, s.Platform)
		case s.Platform != "":
			platform = s.Platform
		case s.Node != "":
			archs[b.arch[s.Node]] = true
		default:
			for arch := range all {
				archs[arch] = true
			}
		}
	}
	delete(archs, "")
	allowed := func(p string) bool {
		return len(of.Platforms()) == 0 || slices.ContainsFunc(of.Platforms(), func(q string) bool { return q == p || strings.HasPrefix(q, p+"/") })
	}
	if platform == "" {
		for _, arch := range slices.Sorted(maps.Keys(archs)) {
			if p := "linux/" + arch; allowed(p) && (platform == "" || arch == b.own) {
				platform = p
			}
		}
	}
	switch {
	case platform == "" && len(archs) == 0 && allowed("linux/"+b.own):
		return "linux/" + b.own, false, nil
	case platform == "" || !allowed(platform):
		return "", false, fmt.Errorf("build %s (%s): its platforms are %s, and none of its nodes is one of them", of.Image, of.Place,
			strings.Join(of.Platforms(), ", "))
	}
	return platform, len(all) > 1, nil
}

// build builds one image.
func (b *builder) build(ctx context.Context, of *config.Build) (image, error) {
	img := image{of: of}
	platform, pin, err := b.platform(of)
	if err != nil {
		return img, err
	}
	if pin {
		img.platform = platform
	}
	here := arch(platform) == b.own || b.canBuild(ctx, platform)
	if !here {
		if img.engine, err = b.onNode(ctx, of, arch(platform)); err != nil {
			return img, fmt.Errorf("build %s (%s): it is for %s, and there is no builder for that here (docker run --privileged --rm "+
				"tonistiigi/binfmt --install all sets up one for buildx): %w", of.Image, of.Place, platform, err)
		}
	}
	asked := platform
	if !b.buildx && (arch(platform) == b.own || !here) {
		asked = "" // engines of before take none
	}
	command, err := of.Command(asked, b.buildx)
	if err != nil {
		return img, fmt.Errorf("build %s (%s): %w", of.Image, of.Place, err)
	}
	b.note("building %s from %s", of.Image, of.Context())
	if err := img.engine.build(ctx, command); err != nil {
		return img, fmt.Errorf("build %s (%s): %w", of.Image, of.Place, err)
	}
	return img, img.inspect(ctx)
}

// arch is that of a platform.
func arch(platform string) string { return otto.Service{Platform: platform}.Arch() }

// canBuild reports whether buildx has a builder here for a platform.
func (b *builder) canBuild(ctx context.Context, platform string) bool {
	if !b.buildx {
		return false
	}
	said, err := engine{}.docker(ctx, "buildx", "inspect")
	for line := range strings.Lines(string(said)) {
		list, ok := strings.CutPrefix(line, "Platforms:")
		for p := range strings.SplitSeq(list, ",") {
			if p = strings.Trim(p, " *\n"); ok && (p == platform || strings.HasPrefix(p, platform+"/")) {
				return err == nil
			}
		}
	}
	return false
}

func (e engine) build(ctx context.Context, c config.BuildCommand) error {
	cmd := exec.CommandContext(ctx, "docker", c.Args...)
	cmd.Env = append(append(os.Environ(), e.env...), c.Env...)
	cmd.Stdin = strings.NewReader(c.Input)
	said := &tail{most: 64 << 10}
	cmd.Stdout, cmd.Stderr = said, said
	err := cmd.Run()
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	lines := lastLines(string(said.last), buildTail)
	if len(lines) == 0 {
		return complaint(ctx, err, "")
	}
	return fmt.Errorf("nothing was changed, as the build failed:\n  | %s", strings.Join(lines, "\n  | "))
}

// tail keeps the last bytes that are written to it.
type tail struct {
	most int
	last []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.last = append(t.last, p...)
	if len(t.last) > 2*t.most {
		t.last = append([]byte(nil), t.last[len(t.last)-t.most:]...)
	}
	return len(p), nil
}

// inspect finds out what was built.
func (img *image) inspect(ctx context.Context) error {
	out, err := img.engine.docker(ctx, "image", "inspect", img.of.Image)
	var found []struct {
		ID     string `json:"Id"`
		Size   int64
		RootFS struct{ Layers []string }
	}
	if err == nil {
		err = json.Unmarshal(out, &found)
	}
	if len(found) == 1 && !strings.Contains(found[0].ID, ":") { // of Podman
		found[0].ID = "sha256:" + found[0].ID
	}
	if err == nil && (len(found) != 1 || !otto.BuiltImage(found[0].ID)) {
		err = errors.New("the engine says nothing of it")
	}
	if err != nil {
		return fmt.Errorf("%s was built, and is not there: %w", img.of.Image, err)
	}
	img.id, img.bytes, img.layers = found[0].ID, found[0].Size, found[0].RootFS.Layers
	return nil
}

// save writes an image as an archive, under a name that it is given.
func (img image) save(name string) func(context.Context, io.Writer) error {
	return func(ctx context.Context, w io.Writer) error {
		cmd := exec.CommandContext(ctx, "docker", "save", name)
		cmd.Env = append(os.Environ(), img.engine.env...)
		said := &bytes.Buffer{}
		cmd.Stdout, cmd.Stderr = w, said
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("docker save: %w", complaint(ctx, err, said.String()))
		}
		return nil
	}
}

// builtFile remembers what was built last, for plans.
type builtFile map[string]builtService

type builtService struct {
	Image    string `json:"image"`
	Platform string `json:"platform,omitempty"`
}

func (d stateDir) rememberBuilds(images []image) error {
	if len(images) == 0 {
		return nil
	}
	all := builtFile{}
	for _, img := range images {
		for _, name := range img.of.Services {
			all[name] = builtService{img.id, img.platform}
		}
	}
	return d.write(fileBuilt, all)
}

// lastBuilds has services run what was built last, and says what has to be built for them.
func (d stateDir) lastBuilds(f *config.File) (notes []string, err error) {
	if len(f.Builds) == 0 {
		return nil, nil
	}
	var last builtFile
	if err := d.read(fileBuilt, &last); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, b := range f.Builds {
		was := "never built here"
		if s := last[b.Services[0]]; s.Image != "" {
			f.SetBuilt(b, s.Image, s.Platform)
			was = "shown with what was built last"
		}
		notes = append(notes, fmt.Sprintf("image %s of %s would be built from %s (%s): another image recreates what uses it",
			b.Image, strings.Join(b.Services, ", "), b.Context(), was))
	}
	return notes, nil
}
