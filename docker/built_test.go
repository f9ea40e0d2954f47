package docker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

var built = "sha256:" + strings.Repeat("ab", 32)

// builtEngine is an engine that takes in an image under an id that may be its own.
type builtEngine struct {
	fakeEngine
	id     string // in this engine
	layers string
	there  bool
	full   string // what it says when it loads
	loaded bytes.Buffer
	tags   []string
	gone   []string
}

func (e *builtEngine) name() string { return otto.BuiltName("home", built) }

func (e *builtEngine) init() {
	found := func(w http.ResponseWriter, r *http.Request) {
		if !e.there || strings.Contains(r.URL.Path, built) && e.id != built {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"message": "no such image"}`)
			return
		}
		fmt.Fprintf(w, `{"Id": %q, "Architecture": "amd64", "RootFS": {"Layers": [%q]}}`, e.id, e.layers)
	}
	former := otto.BuiltName("home", "sha256:"+strings.Repeat("0", 64))
	used := otto.BuiltName("home", "sha256:"+strings.Repeat("1", 64))
	others := otto.BuiltName("other", "sha256:"+strings.Repeat("2", 64))
	e.handlers = map[string]http.HandlerFunc{
		"GET /version":                      says(version2010),
		"GET /images/" + built + "/json":    found,
		"GET /images/" + e.name() + "/json": found,
		"POST /images/" + e.id + "/tag": func(_ http.ResponseWriter, r *http.Request) {
			e.tags = append(e.tags, r.URL.Query().Get("tag"))
		},
		"GET /images/json": says(fmt.Sprintf(`[{"RepoTags": [%q, %q]}, {"RepoTags": [%q, %q, "web:1"]}]`, e.name(), former, used, others)),
		"DELETE /images/" + former: func(w http.ResponseWriter, _ *http.Request) {
			e.gone = append(e.gone, former)
			fmt.Fprint(w, "[]")
		},
		"GET /info": says(`{"DockerRootDir": "/nowhere"}`),
		"POST /images/load": func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(&e.loaded, r.Body)
			e.there = err == nil && e.full == ""
			fmt.Fprint(w, `{"stream": "Loaded"}`+"\n")
			if e.full != "" {
				fmt.Fprintf(w, `{"errorDetail": {"message": %q}, "error": %[1]q}`, e.full)
			}
		},
	}
}

func TestBuiltImageIsTakenIn(t *testing.T) {
	for name, tc := range map[string]struct {
		engine  *builtEngine
		answers []string
		err     string
	}{
		"missing": {engine: &builtEngine{id: built}, answers: []string{"send", "taken"}},
		"there":   {engine: &builtEngine{id: built, there: true}, answers: []string{"there"}},
		"another id in its store": {
			engine:  &builtEngine{id: "sha256:1", layers: "sha256:l", there: true},
			answers: []string{"there"},
		},
		"sent to another store": {
			engine:  &builtEngine{id: "sha256:1", layers: "sha256:l"},
			answers: []string{"send", "taken"},
		},
		"something else by its name": {
			engine:  &builtEngine{id: "sha256:1", layers: "sha256:x"},
			answers: []string{"send"}, err: "the engine does not have it",
		},
		"full disk": {
			engine: &builtEngine{id: built, full: "write /layer: no space left on device"}, answers: []string{"send"},
			err: "no space left on device",
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := tc.engine
			e.init()
			var answers []string
			r := fake(t, &e.fakeEngine)
			r.owner.Cluster = "home"
			o := otto.ImageOffer{
				ID: built, Layers: []string{"sha256:l"}, Bytes: 10,
				Keep: []string{"sha256:" + strings.Repeat("1", 64)},
			}
			err := r.TakeImage(t.Context(), o, func(a string) error { answers = append(answers, a); return nil },
				strings.NewReader("archive"))
			if diff := cmp.Diff(tc.answers, answers); diff != "" {
				t.Error(diff)
			}
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "\n") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(answers, "send") != (e.loaded.String() == "archive") {
				t.Errorf("loaded %q", e.loaded.String())
			}
			if len(e.tags) != 1 || e.tags[0] != strings.Repeat("ab", 32) {
				t.Errorf("named %v", e.tags)
			}
			if len(e.gone) != 1 {
				t.Errorf("removed %v: exactly what is not in use any more", e.gone)
			}
			if id, err := r.ImageID(t.Context(), built); err != nil || id != strings.TrimPrefix(e.id, "sha256:") {
				t.Errorf("its id is %q (%v)", id, err)
			}
		})
	}
}

func TestThereMustBeRoomForABuiltImage(t *testing.T) {
	e := &builtEngine{id: built}
	e.init()
	e.handlers["GET /info"] = says(fmt.Sprintf(`{"DockerRootDir": %q}`, t.TempDir()))
	r := fake(t, &e.fakeEngine)
	r.owner.Cluster = "home"
	r.free = func(string) (uint64, error) { return minFree + 100, nil }
	asked := false
	err := r.TakeImage(t.Context(), otto.ImageOffer{ID: built, Bytes: 51},
		func(string) error { asked = true; return nil }, strings.NewReader(""))
	if err == nil || !strings.Contains(err.Error(), "disk of the engine is nearly full") || asked {
		t.Errorf("got %v, asked for: %v", err, asked)
	}
}

// TestBuiltImageIsNeverPulled asks an engine that lacks it, and has a registry which would
// give away something of that name.
func TestBuiltImageIsNeverPulled(t *testing.T) {
	for _, policy := range []string{"", otto.PullMissing, otto.PullAlways, otto.PullNever} {
		e := &builtEngine{id: built}
		e.init()
		e.handlers["POST /images/create"] = says(`{"status":"ok"}`)
		r := fake(t, &e.fakeEngine)
		_, err := r.Pull(t.Context(), otto.ContainerSpec{Image: built, PullPolicy: policy})
		if err == nil || !strings.Contains(err.Error(), "is not on this node: run `otto apply` where its folder is") {
			t.Errorf("%s: %v", policy, err)
		}
		for _, request := range e.requests() {
			if strings.Contains(request, "/images/create") {
				t.Errorf("%s: a registry was asked", policy)
			}
		}
	}
}

func TestBuiltImagesAreListedByTheirIDs(t *testing.T) {
	f := &fakeEngine{handlers: map[string]http.HandlerFunc{
		"GET /images/json": says(fmt.Sprintf(`[{"RepoTags": ["shop-web:latest", %q], "Size": 7}]`,
			otto.BuiltName("home", built))),
	}}
	got, err := fake(t, f).Images(t.Context())
	if diff := cmp.Diff([]otto.Image{{Name: "shop-web:latest", Bytes: 7}, {Name: built, Bytes: 7}}, got); err != nil ||
		diff != "" {
		t.Error(err, diff)
	}
}

// TestDamagedBuiltImageIsNotRemoved has nowhere to fetch it from.
func TestDamagedBuiltImageIsNotRemoved(t *testing.T) {
	f := &fakeEngine{handlers: map[string]http.HandlerFunc{}}
	if err := fake(t, f).discard(t.Context(), otto.ContainerSpec{Image: built}); err == nil || len(f.requests()) > 0 {
		t.Errorf("got %v, asked %v", err, f.requests())
	}
}

func TestContainerOfABuiltImageIsMadeByTheEnginesOwnID(t *testing.T) {
	for _, id := range []string{built, "sha256:1"} {
		e := &builtEngine{id: id, there: true}
		e.init()
		r := fake(t, &e.fakeEngine)
		r.owner.Cluster = "home"
		options, err := createOptions(r.owner,
			otto.Instance{Name: "web", Service: "web", Spec: otto.ContainerSpec{Image: built}}, "web")
		c, connectErr := r.connect(t.Context())
		if err := errors.Join(err, connectErr); err != nil {
			t.Fatal(err)
		}
		inst := otto.Instance{Spec: otto.ContainerSpec{Image: built}}
		if err := r.withBuilt(t.Context(), c, inst, options.Config); err != nil {
			t.Fatal(err)
		}
		if label := options.Config.Labels[otto.LabelImage]; options.Config.Image != id ||
			(label == built) != (id != built) {
			t.Errorf("made of %s, label %q", options.Config.Image, label)
		}
	}
}
