package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/shell"
)

// asked implements commander.
type asked struct {
	q   shell.Query
	err error
}

func (a *asked) Exec(_ context.Context, q shell.Query) (io.ReadWriteCloser, error) {
	a.q = q
	return nil, a.err
}

func TestExecSaysThatNothingRuns(t *testing.T) {
	away := fmt.Errorf("%w: dial unix control.sock: no such file or directory", api.ErrNotRunning)
	err := (&app{in: strings.NewReader("")}).exec(t.Context(), &asked{err: away}, shell.Query{Name: "web"}, false)
	var said strings.Builder
	code := explainError(t.Context(), "otto exec", err, &said)
	if want := "otto: the control plane is not running: run `otto cluster start`\n"; said.String() != want || code != exitFailed {
		t.Errorf("%d: %s", code, said.String())
	}
}

// TestExecGivesNoTerminalToAPipe: what it writes would have other line ends there.
func TestExecGivesNoTerminalToAPipe(t *testing.T) {
	control := &asked{err: errors.New("enough")}
	_ = (&app{in: strings.NewReader("")}).exec(t.Context(), control,
		shell.Query{Name: "web", Command: shell.Command{Args: []string{"cat"}}}, false)
	want := shell.Query{Name: "web", Command: shell.Command{Args: []string{"cat"}, In: true}}
	if diff := cmp.Diff(want, control.q); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestExecEndsWithTheCommandsExitCode(t *testing.T) {
	if code := explainError(t.Context(), "otto exec", exitCode(137), io.Discard); code != 137 {
		t.Errorf("exit code %d", code)
	}
}

func TestPorts(t *testing.T) {
	for text, want := range map[string][2]int{
		"80": {80, 80}, "8080:80": {8080, 80}, "0:80": {0, 80}, "": {}, "0": {}, "a:80": {}, "80:": {}, "80:0": {}, "1:2:3": {}, "65536": {}, "-1:80": {},
	} {
		local, port, err := ports(text)
		if got := [2]int{local, port}; got != want || (err != nil) != (want[1] == 0) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
