package wire_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

func newKey(t testing.TB) []byte {
	t.Helper()
	key, err := wire.NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestContentsAreOpenedByTheirNodeAlone(t *testing.T) {
	key, other := newKey(t), newKey(t)
	want := otto.NewContents(map[string][]byte{"a": []byte("hunter2"), "b": {0, 0xff, '\n'}, "c": {}})
	sealed, err := wire.SealContents(key, "c0ffee", "n1", want)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("hunter2")) {
		t.Error("it is not encrypted")
	}
	got, err := wire.OpenContents(key, "c0ffee", "n1", sealed)
	if diff := cmp.Diff(want.Plain(), got.Plain()); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for name, open := range map[string]func() (otto.Contents, error){
		"another key":     func() (otto.Contents, error) { return wire.OpenContents(other, "c0ffee", "n1", sealed) },
		"no key":          func() (otto.Contents, error) { return wire.OpenContents(nil, "c0ffee", "n1", sealed) },
		"a broken key":    func() (otto.Contents, error) { return wire.OpenContents([]byte("x"), "c0ffee", "n1", sealed) },
		"another node":    func() (otto.Contents, error) { return wire.OpenContents(key, "c0ffee", "n2", sealed) },
		"another cluster": func() (otto.Contents, error) { return wire.OpenContents(key, "decaf", "n1", sealed) },
		"a changed one":   func() (otto.Contents, error) { return wire.OpenContents(key, "c0ffee", "n1", changed) },
		"a part of it":    func() (otto.Contents, error) { return wire.OpenContents(key, "c0ffee", "n1", sealed[:20]) },
	} {
		if c, err := open(); err == nil || c != nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v %v", name, c, err)
		}
	}
	if none, err := wire.OpenContents(nil, "c0ffee", "n1", nil); none != nil || err != nil {
		t.Errorf("nothing sealed: %v %v", none, err)
	}
}

// TestManySealAtATime shares what is compressed with, and no content.
func TestManySealAtATime(t *testing.T) {
	var all sync.WaitGroup
	for i := range 8 {
		key := newKey(t)
		all.Go(func() {
			for n := range 5 {
				want := otto.NewContents(map[string][]byte{"a": bytes.Repeat([]byte{byte(i), byte(n)}, 1000*i)})
				sealed, err := wire.SealContents(key, "c0ffee", "n1", want)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := wire.OpenContents(key, "c0ffee", "n1", sealed)
				if diff := cmp.Diff(want.Plain(), got.Plain()); err != nil || diff != "" {
					t.Errorf("%v (-want +got)\n%s", err, diff)
				}
			}
		})
	}
	all.Wait()
}

func TestSealKeysHaveNames(t *testing.T) {
	a, b := newKey(t), newKey(t)
	if wire.SealKeyName(a) != wire.SealKeyName(bytes.Clone(a)) || wire.SealKeyName(a) == wire.SealKeyName(b) || wire.SealKeyName(nil) != "" {
		t.Error("names do not tell keys apart")
	}
	if strings.Contains(string(a), wire.SealKeyName(a)) {
		t.Error("a name gives its key away")
	}
}

func FuzzOpenContents(f *testing.F) {
	key := newKey(f)
	sealed, err := wire.SealContents(key, "c", "n", otto.NewContents(map[string][]byte{"a": []byte("b")}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := wire.OpenContents(key, "c", "n", b); err == nil && len(b) > 0 && !bytes.Equal(b, sealed) {
			t.Errorf("opened: %d contents", len(c))
		}
	})
}
