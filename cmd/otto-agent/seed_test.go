package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/otto-edge/otto/wire"
)

func TestDataThatDoesNotFitIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := room(dir, wire.Seed{Path: "./data", Bytes: 1, Files: 1}); err != nil {
		t.Skip(err) // the disk of this machine is full
	}
	err := room(dir, wire.Seed{Path: "./data", Bytes: 1 << 60})
	if err == nil || !strings.HasPrefix(err.Error(), "there is no room: ./data needs 1099511627840 MiB, and ") {
		t.Errorf("got %v", err)
	}
}

// TestSeedIsForNodes has who is no node, or says nothing, be told so.
func TestSeedIsForNodes(t *testing.T) {
	line, err := json.Marshal(wire.Seed{Volume: "v"})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = takeSeed(t.Context(), t.TempDir(), bytes.NewReader(append(line, '\n')), &out)
	if err == nil || !strings.HasPrefix(err.Error(), "this is no node of the cluster") || out.Len() > 0 {
		t.Errorf("%v, %q", err, &out)
	}
}
