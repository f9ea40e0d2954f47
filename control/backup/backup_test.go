package backup

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func sample() Backup {
	return Backup{
		Cluster: "home", Made: time.Unix(1, 0).UTC(), By: "test",
		Documents: map[string]json.RawMessage{"epoch": json.RawMessage("3")},
		Files:     map[string]string{"otto.yaml": "cluster: {name: home}\n"},
		Events:    []otto.Event{{Seq: 1, Message: "one"}},
	}
}

func encoded(t testing.TB, b Backup) []byte {
	t.Helper()
	content, err := Encode(b)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestBackupReadsAsItWasWritten(t *testing.T) {
	got, err := Decode(encoded(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), got); diff != "" {
		t.Error(diff)
	}
}

func TestBadBackupsAreNamed(t *testing.T) {
	whole := encoded(t, sample())
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"empty":       {nil, "not a backup"},
		"other JSON":  {[]byte(`{"services":[]}`), "not a backup"},
		"YAML":        {[]byte("cluster: home\n"), "not a backup"},
		"torn":        {whole[:len(whole)/2], "not whole"},
		"one letter":  {bytes.Replace(whole, []byte("home"), []byte("hone"), 1), "checksum"},
		"newer":       {bytes.Replace(whole, []byte(`"otto_backup":1`), []byte(`"otto_backup":2`), 1), "newer Otto (format 2"},
		"no document": {encoded(t, Backup{Cluster: "home"}), "no cluster"},
	} {
		_, err := Decode(c.content)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestKeyCanBeCopiedByHand(t *testing.T) {
	k := NewKey()
	text := k.String()
	for _, copied := range []string{
		text, strings.ToLower(text), strings.ReplaceAll(text, "-", " "), " " + text + "\n",
		strings.NewReplacer("0", "O", "1", "l").Replace(text),
	} {
		if got, err := ParseKey(copied); err != nil || got != k {
			t.Errorf("%q: %v", copied, err)
		}
	}
	for i, c := range text { // any one letter wrong
		other := strings.IndexByte(crockford, byte(c))
		if c == '-' {
			continue
		}
		wrong := text[:i] + string(crockford[(other+7)%32]) + text[i+1:]
		if _, err := ParseKey(wrong); err == nil {
			t.Errorf("%q is taken for %q", wrong, text)
		}
	}
	for _, bad := range []string{"", text[1:], text + "0", strings.Repeat("U", 36)} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
}

func TestSealedBackupOpensWithItsKeyAlone(t *testing.T) {
	k, content := NewKey(), encoded(t, sample())
	sealed, err := Seal(k, content)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Open(k, sealed); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%v: %q", err, got)
	}
	if _, err := Open(NewKey(), sealed); !errors.Is(err, ErrOtherKey) {
		t.Errorf("another key: %v", err)
	}
	for _, readable := range []string{"home", "epoch", "documents"} {
		if bytes.Contains(sealed, []byte(readable)) {
			t.Errorf("%q can be read in it", readable)
		}
	}
	for i := range sealed { // torn anywhere, and any byte wrong
		if _, err := Open(k, sealed[:i]); err == nil {
			t.Errorf("the first %d bytes are taken", i)
		}
		wrong := bytes.Clone(sealed)
		wrong[i] ^= 1
		if _, err := Open(k, wrong); err == nil {
			t.Errorf("byte %d may be any", i)
		}
	}
	again, err := Seal(k, content)
	if err != nil || bytes.Equal(again, sealed) {
		t.Errorf("the same content is sealed to the same bytes (%v)", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encoded(f, sample()))
	f.Add([]byte(`{"otto_backup":1,"sha256":"","backup":null}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		b, err := Decode(content)
		if err != nil {
			return
		}
		if again, err := Decode(encoded(t, b)); err != nil || !cmp.Equal(b.Files, again.Files) {
			t.Errorf("%v: %+v is read as %+v", err, b, again)
		}
	})
}

func FuzzOpen(f *testing.F) {
	k := Key{1}
	sealed, err := Seal(k, []byte("content"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte(magic + version))
	f.Fuzz(func(t *testing.T, b []byte) {
		if content, err := Open(k, b); err == nil && string(content) != "content" {
			t.Errorf("a forgery opens to %q", content)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(Key{}.String())
	f.Fuzz(func(t *testing.T, text string) {
		if k, err := ParseKey(text); err == nil {
			if again, err := ParseKey(k.String()); err != nil || again != k {
				t.Errorf("%q: %v", text, err)
			}
		}
	})
}
