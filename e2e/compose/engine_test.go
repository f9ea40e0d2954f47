package compose

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// engine makes nothing, and remembers what it was asked to make. It has all images, and
// the networks, volumes and containers whose names begin with "outside".
type engine struct {
	t   *testing.T
	url string

	mu         sync.Mutex
	containers map[string]map[string]any // what it was asked for, by name
	networks   map[string]map[string]any
	volumes    map[string]map[string]any
	files      map[string]map[string]file // that were put into containers, by path
	ids        map[string]string          // names of containers by their ids
	there      []string                   // further networks, volumes and containers of somebody else
}

// file is one that Compose copies into a container after it has made it.
type file struct {
	Content string `json:"content"`
	Mode    string `json:"mode"`
	Owner   string `json:"owner"`
}

// outside begins the name of what is there and was made by somebody else.
const outside = "outside"

func startEngine(t *testing.T, there ...string) *engine {
	t.Helper()
	e := &engine{
		t:          t,
		containers: map[string]map[string]any{},
		networks:   map[string]map[string]any{},
		volumes:    map[string]map[string]any{},
		files:      map[string]map[string]file{},
		ids:        map[string]string{idOf(outside): outside},
		there:      there,
	}
	socket := filepath.Join(t.TempDir(), "e.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	e.url = "unix://" + socket
	server := &http.Server{Handler: e}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return e
}

// isOutside reports whether something is there that was made by somebody else.
func (e *engine) isOutside(name string) bool {
	return strings.HasPrefix(name, outside) || slices.Contains(e.there, name)
}

// idOf is the id of what has a name.
func idOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w.Header().Set("Api-Version", "1.56")
	w.Header().Set("Ostype", "linux")
	w.Header().Set("Content-Type", "application/json")
	path := regexp.MustCompile(`^/v[0-9.]+`).ReplaceAllString(r.URL.Path, "")
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch kind := parts[0]; {
	case kind == "_ping":
	case kind == "version":
		answer(w, map[string]any{"Version": "29.8.0", "ApiVersion": "1.56", "MinAPIVersion": "1.40", "Os": "linux", "Arch": "amd64"})
	case kind == "info":
		answer(w, map[string]any{"OSType": "linux", "Architecture": "x86_64", "ServerVersion": "29.8.0", "MemoryLimit": true})
	case kind == "images" && r.Method == http.MethodGet:
		if path == "/images/json" {
			answer(w, []any{})
			return
		}
		name := strings.TrimSuffix(strings.TrimPrefix(path, "/images/"), "/json")
		answer(w, map[string]any{"Id": "sha256:" + idOf(name), "RepoTags": []string{name}, "Architecture": "amd64", "Os": "linux", "Config": map[string]any{}})
	case kind == "containers":
		e.serveContainers(w, r, parts)
	case kind == "networks" || kind == "volumes":
		e.serveOthers(w, r, parts)
	default:
		e.unknown(w, r)
	}
}

func (e *engine) unknown(w http.ResponseWriter, r *http.Request) {
	e.t.Errorf("nobody has told this engine what to do with %s %s", r.Method, r.URL)
	missing(w)
}

func missing(w http.ResponseWriter) {
	w.WriteHeader(http.StatusNotFound)
	fmt.Fprint(w, `{"message": "no such thing"}`)
}

func answer(w io.Writer, v any) { _ = json.NewEncoder(w).Encode(v) }

