package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/wire"
)

// TestBundleHasNoSecret plants secrets wherever a user can put one, and where Otto
// and programs repeat them, and looks for them in each file of the bundle.
func TestBundleHasNoSecret(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("FROM_OUTSIDE", "hunter2-outside")
	put := func(name, content string) {
		t.Helper()
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	putJSON := func(name string, v any) {
		t.Helper()
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		put(name, string(b))
	}
	put("otto.yaml", `# hunter2-comment
cluster: {name: home}
mqtt: {host: 127.0.0.1, port: 1, username: hunter2-viewer, password: hunter2-mqtt}
x-shared: {a: &a hunter2-anchor}
nodes:
  - {id: pi, host: pi, identity_file: key, labels: {rack: hunter2-nodelabel}}
services:
  - name: web
    image: nginx:alpine
    node: pi
    env_file: web.env
    environment: {API_KEY: hunter2-env, OUTSIDE: "${FROM_OUTSIDE}", DOT: "${FROM_DOT}", ANCHOR: *a, URL: "amqp://joe:hunter2-url@mq/"}
    command: ["serve", "--password=hunter2-arg", "-phunter2-short"]
    entrypoint: sh -c "PASS=hunter2-inline serve"
    labels: {auth: hunter2-label}
    healthcheck: {test: ["CMD", "curl", "http://u:hunter2-health@x/"]}
    probe: {http: {port: 80, path: "/?key=hunter2-query"}}
    logging: {driver: splunk, options: {splunk-token: hunter2-log}}
    requirements:
      - {metric: cpu, op: "<", value: 50%, action: notify, notify: {webhook: "https://hooks.example/hunter2-webhook"}}
      - {metric: memory, op: "<", value: 50%, action: notify, notify: {command: [tell, --token, hunter2-notify]}}
`)
	put("web.env", "FILE_KEY=hunter2-envfile\n")
	put(".env", "FROM_DOT=hunter2-dotenv\nUNUSED=hunter2-unused\n")
	put("key", "hunter2-sshkey")
	put(".docker/config.json", `{"auths": {"r.example": {"auth": "hunter2-registry"}}}`)
	put(".ssh/config", "Host pi\n  HostName 127.0.0.1\n  Port 1\n")

	f, err := config.Load(filepath.Join(home, "otto.yaml"), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{
		"hunter2-outside",
		"hunter2-comment",
		"hunter2-viewer",
		"hunter2-mqtt",
		"hunter2-anchor",
		"hunter2-nodelabel",
		"hunter2-env",
		"hunter2-url",
		"hunter2-arg",
		"hunter2-short",
		"hunter2-inline",
		"hunter2-label",
		"hunter2-health",
		"hunter2-query",
		"hunter2-log",
		"hunter2-envfile",
		"hunter2-webhook",
		"hunter2-notify",
		"hunter2-dotenv",
		"hunter2-unused",
		"hunter2-sshkey",
		"hunter2-registry",
		"hunter2-tlskey",
		"hunter2-printed",
		"hunter2-store",
		"hunter2-foreign",
	}
	// What is in logs of what Otto knows, and of what it does not.
	said := strings.Join([]string{
		"hunter2-outside",
		"hunter2-mqtt",
		"hunter2-anchor",
		"hunter2-env",
		"hunter2-url",
		"hunter2-arg",
		"hunter2-short",
		"hunter2-inline",
		"hunter2-label",
		"hunter2-health",
		"hunter2-query",
		"hunter2-log",
		"hunter2-envfile",
		"hunter2-dotenv",
		"hunter2-nodelabel",
		"https://hooks.example/hunter2-webhook",
		"hunter2-notify",
		"password=hunter2-foreign",
		"http://u:hunter2-foreign@x",
		"Bearer hunter2-foreign",
	}, " ")
	now := time.Now()
	putJSON(".otto/cluster.json",
		clusterFile{ConfigPath: f.Path, ClusterName: "home", InitializedAt: now, StartedAt: now})
	withKey := f.MQTT
	withKey.TLS = &wire.TLS{Key: "-----BEGIN PRIVATE KEY-----\nhunter2-tlskey\n-----END PRIVATE KEY-----"}
	putJSON(".otto/control.json", controlFile{Name: "home", MQTT: withKey})
	putJSON(".otto/view.json", otto.Cluster{
		Name: "home", Nodes: []otto.NodeStatus{{Node: f.Wanted.Nodes[0], Problem: said}},
		Services: []otto.ServiceStatus{{Service: f.Wanted.Services[0], Instances: []otto.PlacedInstance{
			{
				Node:           "pi",
				InstanceStatus: otto.InstanceStatus{Name: "web", Error: said, LogTail: []string{"hunter2-printed"}},
			},
		}}},
	})
	event, _ := json.Marshal(otto.Event{Seq: 1, Time: now, Kind: "service-failed", Message: said})
	put(".otto/events.jsonl", string(event)+"\n")
	log, _ := json.Marshal(map[string]string{"msg": said})
	put(".otto/control.log", string(log)+"\nplain: "+said+"\n")
	put(".otto/store/key", "hunter2-store")

	path := filepath.Join(home, "b.tar.gz")
	var out, errOut bytes.Buffer
	if code := Main("test", []string{"-c", filepath.Join(home, "otto.yaml"), "debug", "bundle", path},
		strings.NewReader(""), &out, &errOut); code != exitOK {
		t.Fatalf("code %d: %s", code, errOut.String())
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	files := unpack(t, path)
	for name, content := range files {
		for _, s := range append(secrets, "hunter2") {
			if i := strings.Index(content, s); i >= 0 {
				t.Errorf("%s has %s: ...%s", name, s, content[max(0, i-60):i+len(s)])
			}
		}
	}
	for name, kept := range map[string]string{
		"otto.yaml": "API_KEY:", "cluster.json": `"FILE_KEY"`, "events.json": "service-failed", "control/control.log": "plain:", "doctor.json": `"check": "ssh"`,
		"files.txt": "store/key", "versions.json": `"otto": "test"`, "notes.txt": "nodes/pi: ",
	} {
		if !strings.Contains(files[name], kept) {
			t.Errorf("%s does not have %s:\n%s", name, kept, files[name])
		}
	}
}

// unpack returns the files of a bundle, without the directory that they are in.
func unpack(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(gz); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(h.Name, "/")
		files[name] = string(b)
	}
}
