package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func TestServiceKeysMeanWhatComposeMeans(t *testing.T) {
	tcp := func(host, container uint16) otto.Port {
		return otto.Port{Host: host, Container: container, Protocol: "tcp"}
	}
	for _, test := range []struct {
		keys string
		want otto.ContainerSpec
	}{
		{`ports: ["8080:80"]`, otto.ContainerSpec{Ports: []otto.Port{tcp(8080, 80)}}},
		{"ports:\n  - 8080:22\n  - 80", otto.ContainerSpec{Ports: []otto.Port{tcp(8080, 22), tcp(0, 80)}}},
		{`ports: ["8000-8001:80-81"]`, otto.ContainerSpec{Ports: []otto.Port{tcp(8000, 80), tcp(8001, 81)}}},
		{`ports: ["127.0.0.1:53:53/udp", "[::1]:81:80"]`, otto.ContainerSpec{Ports: []otto.Port{
			{HostIP: "127.0.0.1", Host: 53, Container: 53, Protocol: "udp"}, {HostIP: "::1", Host: 81, Container: 80, Protocol: "tcp"},
		}}},
		{`ports: [{target: 80, published: "8080", protocol: udp, host_ip: 10.0.0.1, mode: host}]`, otto.ContainerSpec{Ports: []otto.Port{
			{HostIP: "10.0.0.1", Host: 8080, Container: 80, Protocol: "udp"},
		}}},
		{`environment: {A: 1, B: true, C: "yes", D: 1.5, E: ""}`, otto.ContainerSpec{Environment: map[string]string{"A": "1", "B": "true", "C": "yes", "D": "1.5", "E": ""}}},
		{"environment:\n  - A=b=c\n  - SHELL_FLAG=yes\n  - FROM_OUTSIDE", otto.ContainerSpec{Environment: map[string]string{"A": "b=c", "SHELL_FLAG": "yes", "FROM_OUTSIDE": "there"}}},
		{"environment:\n  FROM_OUTSIDE:", otto.ContainerSpec{Environment: map[string]string{"FROM_OUTSIDE": "there"}}},
		{"environment: {A: \"${FROM_OUTSIDE} $$HOME ${NOT_SET:-no} ${FROM_OUTSIDE:+yes}\"}", otto.ContainerSpec{Environment: map[string]string{"A": "there $HOME no yes"}}},
		{"environment:\n  TEXT: |\n    one\n    two", otto.ContainerSpec{Environment: map[string]string{"TEXT": "one\ntwo\n"}}},
		{`command: redis-server --save "60 1"`, otto.ContainerSpec{Command: []string{"redis-server", "--save", "60 1"}}},
		{`command: [sh, -c, "a && b", 1.10]`, otto.ContainerSpec{Command: []string{"sh", "-c", "a && b", "1.10"}}},
		{`entrypoint: /bin/app`, otto.ContainerSpec{Entrypoint: []string{"/bin/app"}}},
		{"command:", otto.ContainerSpec{}},
		{`volumes: ["data:/data", "/srv:/srv:ro,rslave", "/anonymous", "./here:/there"]`, otto.ContainerSpec{Mounts: []otto.Mount{
			{Type: "volume", Source: "data", Target: "/data"},
			{Type: "bind", Source: "/srv", Target: "/srv", ReadOnly: true, Propagation: "rslave"},
			{Type: "volume", Target: "/anonymous"},
			{Type: "bind", Source: "/home/me/lab/here", Target: "/there"},
		}}},
		{`volumes: [{type: bind, source: ~/x, target: /x, bind: {create_host_path: false}}, {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 01777}}]`, otto.ContainerSpec{Mounts: []otto.Mount{
			{Type: "bind", Source: "/home/me/x", Target: "/x", MustExist: true},
			{Type: "tmpfs", Target: "/t", SizeBytes: 1 << 20, Mode: 0o1777},
		}}},
		{`tmpfs: /run`, otto.ContainerSpec{Tmpfs: []string{"/run"}}},
		{`restart: no`, otto.ContainerSpec{Restart: "no"}},
		{`restart: on-failure:3`, otto.ContainerSpec{Restart: "on-failure:3"}},
		{`pull_policy: if_not_present`, otto.ContainerSpec{PullPolicy: otto.PullMissing}},
		{`resources: {cpu: 0.5, memory: 256m}`, otto.ContainerSpec{Resources: otto.Resources{CPU: 0.5, MemoryBytes: 256 << 20}}},
		{`cpus: "1.5"` + "\nmem_limit: 1gb", otto.ContainerSpec{Resources: otto.Resources{CPU: 1.5, MemoryBytes: 1 << 30}}},
		{`deploy: {resources: {limits: {cpus: "2", memory: 64M}}}`, otto.ContainerSpec{Resources: otto.Resources{CPU: 2, MemoryBytes: 64 << 20}}},
		{`healthcheck: {test: curl -f localhost, interval: 1m30s, timeout: 5s, retries: 3, start_period: 1h, start_interval: 1s}`, otto.ContainerSpec{Healthcheck: &otto.Healthcheck{
			Test: []string{"CMD-SHELL", "curl -f localhost"}, Interval: 90 * time.Second, Timeout: 5 * time.Second,
			Retries: 3, StartPeriod: time.Hour, StartInterval: time.Second,
		}}},
		{`healthcheck: {test: [CMD, curl, localhost]}`, otto.ContainerSpec{Healthcheck: &otto.Healthcheck{Test: []string{"CMD", "curl", "localhost"}}}},
		{`healthcheck: {disable: true}`, otto.ContainerSpec{Healthcheck: &otto.Healthcheck{Test: []string{"NONE"}}}},
		{`logging: {driver: local, options: {max-file: 2}}`, otto.ContainerSpec{Logging: &otto.Logging{Driver: "local", Options: map[string]string{"max-file": "2"}}}},
		{`labels: [a.b=c, d]`, otto.ContainerSpec{Labels: map[string]string{"a.b": "c", "d": ""}}},
		{`devices: [/dev/a, "/dev/a:/dev/b", "/dev/a:rw", {source: /dev/c, permissions: r}]`, otto.ContainerSpec{Devices: []otto.Device{
			{Host: "/dev/a", Container: "/dev/a", Permissions: "rwm"},
			{Host: "/dev/a", Container: "/dev/b", Permissions: "rwm"},
			{Host: "/dev/a", Container: "/dev/a", Permissions: "rw"},
			{Host: "/dev/c", Container: "/dev/c", Permissions: "r"},
		}}},
		{`extra_hosts: ["b:10.0.0.1", "a=::1", "gw:host-gateway"]`, otto.ContainerSpec{ExtraHosts: []string{"a:::1", "b:10.0.0.1", "gw:host-gateway"}}},
		{`extra_hosts: {a: [10.0.0.1, 10.0.0.2]}`, otto.ContainerSpec{ExtraHosts: []string{"a:10.0.0.1", "a:10.0.0.2"}}},
		{"user: 1000:1000\nworking_dir: /app\nread_only: true\nstop_signal: SIGINT\nstop_grace_period: 1m", otto.ContainerSpec{
			User: "1000:1000", WorkingDir: "/app", ReadOnly: true, StopSignal: "SIGINT", StopGrace: time.Minute,
		}},
		{"cap_add: [NET_ADMIN]\ncap_drop: [ALL]\nnetwork_mode: host", otto.ContainerSpec{CapAdd: []string{"NET_ADMIN"}, CapDrop: []string{"ALL"}, NetworkMode: "host"}},
	} {
		t.Run(test.keys, func(t *testing.T) {
			test.want.Image = "nginx"
			got := spec(t, test.keys, "FROM_OUTSIDE", "there", "HOME", "/home/me")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestListAndMapFormsOfServicesMeanTheSame(t *testing.T) {
	a := parse(t,
		"services:\n  - {name: web, image: nginx, replicas: 2, depends_on: [db]}\n  - {name: db, image: redis}\n")
	b := parse(t, "services:\n  web: {image: nginx, scale: 2, depends_on: {db: }}\n  db: {image: redis}\n")
	if diff := cmp.Diff(a.Wanted, b.Wanted); diff != "" {
		t.Error(diff)
	}
	if got := a.Wanted.Services[0].DependsOn; len(got) != 1 ||
		got[0] != (otto.Dependency{Service: "db", Condition: otto.ServiceStarted}) {
		t.Errorf("got %v", got)
	}
}

func TestMergeKeyKeepsWhatTheMappingSaysItself(t *testing.T) {
	f := parse(t, "x-base: &base {image: nginx, restart: always}\nservices:\n  web: {<<: *base, restart: \"no\"}\n")
	if got := f.Wanted.Services[0].Spec; got.Image != "nginx" || got.Restart != "no" {
		t.Errorf("got %+v", got)
	}
}

func TestEnvironmentWinsOverDotEnvAndEnvFile(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{
		".env":      "# comment\nTAG=from-dotenv\nBOTH=from-dotenv\nPASSED=from-dotenv\n",
		"web.env":   "A=file\nB=file\nC=${TAG}\nPASSED=file\n",
		"otto.yaml": "services:\n  web:\n    image: nginx:${TAG}-${BOTH}\n    env_file:\n      - web.env\n      - {path: missing.env, required: false}\n    environment:\n      A: here\n      PASSED:\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Load(filepath.Join(dir, "otto.yaml"), env("BOTH", "from-env"))
	if err != nil {
		t.Fatal(err)
	}
	got := f.Wanted.Services[0].Spec
	want := otto.ContainerSpec{Image: "nginx:from-dotenv-from-env", Environment: map[string]string{
		"A": "here", "B": "file", "C": "from-dotenv", "PASSED": "from-dotenv",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBadDotEnvIsNamedWithoutItsContent(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{".env": "OK=1\nhunter2!!\n", "otto.yaml": "{}"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Load(filepath.Join(dir, "otto.yaml"), noEnv)
	want := filepath.Join(dir, ".env") + ": line 2 is not a variable: write one KEY=value a line"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestWarnings(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"services:\n  web: {image: \"nginx${TAG}\"}", "otto.yaml:2:16: variable TAG is not set, it is taken as blank: write $$ if a dollar sign is meant, as in the hash of a password; or set it in the environment or in .env, or write ${TAG:-default}"},
		{"services:\n  web: {image: nginx, environment: [A]}", `otto.yaml:2:36: variable "A" is not set, containers will not have it: set it in the environment or in .env, or write its value`},
		{"services:\n  web: {image: nginx, network_mode: host, ports: [\"80:80\"]}", "otto.yaml:2:51: ports mean nothing with network_mode: host: take ports out"},
		{"services:\n  web: {image: nginx, depends_on: {job: {condition: service_completed_successfully}}}\n  job: {image: nginx}", "otto.yaml:2:36: service job is started again whenever it completes, so that this waits forever: write restart: \"no\" there"},
		{"services:\n  web: {image: \"nginx${TAG:-}\"}", ""},
		{"services:\n  web: {image: \"nginx${TAG:-$OTHER}\"}", "otto.yaml:2:16: variable OTHER is not set, it is taken as blank: write $$ if a dollar sign is meant, as in the hash of a password; or set it in the environment or in .env, or write ${OTHER:-default}"},
	} {
		if got := parse(t, test.text).Warnings.Error(); got != test.want {
			t.Errorf("%s\ngot  %s\nwant %s", test.text, got, test.want)
		}
	}
}

func TestUnquotedValuesAreTakenAsTheyStandOrRefused(t *testing.T) {
	for value, ok := range map[string]bool{
		"0": true, "-1": true, "42": true, "1.5": true, "true": true, "false": true, "hello": true, "1.2.3": true,
		"10.0.0.1": true, "8080": true, "http://x:80": true, "1h30m": true, "2024": true, "a:b": true, "12:ab": true,
		"9223372036854775807": true,
		"yes":                 false, "No": false, "on": false, "OFF": false, "y": false, "True": false, "1.10": false, "1.0": false,
		"007": false, "0x10": false, "0o17": false, "0b1": false, "1_000": false, "1e3": false, ".5": false, "+1": false, "8080:80": false,
		"12:30:45": false, "2024-01-31": false, "2024-01-31T10:00:00Z": false, ".inf": false, ".NaN": false,
		"123456789012345678901234567890": false,
	} {
		f, err := Parse("otto.yaml",
			[]byte("services:\n  web:\n    image: nginx\n    environment:\n      KEY: "+value+"\n"), "/", noEnv)
		switch {
		case (err == nil) != ok:
			t.Errorf("%s: got %v, want accepted: %v", value, err, ok)
		case ok && f.Wanted.Services[0].Spec.Environment["KEY"] != value:
			t.Errorf("%s became %q", value, f.Wanted.Services[0].Spec.Environment["KEY"])
		case !ok && !strings.Contains(err.Error(), "quotes"):
			t.Errorf("%s: got %v", value, err)
		}
	}
}

func TestBrokerSettings(t *testing.T) {
	for _, test := range []struct {
		text string
		want MQTT
	}{
		{"{}", MQTT{Port: 1883, Embedded: EmbeddedAuto}},
		{"mqtt: {host: broker, embedded: false, username: otto, password: 0123}", MQTT{Host: "broker", Port: 1883, Embedded: EmbeddedNever, Username: "otto", Password: "0123"}},
		{"mqtt: {embedded: true, port: 1884}", MQTT{Port: 1884, Embedded: EmbeddedAlways}},
	} {
		if diff := cmp.Diff(test.want, parse(t, test.text).MQTT); diff != "" {
			t.Errorf("%s: %s", test.text, diff)
		}
	}
}

func TestTLSFilesAreReadAndChecked(t *testing.T) {
	dir := t.TempDir()
	ca, err := os.ReadFile("../examples/broker-ca.crt")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"ca.crt": ca, "no.crt": []byte("hello")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Parse("otto.yaml", []byte("mqtt: {host: b, tls: {ca: ca.crt, server_name: b.local}}"), dir, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if f.MQTT.Port != 8883 || f.MQTT.TLS.CA != string(ca) || f.MQTT.TLS.ServerName != "b.local" {
		t.Errorf("got %+v", f.MQTT)
	}
	for text, want := range map[string]string{
		"{ca: no.crt}":                "no.crt holds no certificate",
		"{cert: ca.crt}":              "of cert and key there is only one",
		"{cert: ca.crt, key: ca.crt}": "cert and key do not fit",
	} {
		if _, err := Parse("otto.yaml", []byte("mqtt: {host: b, tls: "+text+"}"), dir, noEnv); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	if f, err := Parse("otto.yaml", []byte("mqtt: {host: b, tls: true}"), dir, noEnv); err != nil || f.MQTT.TLS == nil {
		t.Errorf("got %+v, %v", f, err)
	}
}

func TestNearestWord(t *testing.T) {
	for word, want := range map[string]string{"imge": "image", "prots": "ports", "comand": "command", "xyz": "", "a": ""} {
		if got := nearest(word, []string{"image", "ports", "command", "b"}); got != want {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
}
