package otto_test

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/otto-edge/otto"
)

// The hashes were made by the release before containers had a name of their own,
// networks and options of the engine: what runs since then is not made anew.
func TestHashesOfFormerReleasesHold(t *testing.T) {
	f, err := os.Open("testdata/spec-hashes.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		hash, text, _ := strings.Cut(lines.Text(), " ")
		var spec otto.ContainerSpec
		if err := json.Unmarshal([]byte(text), &spec); err != nil {
			t.Fatal(err)
		}
		if got := spec.Hash(); got != hash {
			t.Errorf("%s\ngot  %s\nwant %s", text, got, hash)
		}
	}
}