func (e *engine) serveContainers(w http.ResponseWriter, r *http.Request, parts []string) {
	last := parts[len(parts)-1]
	switch {
	case last == "create":
		name := r.URL.Query().Get("name")
		e.containers[name], e.ids[idOf(name)] = e.body(r), name
		w.WriteHeader(http.StatusCreated)
		answer(w, map[string]any{"Id": idOf(name)})
	case last == "json" && len(parts) == 2:
		list := []any{}
		for _, name := range slices.Sorted(maps.Keys(e.containers)) {
			if has(r, e.containers[name]) {
				list = append(list, map[string]any{
					"Id": idOf(name), "Names": []string{"/" + name}, "Labels": e.containers[name]["Labels"], "State": "created",
				})
			}
		}
		answer(w, list)
	case last == "json":
		name := parts[1]
		if byID, ok := e.ids[name]; ok {
			name = byID
		}
		c, ok := e.containers[name]
		if !ok && !e.isOutside(name) {
			missing(w)
			return
		}
		answer(w, map[string]any{
			"Id": idOf(name), "Name": "/" + name, "Image": "sha256:0", "Config": map[string]any{"Labels": c["Labels"]},
			"State": map[string]any{"Status": "created"}, "HostConfig": map[string]any{}, "NetworkSettings": map[string]any{"Networks": map[string]any{}},
		})
	case last == "archive":
		e.put(e.ids[parts[1]], r)
	case last == "start":
		w.WriteHeader(http.StatusNoContent)
	default:
		e.unknown(w, r)
	}
}

func (e *engine) serveOthers(w http.ResponseWriter, r *http.Request, parts []string) {
	all := map[string]map[string]map[string]any{"networks": e.networks, "volumes": e.volumes}[parts[0]]
	described := func(name string) map[string]any {
		return map[string]any{"Id": idOf(name), "Name": name, "Labels": all[name]["Labels"], "Driver": "bridge"}
	}
	switch {
	case len(parts) == 1:
		list := []any{}
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if has(r, all[name]) {
				list = append(list, described(name))
			}
		}
		if parts[0] == "volumes" {
			answer(w, map[string]any{"Volumes": list})
			return
		}
		answer(w, list)
	case parts[1] == "create":
		body := e.body(r)
		name, _ := body["Name"].(string)
		all[name] = body
		w.WriteHeader(http.StatusCreated)
		answer(w, described(name))
	case len(parts) == 3 && parts[2] == "connect":
		e.connect(parts[1], e.body(r))
	case len(parts) == 2 && r.Method == http.MethodGet:
		name := parts[1]
		for n := range all {
			if idOf(n) == name {
				name = n
			}
		}
		if _, ok := all[name]; !ok && !e.isOutside(name) {
			missing(w)
			return
		}
		answer(w, described(name))
	default:
		e.unknown(w, r)
	}
}

// has reports whether something has the labels that a list is to have.
func has(r *http.Request, of map[string]any) bool {
	var filters struct{ Label map[string]bool }
	_ = json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filters)
	labels, _ := of["Labels"].(map[string]any)
	for want := range filters.Label {
		name, val, valued := strings.Cut(want, "=")
		if got, ok := labels[name]; !ok || valued && got != val {
			return false
		}
	}
	return true
}

func (e *engine) body(r *http.Request) (body map[string]any) {
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		e.t.Errorf("%s %s: %v", r.Method, r.URL, err)
	}
	return body
}

// connect notes a further network of a container as if it had been made with it.
func (e *engine) connect(network string, body map[string]any) {
	id, _ := body["Container"].(string)
	endpoints := at(e.containers[e.ids[id]], "NetworkingConfig", "EndpointsConfig")
	if endpoints == nil {
		e.t.Errorf("container %s is connected to %s and was made without networks", id, network)
		return
	}
	endpoints[network] = body["EndpointConfig"]
}

// at is a mapping in a mapping.
func at(m map[string]any, path ...string) map[string]any {
	for _, name := range path {
		m, _ = m[name].(map[string]any)
	}
	return m
}

// put notes files that are copied into a container.
func (e *engine) put(name string, r *http.Request) {
	if e.files[name] == nil {
		e.files[name] = map[string]file{}
	}
	for archive := tar.NewReader(r.Body); ; {
		h, err := archive.Next()
		if err == io.EOF {
			return
		}
		content, readErr := io.ReadAll(archive)
		if err != nil || readErr != nil {
			e.t.Errorf("files of %s: %v, %v", name, err, readErr)
			return
		}
		e.files[name][h.Name] = file{Content: string(content), Mode: fmt.Sprintf("%04o", h.Mode), Owner: fmt.Sprintf("%d:%d", h.Uid, h.Gid)}
	}
}
