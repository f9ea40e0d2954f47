package cli

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

// TestErrorsOfHostsMoveNoTerminal: what SSH brings of a host's output is in them.
func TestErrorsOfHostsMoveNoTerminal(t *testing.T) {
	var out bytes.Buffer
	explainError(context.Background(), "otto", errors.New("n1: its shell said \x1b]0;owned\x07\x1b[2Jok\u202e\nand more"), &out)
	if want := "otto: n1: its shell said ?]0;owned??[2Jok?\nand more\n"; out.String() != want {
		t.Errorf("%q", out.String())
	}
}
