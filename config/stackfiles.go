package config

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/otto-edge/otto/wire"
)

// stacksIn are the stacks of a folder: each folder in it that has a Compose file is one, called
// as Compose calls it there.
func (r *reader) stacksIn(v value) (all []stack) {
	path, ok := localPath().read(r, v)
	if !ok {
		return nil
	}
	const try = "write a folder in which each folder has a compose.yaml, or one stack an item, beginning with `- name: `"
	entries, err := os.ReadDir(path)
	if err != nil {
		r.reject(v.pos, try, "%s: %s", path, reason(err))
		return nil
	}
	if files, _ := composeFiles([]string{path}, r.shell); len(files) > 0 {
		r.reject(v.pos, fmt.Sprintf("write {name: %s, compose: %s}", filepath.Base(path), v.text),
			"%s is a Compose project itself, and no folder of several", path)
		return nil
	}
	for _, e := range entries {
		dir := filepath.Join(path, e.Name())
		files, _ := composeFiles([]string{dir}, r.shell)
		if info, err := os.Stat(dir); err != nil || !info.IsDir() || len(files) == 0 || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		s := stack{pos: v.pos, nameAt: v.pos, compose: []string{dir}}
		s.name = StackName(s.compose, func(name string) (string, bool) {
			if name == "COMPOSE_PROJECT_NAME" { // it would be the name of all of them
				return "", false
			}
			return r.shell(name)
		})
		if !wire.ValidID(s.name) {
			r.reject(v.pos, "write name: NAME into its Compose file", "the folder %s gives no name of a stack", dir)
			continue
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		r.reject(v.pos, try, "no folder in %s has a Compose file", path)
	}
	return all
}

// composeFiles are the files of a stack: those that are named, or what Compose finds in a
// folder. A file of a usual name brings its override with it, as without -f.
func composeFiles(named []string, shell func(string) (string, bool)) ([]string, *Problem) {
	usual := []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}
	if len(named) > 1 {
		return named, nil
	}
	path := named[0]
	info, err := os.Stat(path)
	if err != nil {
		return nil, &Problem{What: fmt.Sprintf("%s: %s", path, reason(err)), Try: "write the path of a Compose file, relative to this file"}
	}
	dir := filepath.Dir(path)
	if info.IsDir() {
		dir = path
		if vars := variablesBeside(dir, shell).files; vars["COMPOSE_FILE"] != "" {
			return filesOf(dir, vars), nil
		}
		i := slices.IndexFunc(usual, func(name string) bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil })
		if i < 0 {
			return nil, &Problem{What: "there is no compose.yaml in " + dir, Try: "write the path of a Compose file"}
		}
		path = filepath.Join(dir, usual[i])
	}
	files := []string{path}
	if base := filepath.Base(path); slices.Contains(usual, base) {
		ext := filepath.Ext(base)
		for _, e := range []string{".yaml", ".yml"} {
			override := filepath.Join(dir, strings.TrimSuffix(base, ext)+".override"+e)
			if _, err := os.Stat(override); err == nil {
				files = append(files, override)
				break
			}
		}
	}
	return files, nil
}

// filesOf are those that .env of a folder names as COMPOSE_FILE, or what stands for it.
func filesOf(dir string, vars map[string]string) (files []string) {
	separator := cmp.Or(vars["COMPOSE_PATH_SEPARATOR"], string(os.PathListSeparator))
	for _, f := range strings.Split(vars["COMPOSE_FILE"], separator) {
		if !filepath.IsAbs(f) {
			f = filepath.Join(dir, f)
		}
		files = append(files, f)
	}
	return files
}
