// Command images makes the container images that Otto's tests and demo run,
// without a registry and without an engine: Debian's redis-server and
// nginx-light with the libraries they load, and the echo service beside this
// file. They have the names that people's files have (redis:alpine,
// nginx:alpine), so that those files run unchanged where no registry is in reach.
//
// Each image becomes NAME_TAG.tar, for "docker load", and NAME_TAG.id, its id. They
// are made anew each time: that takes less than a second and gives the same bytes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

const architecture = runtime.GOARCH

func main() {
	dir := flag.String("o", "build/images", "directory to write to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, names []string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, recipe := range []struct {
		name  string
		image func(context.Context, string) (image, error)
	}{
		{"redis:alpine", redis},
		{"nginx:alpine", nginx},
		{"otto-echo:1", echo},
		{"otto-stand-in:1", standIn},
	} {
		if len(names) > 0 && !slices.Contains(names, recipe.name) {
			continue
		}
		img, err := recipe.image(ctx, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", recipe.name, err)
		}
		img.Name = recipe.name
		if err := save(img, dir); err != nil {
			return fmt.Errorf("%s: %w", recipe.name, err)
		}
	}
	return nil
}

// save writes an image to a temporary file first, so that a file with the right
// name is always whole.
func save(img image, dir string) error {
	target := filepath.Join(dir, strings.ReplaceAll(img.Name, ":", "_"))
	f, err := os.CreateTemp(dir, "new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	id, err := img.write(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), target+".tar"); err != nil {
		return err
	}
	return os.WriteFile(target+".id", []byte(id+"\n"), 0o644)
}
