package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

// markedOf are the secret variables of a service, with their values.
func markedOf(t *testing.T, f *File, name string) map[string]string {
	t.Helper()
	i := slices.IndexFunc(f.Wanted.Services, func(s otto.Service) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("there is no service %s", name)
	}
	marked := map[string]string{}
	for variable, key := range f.Wanted.Services[i].Spec.SecretEnvironment {
		marked[variable] = string(f.Wanted.Contents[key].Plain())
	}
	return marked
}

func TestSecretVariables(t *testing.T) {
	const service = `
    image: postgres:16
    environment: {TZ: UTC, DB_PASSWORD: "${PASSWORD}"}
    env_file: db.env
`
	f, err := loadFiles(t, map[string]string{
		"otto.yaml": "services:\n  db:" + service + "    secret_environment: [DB_PASSWORD]\n" +
			"stacks: [{name: shop, compose: compose.yaml}]\n",
		"compose.yaml": "services:\n  db:" + service + "    x-otto: {secret_environment: [DB_PASSWORD, TOKEN]}\n" +
			"  other: {image: nginx, environment: {DB_PASSWORD: plain}}\n",
		"db.env": "TOKEN=t0ken\nLEVEL=debug\n",
	}, "PASSWORD", "hunter2")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"DB_PASSWORD": "hunter2"}, markedOf(t, f, "db")); diff != "" {
		t.Errorf("db (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"DB_PASSWORD": "hunter2", "TOKEN": "t0ken"}, markedOf(t, f, "shop/db")); diff != "" {
		t.Errorf("shop/db (-want +got)\n%s", diff)
	}
	for _, s := range f.Wanted.Services {
		want := map[string]map[string]string{
			"db":         {"TZ": "UTC", "LEVEL": "debug", "TOKEN": "t0ken"},
			"shop/db":    {"TZ": "UTC", "LEVEL": "debug"},
			"shop/other": {"DB_PASSWORD": "plain"},
		}[s.Name]
		if diff := cmp.Diff(want, s.Spec.Environment); diff != "" {
			t.Errorf("%s (-want +got)\n%s", s.Name, diff)
		}
	}
	b, err := json.Marshal(f.Wanted)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(b) + fmt.Sprintf("%v %+v %#v", f.Wanted, f.Wanted, f.Wanted); strings.Contains(text, "hunter2") {
		t.Error("its value is in what is printed of a file")
	}
}

func TestSecretVariablesThatCannotBeHadAreRefused(t *testing.T) {
	const environment = "    environment: {DB_PASSWORD: hunter2, BINARY: \"a\\0b\"}\n"
	for _, test := range []struct{ name, marked, want string }{
		{"one that is not there", "[DB_PASWORD]", `6:26: service db has no variable "DB_PASWORD": did you mean DB_PASSWORD?`},
		{"nothing like it", "[TOKEN]", `6:26: service db has no variable "TOKEN": write it under environment, or take it out here`},
		{"twice", "[DB_PASSWORD, DB_PASSWORD]", `6:39: "DB_PASSWORD" is here already: keep one of them`},
		{"no list", "DB_PASSWORD", `6:25: a list is expected here, not a single value: write one variable an item, such as - DB_PASSWORD`},
		{"no text", "[BINARY]", `6:26: the value of variable "BINARY" has a NUL character: use secrets for what is no text`},
		{"too large", "[BIG]", `6:26: variable "BIG" has 65 KiB, and 64 KiB are the most: use secrets, or bring it to the node yourself`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := loadFiles(t, map[string]string{
				"otto.yaml": "services:\n  db:\n    image: postgres\n" + environment + "    env_file: big.env\n    secret_environment: " + test.marked + "\n",
				"big.env":   "BIG=" + strings.Repeat("hunter2-", 8200) + "\n",
			})
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%.400v", err)
			}
		})
	}
}

// TestSecretVariableThatNamesAServiceIsWarnedOf as any other one is, without its value.
func TestSecretVariableThatNamesAServiceIsWarnedOf(t *testing.T) {
	f, err := loadFiles(t, map[string]string{"otto.yaml": `
nodes: [{id: a, host: 10.0.0.1}, {id: b, host: 10.0.0.2}]
services:
  db: {image: postgres}
  web: {image: nginx, environment: {DATABASE_URL: "postgres://me:hunter2@db/x"}, secret_environment: [DATABASE_URL]}
`})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(f.Warnings)
	if !strings.Contains(text, "service web names db in DATABASE_URL") || strings.Contains(text, "hunter2") {
		t.Errorf("the warnings are %s", text)
	}
}
