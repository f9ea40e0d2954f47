package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

// image is one image of a single layer.
type image struct {
	Name   string // with its tag
	Files  []file
	Config config
}

// file is one entry of a layer: a copy of Source, or Text, or a link, or, with
// none of them, a directory.
type file struct {
	Path   string // in the image, with a leading slash
	Source string
	Text   string
	Link   string
	Mode   int64 // 0: 0755
}

// config has the fields of an OCI image configuration that the images need.
type config struct {
	Env          []string
	Entrypoint   []string            `json:",omitempty"`
	Cmd          []string            `json:",omitempty"`
	WorkingDir   string              `json:",omitempty"`
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Volumes      map[string]struct{} `json:",omitempty"`
}

// write writes the image as "docker save" would and returns its id. Equal files
// give equal bytes: no times, no owners, entries in order.
func (img image) write(w io.Writer) (id string, err error) {
	layer, err := img.layer()
	if err != nil {
		return "", err
	}
	description, err := json.Marshal(map[string]any{
		"architecture": architecture,
		"created":      "2026-01-01T00:00:00Z", // fixed: equal files, equal id
		"os":           "linux",
		"config":       img.Config,
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer)}},
	})
	if err != nil {
		return "", fmt.Errorf("describe %s: %w", img.Name, err)
	}
	manifest, err := json.Marshal([]map[string]any{{
		"Config":   digest(description) + ".json",
		"RepoTags": []string{img.Name},
		"Layers":   []string{"layer.tar"},
	}})
	if err != nil {
		return "", fmt.Errorf("describe %s: %w", img.Name, err)
	}
	archive := tar.NewWriter(w)
	for _, entry := range []struct {
		name    string
		content []byte
	}{
		{digest(description) + ".json", description},
		{"layer.tar", layer},
		{"manifest.json", manifest},
	} {
		if err := add(archive, tar.Header{Name: entry.name, Mode: 0o644}, entry.content); err != nil {
			return "", err
		}
	}
	return "sha256:" + digest(description), archive.Close()
}

func (img image) layer() ([]byte, error) {
	files := withParents(img.Files)
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	for _, f := range files {
		if err := f.addTo(archive); err != nil {
			return nil, fmt.Errorf("add %s to %s: %w", f.Path, img.Name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("close the layer of %s: %w", img.Name, err)
	}
	return layer.Bytes(), nil
}

func (f file) addTo(archive *tar.Writer) error {
	header := tar.Header{Name: strings.TrimPrefix(f.Path, "/"), Mode: f.Mode}
	if header.Mode == 0 {
		header.Mode = 0o755
	}
	switch {
	case f.Link != "":
		header.Typeflag, header.Linkname = tar.TypeSymlink, f.Link
		return add(archive, header, nil)
	case f.Source != "":
		content, err := os.ReadFile(f.Source)
		if err != nil {
			return err
		}
		return add(archive, header, content)
	case f.Text != "":
		return add(archive, header, []byte(f.Text))
	}
	header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
	return add(archive, header, nil)
}

func add(archive *tar.Writer, header tar.Header, content []byte) error {
	header.Size = int64(len(content))
	if err := archive.WriteHeader(&header); err != nil {
		return err
	}
	_, err := archive.Write(content)
	return err
}

// withParents adds the missing directories, sorts, and keeps the first of those
// with the same path.
func withParents(files []file) []file {
	seen := map[string]bool{"/": true}
	var all []file
	for _, f := range files {
		if !seen[f.Path] {
			seen[f.Path] = true
			all = append(all, f)
		}
	}
	for _, f := range files {
		for dir := path.Dir(f.Path); !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			all = append(all, file{Path: dir})
		}
	}
	slices.SortFunc(all, func(a, b file) int { return strings.Compare(a.Path, b.Path) })
	return all
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
