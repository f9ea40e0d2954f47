package bootstrap

import (
	"testing"

	"github.com/otto-edge/otto/wire"
)

// TestNodeKeepsTheSealKeyBefore, for what it has on its disk, also if it is brought the same
// key once more; one of another cluster is nothing to it.
func TestNodeKeepsTheSealKeyBefore(t *testing.T) {
	key := func(id, seal, former string) wire.Enrolment {
		return wire.Enrolment{ClusterID: id, SealKey: []byte(seal), FormerSealKey: []byte(former)}
	}
	for _, tt := range []struct {
		had, gets wire.Enrolment
		want      string
	}{
		{wire.Enrolment{}, key("c", "one", ""), ""},
		{key("c", "one", ""), key("c", "one", ""), ""},
		{key("c", "one", ""), key("c", "two", ""), "one"},
		{key("c", "two", "one"), key("c", "two", ""), "one"},
		{key("c", "two", "one"), key("c", "three", ""), "two"},
		{key("d", "one", ""), key("c", "two", ""), ""},
	} {
		if got := formerSealKey(tt.had, tt.gets); string(got) != tt.want {
			t.Errorf("%s, then %s: %q, want %q", tt.had.SealKey, tt.gets.SealKey, got, tt.want)
		}
	}
}
