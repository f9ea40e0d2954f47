package config

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRedactedFileKeepsItsShapeAndNoValueThatMayBeSecret(t *testing.T) {
	const file = `# the password is hunter2
cluster: {name: home}
mqtt: {host: 10.0.0.1, username: hunter2, password: hunter2}
x-env: &env
  host: hunter2
nodes:
  - id: pi   # hunter2
    host: 10.0.0.2
    labels: {name: hunter2}
services:
  - name: web
    image: "nginx:${TAG:-hunter2}"
    ports: ["8080:80"]
    environment:
      <<: *env
      image: hunter2
      PASSWORD: ${HUNTER2}
    environs: {name: hunter2}
    command: [serve, --password=hunter2]
    healthcheck: {test: [CMD, hunter2], interval: 5s}
    probe: {http: {port: 80, path: "/?token=hunter2"}}
    labels: [a=hunter2]
    logging: {driver: splunk, options: {name: hunter2}}
    env_file: secret.env
    volumes:
      - {type: volume, source: data, target: /data}
    tmpfs: []
    user:
`
	got, err := Redact("otto.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	const want = `cluster:
  name: home
mqtt:
  host: 10.0.0.1
  username: "[redacted]"
  password: "[redacted]"
x-env:
  host: "[redacted]"
nodes:
  - id: pi
    host: 10.0.0.2
    labels:
      name: "[redacted]"
services:
  - name: web
    image: "nginx:${TAG}"
    ports:
      - 8080:80
    environment:
      image: "[redacted]"
      PASSWORD: "[redacted]"
      host: "[redacted]"
    environs:
      name: "[redacted]"
    command:
      - "[redacted]"
      - "[redacted]"
    healthcheck:
      test:
        - "[redacted]"
        - "[redacted]"
      interval: 5s
    probe:
      http:
        port: 80
        path: "[redacted]"
    labels:
      - "[redacted]"
    logging:
      driver: splunk
      options:
        name: "[redacted]"
    env_file: secret.env
    volumes:
      - type: volume
        source: data
        target: /data
    tmpfs: []
    user:
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	if again, err := Redact("otto.yaml", got); err != nil || string(again) != string(got) {
		t.Errorf("once more it is\n%s\n%v", again, err)
	}
}

func TestRedactedFileByNameAsInCompose(t *testing.T) {
	got, err := Redact("otto.yaml", []byte("services:\n  web:\n    image: nginx\n    environment: [A=hunter2]\n"))
	want := "services:\n  web:\n    image: nginx\n    environment:\n      - \"[redacted]\"\n"
	if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func TestFileThatIsNoYAMLIsNotShown(t *testing.T) {
	_, err := Redact("otto.yaml", []byte("a: b\npassword: \"hunter2\n  b: ]"))
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), "otto.yaml:") {
		t.Errorf("got %v", err)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add([]byte("services: [{name: web, image: x, environment: {A: b}}]"), "hunter2")
	f.Add(Example(), "a: b")
	f.Fuzz(func(t *testing.T, data []byte, secret string) {
		_, _ = Redact("otto.yaml", data)
		quoted, err := json.Marshal("--" + secret + "--")
		if err != nil {
			t.Fatal(err)
		}
		got, err := Redact("otto.yaml", fmt.Appendf(nil, "services: [{name: web, command: [%[1]s], environment: {image: %[1]s}}]\npassword: %[1]s\n", quoted))
		if err == nil && strings.Count(string(got), redacted) != 3 || strings.Contains(string(got), "--") {
			t.Errorf("of %s it shows\n%s", quoted, got)
		}
	})
}
