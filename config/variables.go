package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/template"
)

// maxSubstitution bounds the work of filling in variables, in variables times
// bytes of the text they are in, because the work grows with that product.
const maxSubstitution = 8 << 20

// substitute fills in ${VAR} and its relatives as Compose does. It returns
// false after a mistake.
func (r *reader) substitute(at pos, text string) (string, bool) {
	unset := map[string]bool{}
	lookup := func(name string) (string, bool) {
		val, ok := r.lookup(name)
		if !ok && bare(text, name) {
			unset[name] = true
			return "", true
		}
		return val, ok
	}
	out, err := template.SubstituteWithOptions(text, lookup, template.WithoutLogging)
	var missing *template.MissingRequiredError
	switch {
	case errors.As(err, &missing):
		try := "set it in the environment or in .env"
		if missing.Reason != "" {
			try = missing.Reason
		}
		r.reject(at, try, "variable %s is not set", missing.Variable)
	case err != nil:
		r.reject(at, "write ${NAME}, or $$ for a dollar sign", "this is not a variable")
	}
	for _, name := range slices.Sorted(maps.Keys(unset)) {
		r.warnOfUnset(at, name)
	}
	return out, err == nil
}

// bare reports whether text uses the variable without saying what to do when
// it is not set.
func bare(text, name string) bool {
	if strings.Contains(text, "${"+name+"}") {
		return true
	}
	for _, rest := range strings.Split(text, "$"+name)[1:] {
		if rest == "" ||
			!strings.ContainsAny(rest[:1], "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") {
			return true
		}
	}
	return false
}

// withDotEnv adds the variables of the file .env in dir to env, which wins.
func withDotEnv(dir string, env func(string) (string, bool)) (func(string) (string, bool), error) {
	path := filepath.Join(dir, ".env")
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return env, nil
	}
	if err != nil {
		return nil, Problems{{File: path, What: reason(err), Try: "mend it or take it away"}}
	}
	vars, problem := parseEnv(path, data, env)
	if problem != nil {
		return nil, Problems{*problem}
	}
	return func(name string) (string, bool) {
		if val, ok := env(name); ok {
			return val, true
		}
		val, ok := vars[name]
		return val, ok
	}, nil
}

// parseEnv reads a file of variables. Of the library's errors only the line is
// shown: the rest may hold a secret.
func parseEnv(path string, data []byte, env func(string) (string, bool)) (map[string]string, *Problem) {
	silenceLibrary()
	vars, err := dotenv.ParseWithLookup(bytes.NewReader(data), env)
	if err == nil {
		return vars, nil
	}
	p := &Problem{File: path, What: "this is not a file of variables", Try: "write one KEY=value a line"}
	if m := regexp.MustCompile(`line (\d+): `).FindStringSubmatch(err.Error()); m != nil {
		p.What = fmt.Sprintf("line %s is not a variable", m[1])
	}
	return nil, p
}

// readFile reads a regular file of at most maxBytes.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path) // before opening: a pipe would block
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, errors.New("is a directory, not a file")
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err == nil && len(data) > maxBytes {
		err = errors.New("is larger than 1 MiB")
	}
	return data, err
}

// reason is an error about a file without the path, which is known already.
func reason(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}

// path makes a path of this machine absolute: it is relative to otto.yaml, and
// ~ is the user's home.
func (r *reader) path(p string) string {
	if p == "~" || strings.HasPrefix(p, "~/") {
		if home, ok := r.env("HOME"); ok && home != "" {
			return filepath.Join(home, p[1:])
		}
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(r.dir, p)
	}
	return filepath.Clean(p)
}
