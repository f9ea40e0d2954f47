package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/otto-edge/otto"
)

func (a *app) level() (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(a.logLevel)); err != nil {
		return l, fmt.Errorf("%w: --log-level %s: write debug, info, warn or error", errUsage, a.logLevel)
	}
	return l, nil
}

func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printJSONLine is for output that goes on.
func (a *app) printJSONLine(v any) error { return json.NewEncoder(a.out).Encode(v) }

// ANSI colours of states.
const (
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
	plain  = "\x1b[0m"
)

// colour is on for a terminal, and never with NO_COLOR (https://no-color.org).
func (a *app) colour() bool { return isTerminal(a.out) && os.Getenv("NO_COLOR") == "" }

func stateColour(state string) string {
	switch state {
	case string(otto.NodeReady),
		string(otto.InstanceRunning),
		string(otto.InstanceCompleted),
		string(otto.RequirementOK):
		return green
	case string(otto.NodeLost),
		string(otto.NodeUnresponsive),
		string(otto.InstanceFailed),
		string(otto.InstanceUnhealthy),
		string(otto.RequirementViolated):
		return red
	default:
		return yellow
	}
}

// table prints rows in columns; the first row is the heading. The cells of
// column tint are coloured by their state.
func table(w io.Writer, colour bool, tint int, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, cell := range r {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for n, r := range rows {
		var line strings.Builder
		for i, cell := range r {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2)
			if colour && n > 0 && i == tint {
				cell = stateColour(cell) + cell + plain
			}
			line.WriteString(cell + pad)
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}
