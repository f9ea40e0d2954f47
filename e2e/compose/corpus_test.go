package compose

import (
	"cmp"
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/sirupsen/logrus"
	"go.yaml.in/yaml/v4"

	"github.com/otto-edge/otto/config"
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
	paths := composeFilesIn(t, corpus)
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

// composeFilesIn are the files of a corpus.
func composeFilesIn(t *testing.T, corpus string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(corpus, func(path string, d os.DirEntry, err error) error {
		if ext := filepath.Ext(path); err == nil && d.Type().IsRegular() && (ext == ".yml" || ext == ".yaml") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// TestCorpusIsAccepted counts which of the Compose files below the folder OTTO_CORPUS are accepted in a
// cluster of two nodes, this machine and another one, and why the others are not. What Compose's own
// loader refuses, such as a part of a file that others include, does not count. Variables have
// values as for TestCorpusMeansTheSame. What is beside a file in its own folder and not in the corpus
// is made, empty: contexts of builds, and what is mounted by relative paths.
//
//	OTTO_CORPUS=/srv/files go test ./e2e/compose -run CorpusIsAccepted -v
func TestCorpusIsAccepted(t *testing.T) {
	corpus := os.Getenv("OTTO_CORPUS")
	if corpus == "" {
		t.Skip("OTTO_CORPUS names no folder of Compose files")
	}
	why, accepted, nobodys := map[string][]string{}, 0, 0
	paths := composeFilesIn(t, corpus)
	for _, path := range paths {
		p := sample(t, path)
		besideOf(p)
		env := func(name string) (string, bool) { val, ok := p.variables[name]; return val, ok }
		_, err := config.LoadAs(filepath.Join(filepath.Dir(p.dir), "otto.yaml"), []byte("name: home\n"+
			"nodes: [{id: here, host: localhost}, {id: pi, host: 192.0.2.7}]\nstacks: [{name: shop, compose: project}]\n"), env)
		switch {
		case err == nil:
			accepted++
		case !composeTakes(p):
			nobodys++
		default:
			reason := reasonOf(err)
			why[reason] = append(why[reason], strings.TrimPrefix(path, corpus)+": "+err.Error())
		}
		_ = os.RemoveAll(filepath.Dir(p.dir))
	}
	t.Logf("%d files, of which Compose itself refuses %d; %d of the others are accepted: %.1f %%", len(paths), nobodys, accepted,
		100*float64(accepted)/float64(len(paths)-nobodys))
	for _, reason := range slices.SortedFunc(maps.Keys(why), func(a, b string) int {
		return cmp.Or(len(why[b])-len(why[a]), strings.Compare(a, b))
	}) {
		t.Logf("%4d %s, such as in %.300s", len(why[reason]), reason, why[reason][0])
	}
}

// composeTakes reports whether Compose's own loader takes a project.
func composeTakes(p project) bool {
	logrus.SetOutput(io.Discard)
	_, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir: p.dir, Environment: p.variables, ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(p.dir, "compose.yaml")}},
	}, func(o *loader.Options) { o.SetProjectName("shop", true) })
	return err == nil
}

// reasonOf is the first line of why a file is refused, without its own names and numbers.
func reasonOf(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	line = regexp.MustCompile(`^\S+:\d+:\d+: `).ReplaceAllString(line, "")
	line = regexp.MustCompile(`"[^"]*"|/[^ :,]+|\d+`).ReplaceAllString(line, "*")
	return regexp.MustCompile(`(service|container|volume|network|variable|secret|config) [^ *]+`).ReplaceAllString(line, "$1 *")
}

// besideOf makes what a project has beside its file: folders of builds, and what it mounts.
func besideOf(p project) {
	data, err := os.ReadFile(filepath.Join(p.dir, "compose.yaml"))
	var doc map[string]any
	if err != nil || yaml.Unmarshal(data, &doc) != nil {
		return
	}
	text := func(v any) string {
		s, _ := v.(string)
		return os.Expand(s, func(name string) string {
			name, otherwise, _ := strings.Cut(name, ":-")
			return cmp.Or(p.variables[name], otherwise)
		})
	}
	file := func(name string) {
		at := filepath.Join(p.dir, name)
		if _, err := os.Stat(at); err != nil && os.MkdirAll(filepath.Dir(at), 0o755) == nil {
			_ = os.WriteFile(at, []byte("FROM scratch\n"), 0o644) // if it cannot be had, Otto says so
		}
	}
	for name := range at(doc, "services") {
		of := at(doc, "services", name)
		if context := text(of["build"]); context != "" {
			file(filepath.Join(context, "Dockerfile"))
		} else if build, long := of["build"].(map[string]any); long && !strings.Contains(text(build["context"]), "://") {
			file(filepath.Join(text(build["context"]), cmp.Or(text(build["dockerfile"]), "Dockerfile")))
		}
		mounts, _ := of["volumes"].([]any)
		for _, m := range mounts {
			source, _, _ := strings.Cut(text(m), ":")
			if long, ok := m.(map[string]any); ok {
				source = text(long["source"])
			}
			switch {
			case !strings.HasPrefix(source, "."):
			case filepath.Ext(filepath.Base(source)) != "" && filepath.Base(source) != ".." && filepath.Base(source) != ".":
				file(source)
			default:
				_ = os.MkdirAll(filepath.Join(p.dir, source), 0o755) // likewise
			}
		}
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
