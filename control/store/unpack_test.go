package store

import (
	"bytes"
	"testing"
)

// FuzzUnpack has a document be anything: it is read, or refused, within bounds.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte(`{"a":1}`))
	f.Add(pack(bytes.Repeat([]byte("a"), packFrom)))
	f.Add(pack(bytes.Repeat([]byte("a"), packFrom))[:100])
	f.Add([]byte(gzipMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := unpack(b)
		if len(out) > maxUnpacked+1 || len(out) > maxUnpacked && err == nil {
			t.Errorf("%d bytes", len(out))
		}
		if again, err := unpack(pack(b)); !bytes.HasPrefix(b, []byte(gzipMagic)) && (err != nil || !bytes.Equal(again, b)) {
			t.Errorf("it does not come back: %v", err)
		}
	})
}

func TestWhatWouldFillMemoryIsNotUnpacked(t *testing.T) {
	if _, err := unpack(pack(make([]byte, maxUnpacked+1))); err == nil {
		t.Error("a document of more than the bound was read")
	}
}
