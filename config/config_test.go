package config

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

var update = flag.Bool("update", false, "write golden files anew")

func noEnv(string) (string, bool) { return "", false }

func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func parse(t *testing.T, text string, vars ...string) *File {
	t.Helper()
	f, err := Parse("otto.yaml", []byte(text), "/home/me/lab", env(vars...))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// spec parses the given keys of a service named web and returns what they mean.
func spec(t *testing.T, keys string, vars ...string) otto.ContainerSpec {
	t.Helper()
	return parse(t, "services:\n  web:\n    image: nginx\n    "+strings.ReplaceAll(keys, "\n", "\n    ")+"\n", vars...).Wanted.Services[0].Spec
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not current, run go test ./config -update (-want +got):\n%s", path, diff)
	}
}

func TestFileOfTheFirstPrototypeLoads(t *testing.T) {
	f, err := Load("../examples/home.yaml", noEnv)
	if err != nil {
		t.Fatal(err)
	}
	want := &File{
		Path: "../examples/home.yaml",
		Name: "home-cluster",
		MQTT: MQTT{Host: "192.168.2.3", Port: 1883, Embedded: EmbeddedAuto},
		Wanted: otto.Wanted{
			Nodes: []otto.Node{
				{ID: "local", Host: "localhost", DockerURL: "unix:///var/run/docker.sock"},
				{ID: "rpi-01", Host: "192.168.2.7", User: "lolosioann", DockerURL: "unix:///var/run/docker.sock"},
			},
			Services: []otto.Service{
				{Name: "test-redis", Node: "local", Replicas: 1, Spec: otto.ContainerSpec{Image: "redis:alpine"}},
				{Name: "test-nginx", Node: "rpi-01", Replicas: 1, Spec: otto.ContainerSpec{
					Image:       "nginx:alpine",
					Ports:       []otto.Port{{Host: 8080, Container: 80, Protocol: "tcp"}},
					Environment: map[string]string{"NGINX_HOST": "example.com"},
				}},
			},
		},
	}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Error(diff)
	}
}

func TestExamplesLoadWithoutWarnings(t *testing.T) {
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("found %v, %v", files, err)
	}
	files = append(files, "../examples/stacks/otto.yaml")
	for _, path := range files {
		f, err := Load(path, env("HOME", "/home/me"))
		if err != nil {
			t.Error(err)
		} else if len(f.Warnings) > 0 {
			t.Error(f.Warnings)
		}
	}
}

func TestStarterLoads(t *testing.T) {
	f := parse(t, string(Example()))
	if len(f.Wanted.Services) != 1 || len(f.Warnings) > 0 {
		t.Errorf("got %+v", f)
	}
}

func TestSchemaIsCurrent(t *testing.T) {
	golden(t, "../examples/otto.schema.json", Schema())
}

func TestBadFilesAreExplained(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse("otto.yaml", data, "/nowhere", noEnv)
			if err == nil {
				t.Fatal("the file was accepted")
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the error shows a secret")
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".txt", []byte(err.Error()+"\n"))
		})
	}
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	_, err := Load("testdata/bad/many.yaml", noEnv)
	var problems Problems
	if !errors.As(err, &problems) || len(problems) < 8 {
		t.Fatalf("got %v", err)
	}
	for i, p := range problems {
		if p.Line == 0 || p.Col == 0 || p.Try == "" {
			t.Errorf("%v has no place or no advice", p)
		}
		if i > 0 && p.Line < problems[i-1].Line {
			t.Errorf("%v is out of order", p)
		}
	}
}

func TestFileThatCannotBeReadIsNamed(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, make([]byte, maxBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "otto.yaml"): "there is no such file: `otto cluster init --example` writes a starter",
		dir:                             "is a directory, not a file: name an otto.yaml that you may read",
		"/dev/zero":                     "is not a regular file: name an otto.yaml that you may read",
		large:                           "is larger than 1 MiB: name an otto.yaml that you may read",
	} {
		_, err := Load(path, noEnv)
		if got := path + ": " + want; err == nil || err.Error() != got {
			t.Errorf("got %v\nwant %s", err, got)
		}
	}
}

