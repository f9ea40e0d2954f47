package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/store"
	"github.com/otto-edge/otto/mqtt/broker"
)

// childDir makes this test's program the one that is killed: it writes into the
// store there as fast as it can, and says what has been acknowledged.
const childDir = "OTTO_TEST_STORE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		writeForever(dir)
	}
	os.Exit(m.Run())
}

type document struct{ N int }

func writeForever(dir string) {
	b, err := broker.Start(context.Background(), broker.Options{Dir: dir})
	if err != nil {
		panic(err)
	}
	nc, err := b.Conn()
	if err != nil {
		panic(err)
	}
	s, err := store.Open(context.Background(), nc, true)
	if err != nil {
		panic(err)
	}
	for n := 1; ; n++ {
		if err := s.Put(context.Background(), "document", document{n}); err != nil {
			panic(err)
		}
		fmt.Println(n)
	}
}

// open opens the store in dir until the test ends or closed is called.
func open(t *testing.T, dir string, create bool) (s *store.Store, closed func(), err error) {
	t.Helper()
	b, err := broker.Start(t.Context(), broker.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	nc, err := b.Conn()
	if err != nil {
		t.Fatal(err)
	}
	s, err = store.Open(t.Context(), nc, create)
	return s, func() { _ = b.Close() }, err
}

func TestAcknowledgedWritesSurviveKill9(t *testing.T) {
	for _, writes := range []int{1, 20, 150} {
		dir := filepath.Join(t.TempDir(), "store")
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		last := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if last, err = strconv.Atoi(lines.Text()); err != nil {
				t.Fatal(err)
			}
			if last == writes {
				_ = cmd.Process.Kill() // what it still says in the pipe was acknowledged, too
			}
		}
		_ = cmd.Wait()
		s, _, err := open(t, dir, false)
		if err != nil {
			t.Fatalf("killed after %d writes: %v", last, err)
		}
		var d document
		if found, err := s.Get(t.Context(), "document", &d); err != nil || !found || d.N < last {
			t.Errorf("write %d was acknowledged, and %d is there (%t, %v)", last, d.N, found, err)
		}
	}
}

func TestEmptyStoreIsNoStateAndNoBucketIsLost(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	if _, closed, err := open(t, dir, false); !errors.Is(err, otto.ErrStateLost) {
		t.Errorf("without a bucket: %v", err)
	} else {
		closed()
	}
	s, _, err := open(t, dir, true)
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if found, err := s.Get(t.Context(), "document", &d); found || err != nil {
		t.Errorf("found %t, %v", found, err)
	}
	if err := s.Put(t.Context(), "document", []int{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "document", &d); !errors.Is(err, otto.ErrStateLost) {
		t.Errorf("an unreadable document gives %v", err)
	}
}

// TestDamagedStoreNeverReadsAsAnotherOne damages the files of a store and looks
// at what is read: what was written, an error, or nothing, which the control
// plane takes for a loss, too. Never something else.
func TestDamagedStoreNeverReadsAsAnotherOne(t *testing.T) {
	damage := map[string]func(b []byte) []byte{
		"cut in half": func(b []byte) []byte { return b[:len(b)/2] },
		"emptied":     func([]byte) []byte { return nil },
		"one bit": func(b []byte) []byte {
			b[len(b)/2] ^= 1
			return b
		},
	}
	for name, spoil := range damage {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			s, closed, err := open(t, dir, true)
			if err != nil {
				t.Fatal(err)
			}
			for n := range 10 {
				if err := s.Put(t.Context(), "document", document{n + 1}); err != nil {
					t.Fatal(err)
				}
			}
			closed()
			spoilt := 0
			err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || filepath.Ext(path) != ".blk" {
					return err
				}
				b, err := os.ReadFile(path)
				if err != nil || len(b) == 0 {
					return err
				}
				spoilt++
				return os.WriteFile(path, spoil(b), 0o600)
			})
			if err != nil || spoilt == 0 {
				t.Fatalf("%d files spoilt, %v", spoilt, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			s, _, err = open(t, dir, false)
			if err != nil {
				return
			}
			var d document
			found, err := s.Get(ctx, "document", &d)
			if err == nil && found && (d.N < 1 || d.N > 10) {
				t.Errorf("it reads %d", d.N)
			}
			t.Logf("found %t, document %d, %v", found, d.N, err)
		})
	}
}

// TestDocumentsOfAThousandNodesFit is about the server's limit for a message.
func TestDocumentsOfAThousandNodesFit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, closed, err := open(t, dir, true)
	if err != nil {
		t.Fatal(err)
	}
	placement := map[string]string{}
	for i := range 20_000 {
		placement[fmt.Sprintf("service-%d-%d", i/10, i%10)] = fmt.Sprintf("node-%d", i*7919%1000)
	}
	if err := s.Put(t.Context(), "document", placement); err != nil {
		t.Fatal(err)
	}
	closed()
	if s, _, err = open(t, dir, false); err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if found, err := s.Get(t.Context(), "document", &got); err != nil || !found || !maps.Equal(got, placement) {
		t.Errorf("%d of %d came back (%t, %v)", len(got), len(placement), found, err)
	}
}
