package agent

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func TestWhatFollowsFromWhatIsThere(t *testing.T) {
	labelled := otto.DataID{Volume: "a"}
	dir := otto.DataID{FileSystem: "uuid", Path: "/db", Inode: 7}
	there := func(id otto.DataID) found { return found{there: true, id: id} }
	known := func(id otto.DataID) *otto.Data { return &otto.Data{Source: "x", ID: id} }
	for name, tc := range map[string]struct {
		known *otto.Data // nil: nothing has run with it
		found found
		want  fate
	}{
		"new":                                 {nil, found{}, fateNew},
		"of others, or of a build before":     {nil, there(otto.DataID{}), fateFits},
		"never run, and nothing can be known": {nil, found{unclear: "the engine hangs"}, fateFits},
		"the same":                            {known(labelled), there(labelled), fateFits},
		"gone":                                {known(labelled), found{}, fateMissing},
		"gone, known by presence only":        {known(otto.DataID{}), found{}, fateMissing},
		"another label":                       {known(labelled), there(otto.DataID{Volume: "b"}), fateOther},
		"without a label now":                 {known(labelled), there(otto.DataID{}), fateOther},
		"known by presence only":              {known(otto.DataID{}), there(otto.DataID{}), fateFits},
		"one with a label where one had none": {known(otto.DataID{}), there(labelled), fateOther},
		"nothing can be known":                {known(labelled), found{unclear: "the engine hangs"}, fateUnclear},
		"accepted, and gone":                  {&otto.Data{Accepted: true}, found{}, fateNew},
		"accepted, and another":               {&otto.Data{Accepted: true}, there(labelled), fateFits},
		"a directory, the same":               {known(dir), there(dir), fateFits},
		"a directory on another file system":  {known(dir), there(otto.DataID{FileSystem: "root", Path: "/db", Inode: 7}), fateOther},
		"a directory where its disk was":      {known(dir), there(otto.DataID{Path: "/mnt/usb/db"}), fateOther},
		"a directory made anew":               {known(dir), there(otto.DataID{FileSystem: "uuid", Path: "/db", Inode: 8}), fateOther},
		"a directory of which less is known":  {known(dir), there(otto.DataID{Path: "/db"}), fateFits},
		"a directory on another machine":      {known(dir), found{skip: true}, fateFits},
		"a file or memory, and was on a disk": {known(dir), found{there: true, bare: true}, fateOther},
		"a file or memory":                    {nil, found{there: true, bare: true}, fateFits},
	} {
		t.Run(name, func(t *testing.T) {
			var d otto.Data
			if tc.known != nil {
				d = *tc.known
			}
			if got := fateOf(d, tc.known != nil, tc.found); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

// TestLedgerSurvivesAPowerCutInAnyWrite opens what each step of a write leaves behind.
func TestLedgerSurvivesAPowerCutInAnyWrite(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	l := openLedger(dir, log)
	for _, source := range []string{"one", "two"} {
		if err := l.ran(source, found{there: true, id: otto.DataID{Volume: source}}, false); err != nil {
			t.Fatal(err)
		}
	}
	one := otto.Data{Source: "one", ID: otto.DataID{Volume: "one"}}
	two := otto.Data{Source: "two", ID: otto.DataID{Volume: "two"}}
	current, err := os.ReadFile(filepath.Join(dir, dataFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		strike func(dir string) error
		want   []otto.Data
	}{
		"none":                 {func(string) error { return nil }, []otto.Data{one, two}},
		"half of the next one": {func(dir string) error { return os.WriteFile(filepath.Join(dir, dataFile+".new"), []byte("[{"), 0o600) }, []otto.Data{one, two}},
		"between the renames":  {func(dir string) error { return os.Remove(filepath.Join(dir, dataFile)) }, []otto.Data{one}},
		"torn by a card that lies": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, dataFile), current[:len(current)/2], 0o600)
		}, []otto.Data{one}},
		"both torn": {func(dir string) error {
			_ = os.WriteFile(filepath.Join(dir, dataPreviousFile), nil, 0o600)
			return os.WriteFile(filepath.Join(dir, dataFile), make([]byte, 100), 0o600)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			copied := t.TempDir()
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if err := tc.strike(copied); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, Remembered(copied)); diff != "" {
				t.Error("looked at:", diff)
			}
			if diff := cmp.Diff(tc.want, openLedger(copied, log).all()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLedgerHoldsAlthoughItCannotBeWritten is about a full disk.
func TestLedgerHoldsAlthoughItCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	block := filepath.Join(dir, dataFile+".new")
	if err := os.Mkdir(block, 0o700); err != nil {
		t.Fatal(err)
	}
	l := openLedger(dir, slog.New(slog.DiscardHandler))
	if err := l.ran("data", found{there: true}, false); err == nil {
		t.Error("no error")
	}
	if _, remembered := l.of("data"); !remembered {
		t.Error("it does not hold")
	}
	if err := os.Remove(block); err != nil {
		t.Fatal(err)
	}
	if err := l.save(); err != nil || len(Remembered(dir)) != 1 {
		t.Errorf("not made up for: %v", err)
	}
}

func TestControlPlaneRemembersForAnAgentThatHasLostAll(t *testing.T) {
	l := openLedger(t.TempDir(), slog.New(slog.DiscardHandler))
	own := otto.Data{Source: "own", ID: otto.DataID{Volume: "own"}, Generation: 2}
	if _, err := l.expect([]otto.Data{own, {Source: "lost", ID: otto.DataID{Volume: "lost"}}}); err != nil {
		t.Fatal(err)
	}
	older := otto.Data{Source: "own", ID: otto.DataID{Volume: "older"}, Generation: 1}
	newer := otto.Data{Source: "lost", Generation: 1, Accepted: true}
	if _, err := l.expect([]otto.Data{older, newer}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]otto.Data{newer, own}, l.all()); diff != "" {
		t.Error(diff)
	}
}

func TestVolumesOfOthersAreLeftAlone(t *testing.T) {
	others := found{there: true, id: otto.DataID{Volume: "theirs"}, others: "it is of another cluster"}
	nobodys := found{there: true, others: "nobody knows whose"}
	for name, tc := range map[string]struct {
		known *otto.Data
		found found
		want  bool
	}{
		"its own":                        {nil, found{there: true, id: otto.DataID{Volume: "ours"}}, false},
		"not there":                      {nil, found{}, false},
		"another cluster's":              {nil, others, true},
		"nobody's":                       {nil, nobodys, true},
		"nobody's, and it has run on it": {&otto.Data{}, nobodys, false},
		"another cluster's, where it has run on one of the name": {&otto.Data{ID: otto.DataID{Volume: "ours"}}, others, true},
		"another cluster's, where its own is lost and accepted":  {&otto.Data{Accepted: true}, others, true},
		"another cluster's, adopted":                             {&otto.Data{Accepted: true, Adopted: true}, others, false},
	} {
		var d otto.Data
		if tc.known != nil {
			d = *tc.known
		}
		if got := foreign(d, tc.known != nil, tc.found); got != tc.want {
			t.Errorf("%s: foreign is %t", name, got)
		}
	}
}