func TestFileThatIsNotTextIsRefused(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := byte('b'); c <= 'i'; c++ {
		p := "*" + string(c-1)
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat(p+",", 8) + p + "]\n"
	}
	for _, test := range []struct{ name, data, want string }{
		{"empty", "", "otto.yaml: the file is empty: `otto cluster init --example` writes a starter"},
		{"only comments", "# nothing\n", "otto.yaml: the file is empty: `otto cluster init --example` writes a starter"},
		{"only a mark", "\ufeff", "otto.yaml: the file is empty: `otto cluster init --example` writes a starter"},
		{"latin 1", "services:\n  caf\xe9:\n", "otto.yaml:2:6: this byte is not UTF-8: save the file as UTF-8"},
		{"utf-16", "\xff\xfea\x00", "otto.yaml: the file is UTF-16: save it as UTF-8"},
		{"nul", "a: \x00", "otto.yaml:1:4: there is a control character here: take it out, or write it as an escape in double quotes"},
		{"large", strings.Repeat("#", maxBytes+1), "otto.yaml: the file is larger than 1 MiB: is it really an otto.yaml?"},
		{"alias bomb", bomb, "otto.yaml:5:23: the aliases of this file stand for more than 50000 values: write out less by aliases"},
		{"nested", strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "otto.yaml:1:102: the file is nested more than 100 levels deep: indent less"},
		{"nested lists", strings.Repeat("- ", 5000), "otto.yaml:1:203: the file is nested more than 100 levels deep: indent less"},
		{"many words", strings.Repeat("- a\n", 60000), "otto.yaml:50002:3: the file holds more than 50000 values: divide it into several clusters"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("otto.yaml", []byte(test.data), "/", noEnv)
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestPortsOfAllServicesTogetherAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("x-p: &p [\"1000-1998:1-999\"]\nservices:\n")
	for i := range 100 {
		b.WriteString("  - {name: s" + strconv.Itoa(i) + ", image: nginx, network_mode: none, ports: *p}\n")
	}
	_, err := Parse("otto.yaml", []byte(b.String()), "/", noEnv)
	want := "otto.yaml:1:10: a file can publish at most 5000 ports: use network_mode: host for so many"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestNodeKeys(t *testing.T) {
	got := parse(t, `nodes:
  - {id: rpi-01, host: rpi.local, user: pi, port: 2222, docker_url: "tcp://127.0.0.1:2375", labels: [disk=ssd], identity_file: keys/id}
  - {id: v6, host: "fd00::7", labels: {rack: 1}, identity_file: ~/.ssh/id}
`, "HOME", "/home/me").Wanted.Nodes
	want := []otto.Node{
		{
			ID:           "rpi-01",
			Host:         "rpi.local",
			User:         "pi",
			Port:         2222,
			DockerURL:    "tcp://127.0.0.1:2375",
			Labels:       map[string]string{"disk": "ssd"},
			IdentityFile: "/home/me/lab/keys/id",
		},
		{
			ID:           "v6",
			Host:         "fd00::7",
			DockerURL:    "unix:///var/run/docker.sock",
			Labels:       map[string]string{"rack": "1"},
			IdentityFile: "/home/me/.ssh/id",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNodesAndServicesMayBeLeftOut(t *testing.T) {
	f := parse(t, "cluster: {name: home}\n")
	want := otto.Wanted{
		Nodes:    []otto.Node{{ID: "local", Host: "localhost", DockerURL: "unix:///var/run/docker.sock"}},
		Services: []otto.Service{},
	}
	if diff := cmp.Diff(want, f.Wanted); diff != "" {
		t.Error(diff)
	}
	if f := parse(t, "metrics: {interval: 500ms}\n"); f.Name != "otto" || f.Wanted.Interval != 500*time.Millisecond {
		t.Errorf("got %+v", f)
	}
}

func TestByteOrderMarkAndCarriageReturnsAreAccepted(t *testing.T) {
	f := parse(t, "\ufeff"+"cluster:\r\n  name: home\r\nservices:\r\n  - name: web\r\n    image: nginx\r\n")
	if f.Name != "home" || f.Wanted.Services[0].Spec.Image != "nginx" {
		t.Errorf("got %+v", f)
	}
}

func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load("../examples/compose.yaml", noEnv); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoadLarge is a file of 20 nodes and 200 services.
func BenchmarkLoadLarge(b *testing.B) {
	data := largeFile()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("otto.yaml", data, "/", noEnv); err != nil {
			b.Fatal(err)
		}
	}
}

func largeFile() []byte {
	var b bytes.Buffer
	b.WriteString("nodes:\n")
	for i := range 20 {
		b.WriteString("  - {id: n" + strconv.Itoa(i) + ", host: 10.0.0." + strconv.Itoa(i+1) + "}\n")
	}
	b.WriteString("services:\n")
	for i := range 200 {
		b.WriteString(
			"  - name: service-" + strconv.Itoa(i) + "\n    image: nginx:alpine\n    node: n" + strconv.Itoa(i%20) +
				"\n    ports: [\"" + strconv.Itoa(8000+i) + ":80\"]\n    environment: {A: one, B: \"two\", C: \"${C:-three}\"}\n    volumes: [data-" + strconv.Itoa(i) + ":/data]\n",
		)
	}
	return b.Bytes()
}
