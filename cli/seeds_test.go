package cli

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otto-edge/otto"
)

// planned is data of a project that has one file of a size.
func planned(t *testing.T, size int64) otto.PlannedSeed {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "data/file")
	err := errors.Join(os.Mkdir(filepath.Dir(file), 0o700), os.WriteFile(file, nil, 0o600), os.Truncate(file, size))
	if err != nil {
		t.Fatal(err)
	}
	s := otto.PlannedSeed{Volume: "shop.data.1", Node: "pi", Seed: otto.Seed{Project: dir, Path: "data", Name: "./data"}}
	p := measured(otto.Plan{Seeds: []otto.PlannedSeed{s}})
	if len(p.Refused) > 0 {
		t.Fatal(p.Refused)
	}
	return p.Seeds[0]
}

// noEngine has no container engine answer, but one at the returned socket if it is served.
func noEngine(t *testing.T) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "otto") //nolint:usetesting // its path is short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("XDG_RUNTIME_DIR", dir)
	return filepath.Join(dir, "docker.sock")
}

func TestMuchDataIsCopiedAfterAQuestionAlone(t *testing.T) {
	noEngine(t)
	a := &app{in: strings.NewReader("y\n"), out: io.Discard, err: io.Discard}
	for size, asks := range map[int64]bool{0: false, 1 << 20: false, 1 << 30: false, 5 << 30: true} {
		seeds := []otto.PlannedSeed{planned(t, size)}
		err := a.agreeTo(t.Context(), seeds, false)
		if asks && (err == nil || !strings.HasPrefix(err.Error(), "data ./data has 5.0 GB: ") || !strings.Contains(err.Error(), "--yes")) ||
			!asks && err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		if err := a.agreeTo(t.Context(), seeds, true); err != nil {
			t.Errorf("%d bytes with --yes: %v", size, err)
		}
		seeds[0].Empty = true
		if err := a.agreeTo(t.Context(), seeds, false); err != nil {
			t.Errorf("%d bytes that stay here: %v", size, err)
		}
	}
}

// TestDataInUseIsNotCopied has an engine say which containers run.
func TestDataInUseIsNotCopied(t *testing.T) {
	socket := noEngine(t)
	s := planned(t, 10)
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	says := ""
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		if strings.HasSuffix(r.URL.Path, "/containers/json") {
			_, _ = io.WriteString(w, says)
		}
	})}
	served := make(chan struct{})
	go func() { _ = server.Serve(l); close(served) }()
	defer func() { server.Close(); <-served }()
	mounts := func(source, rw string) string {
		return `[{"Id": "1", "Names": ["/shop-db-1"], "Mounts": [{"Type": "bind", "Source": "` + source + `", "RW": ` + rw + `}]}]`
	}
	a := &app{in: strings.NewReader(""), out: io.Discard, err: io.Discard}
	data := filepath.Join(s.Project, "data")
	for _, test := range []struct {
		says string
		uses bool
	}{
		{`[]`, false},
		{mounts(data, "true"), true},
		{mounts(data+"/file", "true"), true},
		{mounts(s.Project, "true"), true},
		{mounts(data, "false"), false},
		{mounts(data+"base", "true"), false},
		{mounts("/", "true"), false},
	} {
		says = test.says
		err := a.agreeTo(t.Context(), []otto.PlannedSeed{s}, true)
		if uses := err != nil && strings.HasPrefix(err.Error(),
			"data for node pi: ./data is in use by container shop-db-1 of this machine: stop it first"); uses != test.uses || err != nil && !uses {
			t.Errorf("%s: %v", test.says, err)
		}
	}
}

func TestPlanSaysWhatIsCopied(t *testing.T) {
	large, small, none := planned(t, 5<<30), planned(t, 10), planned(t, 0)
	none.Path, none.Name = "gone", "./gone"
	small.Node = ""
	p := measured(otto.Plan{Seeds: []otto.PlannedSeed{large, small, none}})
	var out bytes.Buffer
	(&app{out: &out}).printSeeds(p.Seeds)
	want := `
Data ./data is copied to node pi once, 5.0 GB in 2 files and folders, and stays there.
Data ./data is copied to its node once, 0.0 MB in 2 files and folders, and stays there.
Data ./gone begins empty on node pi, and stays there.
`
	if out.String() != want {
		t.Errorf("it says %q", out.String())
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(noEngineDir(t, &small), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	refused := measured(otto.Plan{Seeds: []otto.PlannedSeed{small}}).Refused
	if len(refused) != 1 || !strings.HasPrefix(refused[0], `data for its node: "./data/s" is a socket`) {
		t.Errorf("refused is %q", refused)
	}
}

// noEngineDir gives data a project whose path is short enough for a socket.
func noEngineDir(t *testing.T, s *otto.PlannedSeed) string {
	t.Helper()
	s.Project = filepath.Dir(noEngine(t))
	data := filepath.Join(s.Project, s.Path)
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	return data
}
