package compose

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/docker"
)

// recording is what is made of a case: containers, networks and volumes, by their names,
// in the form of the engine's API.
type recording struct {
	Compose    string                     `json:"compose,omitempty"` // version of who asked for it
	Containers map[string]map[string]any  `json:"containers"`
	Networks   map[string]map[string]any  `json:"networks"`
	Volumes    map[string]map[string]any  `json:"volumes"`
	Files      map[string]map[string]file `json:"files,omitempty"` // of containers
}

// projectDir is the folder of the project in recordings.
const projectDir = "/project"

// environment are the variables of all cases.
func environment() map[string]string {
	return map[string]string{"PATH": os.Getenv("PATH"), "HOME": "/home/me", "FROM_SHELL": "of the shell", "PASSWORD": "pa$$word"}
}

// project is a folder with a Compose file.
type project struct {
	dir       string
	variables map[string]string
	there     []string // networks and volumes of somebody else
}

// byCompose has Compose itself make a project.
func byCompose(t *testing.T, compose string, p project) recording {
	t.Helper()
	e := startEngine(t, p.there...)
	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), compose, args...)
		cmd.Dir = p.dir
		for name, val := range p.variables {
			cmd.Env = append(cmd.Env, name+"="+val)
		}
		cmd.Env = append(cmd.Env, "DOCKER_CONFIG="+t.TempDir(), "DOCKER_HOST="+e.url)
		out, err := cmd.Output()
		if err != nil {
			var stderr []byte
			if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // as Output returns it
				stderr = exit.Stderr
			}
			t.Fatalf("compose %s: %v\n%s", strings.Join(args, " "), err, stderr)
		}
		return string(out)
	}
	version := strings.TrimSpace(run("version", "--short"))
	if filepath.Base(p.dir) == "files" { // which are copied before the start
		run("--project-name", "shop", "up", "--detach", "--pull", "never", "--yes")
	} else {
		run("--project-name", "shop", "create", "--pull", "never", "--yes")
	}
	r := e.recording(p.dir)
	r.Compose = version
	return r
}

