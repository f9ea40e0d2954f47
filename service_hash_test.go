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

// TestSecretVariablesHaveAHashOfTheirOwn, made of their keys; a spec without any has the one
// that it had before there were any.
func TestSecretVariablesHaveAHashOfTheirOwn(t *testing.T) {
	plain := otto.ContainerSpec{Image: "postgres", Environment: map[string]string{"PASSWORD": "hunter2"}}
	if got := plain.Hash(); got != "dd6dd21e054722bc1f764bd6048cdfba" {
		t.Errorf("without any it is %s", got)
	}
	seen := map[string]bool{plain.Hash(): true}
	for _, key := range []string{"c0ffee", "decaf"} {
		marked := otto.ContainerSpec{Image: "postgres", SecretEnvironment: map[string]string{"PASSWORD": key}}
		seen[marked.Hash()] = true
	}
	if len(seen) != 3 {
		t.Errorf("there are %d hashes of three specs", len(seen))
	}
}
