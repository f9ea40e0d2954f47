package compose

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// TestCorpusMeansTheSame compares what Otto makes of the Compose files below the folder
// OTTO_CORPUS with what the docker-compose of -record makes of them, and says what kinds of
// differences there are. Variables get a value by their names and their use, and files of
// variables, secrets and configs that are not there are empty. Files that Otto refuses are
// counted, and left out.
//
//	OTTO_CORPUS=/srv/files go test ./e2e/compose -run Corpus -timeout 2h -record $PWD/bin/tools/docker-compose
func TestCorpusMeansTheSame(t *testing.T) {
	corpus := os.Getenv("OTTO_CORPUS")
	if corpus == "" {
		t.Skip("OTTO_CORPUS names no folder of Compose files")
	}
	if *recordWith == "" {
		t.Fatal("-record names no docker-compose")
	}
	var paths []string
	err := filepath.WalkDir(corpus, func(path string, d os.DirEntry, err error) error {
		if ext := filepath.Ext(path); err == nil && d.Type().IsRegular() && (ext == ".yml" || ext == ".yaml") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	kinds, same, refused := map[string][]string{}, 0, 0
	for _, path := range paths {
		t.Run(strings.TrimPrefix(path, corpus), func(t *testing.T) {
			p := sample(t, path)
			otto, err := byOtto(t, p)
			if err != nil {
				refused++
				t.Skip(err)
			}
			found := slices.DeleteFunc(differing(byCompose(t, *recordWith, p), otto), isMeant)
			if len(found) == 0 {
				same++
			}
			for _, l := range found {
				kinds[kindOf(l.path)] = append(kinds[kindOf(l.path)], path)
				t.Logf("%s\n\tCompose: %.200s\n\tOtto:    %.200s", l.path, l.compose, l.otto)
			}
		})
	}
	t.Logf("%d files: %d mean the same, %d are refused", len(paths), same, refused)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		t.Errorf("%d of %s, such as in %s", len(kinds[kind]), kind, kinds[kind][0])
	}
}

// kindOf is a path without the names of a project.
func kindOf(path string) string {
	words := strings.Split(path, " ")
	words[1] = "*"
	for i := 2; i < len(words); i++ {
		named := []string{"Mounts", "Env", "Labels", "EndpointsConfig", "PortBindings", "Ulimits", "files"}
		if slices.Contains(named, words[i-1]) {
			words[i] = "*"
		}
	}
	return strings.Join(words, " ")
}

// isMeant reports whether a difference is one of those that are listed, in the names of any
// project.
func isMeant(l leaf) bool {
	keepsData := difference{at: list("containers * HostConfig RestartPolicy *"), otto: `"no"`}
	return slices.ContainsFunc(append(differences(), keepsData), func(d difference) bool { return d.covers(l) })
}

// valueFor is a value for a variable of a file, by its name and its use.
func valueFor(name, text string) string {
	is := func(words string) bool { return regexp.MustCompile(`(?i)` + words).MatchString(name) }
	used := func(how string) bool {
		return regexp.MustCompile(strings.ReplaceAll(how, "NAME", `\$\{?`+name+`\b[^}]*\}?`)).MatchString(text)
	}
	switch {
	case is(`_?(uid|gid)$`):
		return "1000"
	case is("port") || used(`NAME:[0-9]+["'\s/]`) || used(`(?m)^\s*- ["']?[0-9.:]*:?NAME["']?$`):
		return strconv.Itoa(20000 + len(name)*97 + int(name[0]) + 7*int(name[len(name)-1]))
	case used(`(?m)^\s*- ["']?NAME[^\s:]*:/`), used(`(?m)source: ["']?NAME`), is("dir$|path$|folder|root$"):
		return "/srv/value"
	case is("(^|_)ip") || used(`(ipv4_address|host_ip|dns): *["']?NAME`) || used(`(?m)^\s*- ["']?NAME:[0-9]+:[0-9]+`):
		return "192.0.2.53"
	case is("size|mem|limit"):
		return "64m"
	}
	return "value"
}

// sample is the project of a Compose file, in a folder of its own.
func sample(t *testing.T, path string) project {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := project{
		dir:       filepath.Join(t.TempDir(), "project"),
		variables: map[string]string{"PATH": os.Getenv("PATH"), "HOME": "/home/me"},
	}
	variable := regexp.MustCompile(`\$\{?([A-Za-z_][A-Za-z0-9_]*)(:?-)?`)
	for _, m := range variable.FindAllStringSubmatch(string(data), -1) {
		if name := m[1]; m[2] == "" && p.variables[name] == "" {
			p.variables[name] = valueFor(name, string(data))
		}
	}
	write := func(name string, data []byte) {
		path := filepath.Join(p.dir, name)
		if filepath.IsAbs(name) || strings.Contains(name, "$") || os.MkdirAll(filepath.Dir(path), 0o755) != nil {
			return
		}
		_ = os.WriteFile(path, data, 0o644) // if it cannot be had, both say so
	}
	write("compose.yaml", data)
	var doc map[string]any
	_ = yaml.Unmarshal(data, &doc)
	for _, kind := range []string{"networks", "volumes", "secrets", "configs"} {
		for name, of := range at(doc, kind) {
			of, _ := of.(map[string]any)
			if file, ok := of["file"].(string); ok {
				write(file, nil)
			}
			if given, ok := at(of, "external")["name"].(string); ok {
				name = given
			}
			if given, ok := of["name"].(string); ok {
				name = given
			}
			if of["external"] != nil && of["external"] != false {
				use := regexp.MustCompile(`\$\{?[A-Za-z_][A-Za-z0-9_]*(:?-[^}]*)?\}?`)
				p.there = append(p.there, use.ReplaceAllString(name, "value"))
			}
		}
	}
	for name := range at(doc, "services") {
		var files []any
		switch of := at(doc, "services", name)["env_file"].(type) {
		case []any:
			files = of
		default:
			files = append(files, of)
		}
		for _, f := range files {
			if long, ok := f.(map[string]any); ok {
				f = long["path"]
			}
			if name, ok := f.(string); ok {
				write(name, nil)
			}
		}
	}
	return p
}
