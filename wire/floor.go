package wire

import (
	"encoding/json"
	"fmt"

	"github.com/otto-edge/otto"
)

// FloorFile is the file in a node's directory that says which assignments are too old for
// an agent that has none: one whose machine was installed anew cannot know it by itself.
const FloorFile = "agent.floor"

// EncodeFloor is the content of FloorFile.
func EncodeFloor(r otto.Revision) ([]byte, error) { return json.Marshal(r) }

// DecodeFloor reads it.
func DecodeFloor(b []byte) (otto.Revision, error) {
	var r otto.Revision
	if err := json.Unmarshal(b, &r); err != nil {
		return otto.Revision{}, fmt.Errorf("%s: %w", FloorFile, err)
	}
	return r, nil
}
