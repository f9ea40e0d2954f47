package config

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
)

// warnOfDollars warns of variables in a file of variables that are not set and so take a
// part of a value away, such as of the hash of a password. Values are not shown.
func (r *reader) warnOfDollars(path string, lookup func(string) (string, bool)) {
	data, err := readFile(path)
	if err != nil || slices.Contains(r.dollarsIn, path) {
		return
	}
	r.dollarsIn = append(r.dollarsIn, path)
	var unset []string
	silenceLibrary()
	vars, err := dotenv.ParseWithLookup(bytes.NewReader(data), func(name string) (string, bool) {
		val, ok := lookup(name)
		r.ask(name)
		if !ok && bare(string(data), name) {
			unset = append(unset, name)
		}
		return val, ok
	})
	if err != nil {
		return // said elsewhere
	}
	slices.Sort(unset)
	for _, name := range slices.Compact(unset) {
		if _, own := vars[name]; own {
			continue
		}
		at := pos{file: path, col: 1}
		for i, line := range strings.Split(string(data), "\n") {
			if bare(line, name) {
				at.line = i + 1
				break
			}
		}
		r.warn(
			at,
			fmt.Sprintf(
				"write '...' around the value, or $$, if a dollar sign is meant, as in the hash of a password; else ${%s:-default}",
				name,
			),
			"variable %s is not set, it is taken as blank",
			name,
		)
	}
}

// warnOfDotEnv is warnOfDollars for the file .env of a folder.
func (r *reader) warnOfDotEnv(env func(string) (string, bool)) {
	r.warnOfDollars(filepath.Join(r.dir, ".env"), env)
}

// warnOfEnvFiles is warnOfDollars for the files of a service that Compose's loader reads.
func (r *reader) warnOfEnvFiles(v value) {
	for _, f := range v.fields {
		if f.name != "env_file" && f.name != "label_file" {
			continue
		}
		aside := &reader{file: r.file, dir: r.dir, env: r.env}
		files, _ := oneOrMore(fileOfVariables()).read(aside, f.value)
		for _, e := range files {
			r.warnOfDollars(e.Path, r.env)
		}
	}
}