// byOtto has Otto make a project, on one node, from the file to the engine. The error is what
// it refuses.
func byOtto(t *testing.T, p project) (recording, error) {
	t.Helper()
	e := startEngine(t, p.there...)
	env := func(name string) (string, bool) { val, ok := p.variables[name]; return val, ok }
	f, err := config.LoadAs(filepath.Join(filepath.Dir(p.dir), "otto.yaml"),
		fmt.Appendf(nil, "name: home\nnodes: [{id: here, host: localhost}]\nstacks: [{name: shop, compose: %s}]\n", filepath.Base(p.dir)), env)
	if err != nil {
		return recording{}, err
	}
	runtime, err := docker.New(e.url, otto.Owner{Cluster: "home", ClusterID: "c1", Node: "here"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(runtime.Close)
	kept, lent := t.TempDir(), map[string]string{}
	waiting := instances(f.Wanted)
	for len(waiting) > 0 {
		i := slices.IndexFunc(waiting, func(inst otto.Instance) bool {
			return !slices.ContainsFunc(inst.Spec.Lenders(), func(service string) bool { return lent[service] == "" })
		})
		if i < 0 {
			t.Fatalf("%d instances borrow from each other", len(waiting))
		}
		inst := waiting[i]
		waiting = slices.Delete(waiting, i, i+1)
		inst.Lent = lent
		if inst.FilePaths, err = agent.Place(kept, "", inst.Spec, f.Wanted.Contents); err != nil {
			t.Fatal(err)
		}
		id, err := runtime.Create(t.Context(), inst, inst.ContainerName())
		if err != nil {
			t.Fatal(err)
		}
		lent[inst.Service] = id
		e.takeFiles(inst)
	}
	return e.recording(p.dir), nil
}

// instances are what a node is told to run.
func instances(w otto.Wanted) []otto.Instance {
	x := plan.NewIndex(w, nil)
	placed := plan.Placement{}
	for _, s := range x.Services {
		for _, name := range s.Names {
			placed[name] = "here"
		}
	}
	return plan.Assignments(x, x.Services, placed, nil, nil, nil, []string{"here"}, nil)["here"].Instances
}

// takeFiles notes the secrets and configs of a container, and forgets where the node has them.
func (e *engine) takeFiles(inst otto.Instance) {
	e.mu.Lock()
	defer e.mu.Unlock()
	name := inst.ContainerName()
	host := at(e.containers[name], "HostConfig")
	mounts, _ := host["Mounts"].([]any)
	for i, f := range inst.Spec.Files {
		content, err := os.ReadFile(inst.FilePaths[i])
		if err != nil {
			e.t.Error(err)
		}
		if e.files[name] == nil {
			e.files[name] = map[string]file{}
		}
		owner := func(id string) string { return max(id, "0") }
		e.files[name][f.Target] = file{Content: string(content), Mode: fmt.Sprintf("%04o", f.Permissions()), Owner: owner(f.UID) + ":" + owner(f.GID)}
		mounts = slices.DeleteFunc(mounts, func(m any) bool { return at(map[string]any{"": m}, "")["Source"] == inst.FilePaths[i] })
	}
	if host != nil {
		host["Mounts"] = mounts
	}
}

// recording is what an engine was asked for, with the paths of no machine and the ids of
// no containers in it.
func (e *engine) recording(dir string) recording {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := recording{Containers: e.containers, Networks: e.networks, Volumes: e.volumes, Files: e.files}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(r); err != nil {
		e.t.Fatal(err)
	}
	plain := strings.ReplaceAll(text.String(), dir, projectDir)
	for id, name := range e.ids {
		plain = strings.ReplaceAll(plain, id, "id of "+name)
	}
	r = recording{}
	if err := json.Unmarshal([]byte(plain), &r); err != nil {
		e.t.Fatal(err)
	}
	for _, c := range r.Containers {
		tidyContainer(c)
	}
	for _, all := range []map[string]map[string]any{r.Containers, r.Networks, r.Volumes} {
		for _, of := range all {
			tidyLabels(at(of, "Labels"))
			withoutZeros(of)
		}
	}
	return r
}

// tidyLabels takes out what is another with each run of Compose: hashes of paths, and the
// order of a mapping.
func tidyLabels(labels map[string]any) {
	const hash, depends = "com.docker.compose.config-hash", "com.docker.compose.depends_on"
	if _, ok := labels[hash]; ok {
		labels[hash] = "a hash"
	}
	if list, ok := labels[depends].(string); ok {
		parts := strings.Split(list, ",")
		slices.Sort(parts)
		labels[depends] = strings.Join(parts, ",")
	}
}

// tidyContainer makes one form of what the engine takes in several, and orders what has no
// order.
func tidyContainer(c map[string]any) {
	env := map[string]any{}
	for _, entry := range listOf(c["Env"]) {
		name, val, given := strings.Cut(entry.(string), "=")
		if env[name] = "is " + val; !given {
			env[name] = "is not there"
		}
	}
	c["Env"] = env
	host := at(c, "HostConfig")
	mounts := map[string]any{}
	for _, b := range listOf(host["Binds"]) {
		target, m := longForm(b.(string))
		mounts[target] = m
	}
	for _, m := range listOf(host["Mounts"]) {
		m := m.(map[string]any)
		target := m["Target"].(string)
		delete(m, "Target")
		mounts[target] = m
	}
	delete(host, "Binds")
	host["Mounts"] = mounts
	limits := map[string]any{}
	for _, u := range listOf(host["Ulimits"]) {
		limits[u.(map[string]any)["Name"].(string)] = u
	}
	host["Ulimits"] = limits
	for _, name := range []string{"ExtraHosts", "SecurityOpt"} {
		sortList(host[name])
	}
	for _, end := range at(c, "NetworkingConfig", "EndpointsConfig") {
		if end, ok := end.(map[string]any); ok {
			sortList(end["Aliases"]) // Compose gives one twice if service and container have one name
			if names := listOf(end["Aliases"]); names != nil {
				end["Aliases"] = slices.CompactFunc(names, func(a, b any) bool { return a == b })
			}
		}
	}
}

func listOf(v any) []any {
	list, _ := v.([]any)
	return list
}

func sortList(v any) {
	slices.SortFunc(listOf(v), func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
}

// longForm is what the engine makes of the short form of a mount.
func longForm(bind string) (target string, m map[string]any) {
	parts := strings.Split(bind, ":")
	m = map[string]any{"Source": parts[0], "Type": "volume"}
	bindOptions, volumeOptions := map[string]any{}, map[string]any{}
	if strings.HasPrefix(parts[0], "/") {
		m["Type"], bindOptions["CreateMountpoint"] = "bind", true
	}
	for _, option := range strings.Split(parts[2], ",") {
		switch option {
		case "rw":
		case "ro":
			m["ReadOnly"] = true
		case "z", "Z":
			m["SELinux"] = option
		case "nocopy":
			volumeOptions["NoCopy"] = true
		default:
			bindOptions["Propagation"] = option
		}
	}
	m["BindOptions"], m["VolumeOptions"] = bindOptions, volumeOptions
	return parts[1], m
}

// withoutZeros takes out what says nothing, and reports whether nothing is left.
func withoutZeros(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for name, of := range v {
			meant := slices.Contains([]string{
				"Entrypoint", "Cmd", "StopTimeout", "Init", "MaskedPaths", "ReadonlyPaths", "MemorySwappiness", "PidsLimit", "Umask", "EnableIPv4", "EnableIPv6",
			}, name)
			if of == nil || withoutZeros(of) && !meant {
				delete(v, name)
			}
		}
		return len(v) == 0
	case []any:
		for _, of := range v {
			withoutZeros(of)
		}
		return len(v) == 0
	case string:
		return v == ""
	case float64:
		return v == 0
	case bool:
		return !v
	}
	return v == nil
}

// flat is a tree as its leaves by their paths.
func flat(prefix string, v any, into map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			flat(prefix+" "+name, v[name], into)
		}
		if len(v) == 0 {
			into[prefix] = "{}"
		}
	default:
		text, _ := json.Marshal(v)
		into[prefix] = string(text)
	}
}

// leaves are all that a recording has, by kind, name and path.
func (r recording) leaves() map[string]string {
	all := map[string]string{}
	text, _ := json.Marshal(r)
	var tree map[string]any
	_ = json.Unmarshal(text, &tree)
	delete(tree, "compose")
	for kind, of := range tree {
		if of, ok := of.(map[string]any); ok {
			for name, v := range of {
				flat(kind+" "+name, v, all)
			}
		}
	}
	return all
}
