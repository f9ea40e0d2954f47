package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEqualFilesGiveEqualBytes(t *testing.T) {
	a := image{Name: "a:1", Files: []file{{Path: "/b/c", Text: "x"}, {Path: "/a", Text: "y"}}}
	b := image{Name: "a:1", Files: []file{{Path: "/a", Text: "y"}, {Path: "/b/c", Text: "x"}}}
	var first, second bytes.Buffer
	idA, errA := a.write(&first)
	idB, errB := b.write(&second)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if idA != idB || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("ids %s and %s, %d and %d bytes", idA, idB, first.Len(), second.Len())
	}
}

func TestLayerHasTheDirectoriesOfItsFilesOnce(t *testing.T) {
	img := image{Files: []file{
		{Path: "/usr/bin/x", Text: "x"},
		{Path: "/usr/bin/x", Text: "twice"},
		{Path: "/bin/sh", Link: "busybox"},
	}}
	layer, err := img.layer()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for archive := tar.NewReader(bytes.NewReader(layer)); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, header.Name)
	}
	want := []string{"bin/", "bin/sh", "usr/", "usr/bin/", "usr/bin/x"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLibrariesAreWhereTheLoaderFindsThem(t *testing.T) {
	const ldd = `	linux-vdso.so.1 (0x00007efe57c09000)
	libssl.so.3 => /lib/x86_64-linux-gnu/libssl.so.3 (0x00007efe57925000)
	/lib64/ld-linux-x86-64.so.2 (0x00007efe57c0b000)
`
	want := []string{"/lib/x86_64-linux-gnu/libssl.so.3", "/lib64/ld-linux-x86-64.so.2"}
	if diff := cmp.Diff(want, libraries(ldd)); diff != "" {
		t.Error(diff)
	}
}
