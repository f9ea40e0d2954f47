package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a file.
type Problem struct {
	File      string
	Line, Col int    // from 1; 0 when it concerns the file as a whole
	What, Try string // what is wrong, and what to write instead
	Refused   bool   // no mistake, but what Compose has and Otto does not
}

// Error is the problem in one line, in the form that editors can jump to.
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Col)
	}
	fmt.Fprintf(&b, ": %s", p.What)
	if p.Try != "" {
		fmt.Fprintf(&b, ": %s", p.Try)
	}
	return b.String()
}

// Problems are all mistakes of a file, in the order of their lines.
type Problems []Problem

// Error has one line for each problem.
func (p Problems) Error() string { return strings.Join(p.lines(), "\n") }

// lines are the problems in a line each. What cannot be had, in several places of a file, is one
// line with all of them; a mistake has a line for each, to jump to.
func (p Problems) lines() []string {
	const most = 10 // places
	lines, first, also := make([]string, 0, len(p)), map[Problem]int{}, map[int][]string{}
	for _, problem := range p {
		kind := Problem{File: problem.File, What: problem.What, Try: problem.Try}
		if i, again := first[kind]; problem.Refused && again {
			also[i] = append(also[i], fmt.Sprintf("%d:%d", problem.Line, problem.Col))
			continue
		}
		if problem.Refused {
			first[kind] = len(lines)
		}
		lines = append(lines, problem.Error())
	}
	for i, places := range also {
		more := ""
		if len(places) > most {
			more, places = fmt.Sprintf(" and in %d more places", len(places)-most), places[:most]
		}
		lines[i] += fmt.Sprintf(" (also at %s%s)", strings.Join(places, ", "), more)
	}
	return lines
}

// sorted returns the problems by position, each once: a value that several
// aliases stand for is judged for each of them.
func (p Problems) sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return slices.Compact(p)
}

// pos is a place in otto.yaml, from 1, or in the file that is named.
type pos struct {
	line, col int
	file      string
}

// reader reads one document and collects what is wrong with it, so that all
// mistakes are reported at once.
type reader struct {
	file     string
	dir      string // relative paths start here
	env      func(string) (string, bool)
	shell    func(string) (string, bool) // env without what is from files
	files    map[string]string           // variables of files that a stack has of its own
	asked    map[string]bool             // variables that the file asks for
	problems Problems
	warnings Problems
	onlyHere Problems // see File.OnlyHere
	ports    int      // published so far
	stack    bool
	// dollarsIn are files of variables that have been looked through for what is not set.
	dollarsIn []string
}

// reject notes a mistake. Neither try nor the message may hold a value of an
// environment or a password.
func (r *reader) reject(at pos, try, format string, args ...any) {
	r.problems = append(r.problems, r.problem(at, try, format, args...))
}

// warn notes what the user should know of but what stops nothing.
func (r *reader) warn(at pos, try, format string, args ...any) {
	r.warnings = append(r.warnings, r.problem(at, try, format, args...))
}

// onlyFromHere notes what is of this machine, which has to be the control plane's then.
func (r *reader) onlyFromHere(at pos, try, format string, args ...any) {
	r.onlyHere = append(r.onlyHere, r.problem(at, "apply it on the machine of the control plane, or "+try, format, args...))
}

func (r *reader) problem(at pos, try, format string, args ...any) Problem {
	return Problem{
		File: cmp.Or(at.file, r.file),
		Line: at.line,
		Col:  at.col,
		What: fmt.Sprintf(format, args...),
		Try:  try,
	}
}

// nearest returns the candidate that s is most likely a misspelling of, or "".
func nearest(s string, candidates []string) string {
	best, least := "", 3 // more than two slips are another word
	for _, c := range candidates {
		if d := distance(s, c); d < least && d < len(c) {
			best, least = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance of two words.
func distance(a, b string) int {
	if n := len(a) - len(b); n > 2 || n < -2 {
		return 3 // nobody asks how much more
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
