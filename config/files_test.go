package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const secretsProject = `
services:
  db:
    image: postgres:16
    secrets:
      - db_password
      - {source: token, target: api/token, uid: "999", gid: "1000", mode: 0440}
      - {source: token, target: /etc/token}
    configs:
      - motd
      - {source: conf, target: /etc/app.conf, mode: 0o640}
  web:
    image: nginx
    secrets: [db_password]
secrets:
  db_password: {file: ./db_password.txt}
  token: {environment: API_TOKEN, labels: {a: b}}
  unused: {external: true}
configs:
  motd: {content: "hello ${WHO}\n"}
  conf: {file: conf/app.conf}
`

// broughtTo is what the files of a service are, with their contents.
func broughtTo(t *testing.T, f *File, name string) (lines []string) {
	t.Helper()
	for _, s := range f.Wanted.Services {
		if s.Name != name {
			continue
		}
		for _, file := range s.Spec.Files {
			content, there := f.Wanted.Contents[file.Content]
			if !there {
				t.Errorf("%s has no content", file)
			}
			lines = append(lines, fmt.Sprintf("%s %s at %s %s:%s %o %q", file.Content, file, file.Target, file.UID, file.GID, file.Permissions(), content.Plain()))
		}
	}
	return lines
}

func TestSecretsAndConfigsOfAStack(t *testing.T) {
	f, err := loadFiles(t, map[string]string{
		"otto.yaml":              "stacks: [{name: shop, compose: shop/compose.yaml}]\n",
		"shop/compose.yaml":      secretsProject,
		"shop/db_password.txt":   "hunter2\n",
		"shop/conf/app.conf":     "a = 1\n",
		"shop/.env":              "API_TOKEN=t0ken\n",
		"shop/unrelated/nothing": "",
	}, "WHO", "world")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`shop/config/conf config conf at /etc/app.conf : 640 "a = 1\n"`,
		`shop/secret/token secret token at /etc/token : 444 "t0ken"`,
		`shop/config/motd config motd at /motd : 444 "hello world\n"`,
		`shop/secret/token secret token at /run/secrets/api/token 999:1000 440 "t0ken"`,
		`shop/secret/db_password secret db_password at /run/secrets/db_password : 444 "hunter2\n"`,
	}
	if diff := cmp.Diff(want, broughtTo(t, f, "shop/db")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(want[4:], broughtTo(t, f, "shop/web")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if n := len(f.Wanted.Contents); n != 4 {
		t.Errorf("%d contents, want those of 4 that are used", n)
	}
	if text := fmt.Sprintf("%v %+v %#v", f.Wanted, f.Wanted, f.Wanted); strings.Contains(text, "hunter2") || strings.Contains(text, "t0ken") {
		t.Error("a secret is in what is printed of a file")
	}
}

func TestSecretsAndConfigsOfSingleServices(t *testing.T) {
	f, err := loadFiles(t, map[string]string{
		"otto.yaml":       secretsProject,
		"db_password.txt": "hunter2\n",
		"conf/app.conf":   "a = 1\n",
	}, "API_TOKEN", "t0ken", "WHO", "world")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`config/conf config conf at /etc/app.conf : 640 "a = 1\n"`,
		`secret/token secret token at /etc/token : 444 "t0ken"`,
		`config/motd config motd at /motd : 444 "hello world\n"`,
		`secret/token secret token at /run/secrets/api/token 999:1000 440 "t0ken"`,
		`secret/db_password secret db_password at /run/secrets/db_password : 444 "hunter2\n"`,
	}
	if diff := cmp.Diff(want, broughtTo(t, f, "db")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSecretsOfAnIncludedFile(t *testing.T) {
	f, err := loadFiles(t, map[string]string{
		"otto.yaml":            "stacks: [{name: shop, compose: compose.yaml}]\n",
		"compose.yaml":         "include: [inner/compose.yaml]\n",
		"inner/compose.yaml":   "services: {db: {image: postgres, secrets: [password]}}\nsecrets: {password: {file: password.txt}}\n",
		"inner/password.txt":   "hunter2",
		"compose.override.yml": "services: {db: {secrets: [other]}}\nsecrets: {other: {file: ./inner/password.txt}}\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`shop/secret/other secret other at /run/secrets/other : 444 "hunter2"`,
		`shop/secret/password secret password at /run/secrets/password : 444 "hunter2"`,
	}
	if diff := cmp.Diff(want, broughtTo(t, f, "shop/db")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSecretsThatCannotBeHadAreRefused(t *testing.T) {
	service := func(use, top string) string {
		return "services:\n  db:\n    image: postgres\n    " + use + "\n" + top + "\n"
	}
	tests := []struct{ name, text, want string }{
		{
			"external", service("secrets: [a]", "secrets: {a: {external: true}}"),
			"5:25: secret \"a\" is external, and there is no store of Swarm's here from which it could come: write file: PATH or environment: VARIABLE",
		},
		{
			"no such file", service("secrets: [a]", "secrets: {a: {file: ./missing}}"),
			"5:11: secret \"a\": DIR/missing: no such file or directory: write the path of a file that you may read",
		},
		{
			"a directory", service("configs: [a]", "configs: {a: {file: ./dir}}"),
			"5:11: config \"a\": DIR/dir: is a directory, not a file: write the path of a file that you may read",
		},
		{
			"not set", service("secrets: [a]", "secrets: {a: {environment: NOBODY_HAS_IT}}"),
			"5:11: variable \"NOBODY_HAS_IT\" of secret \"a\" is not set: set it in the environment or in .env",
		},
		{
			"too large", service("secrets: [a]", "secrets: {a: {file: ./large}}"),
			"5:11: secret \"a\" has 65 KiB, and 64 KiB are the most: make it smaller, or bring it to the node yourself and mount it",
		},
		{
			"not defined", service("secrets: [passwort]", "secrets: {password: {file: ./small}}"),
			"4:15: there is no secret \"passwort\": did you mean password?",
		},
		{
			"nothing", service("secrets: [a]", "secrets: {a: {labels: {b: c}}}"),
			"5:11: secret \"a\" has no content: write file: PATH or environment: VARIABLE",
		},
		{
			"twice", service("configs: [a]", "configs: {a: {file: ./small, content: hello}}"),
			"5:11: config \"a\" comes from more than one place: keep one of them",
		},
		{
			"template", service("configs: [a]", "configs: {a: {file: ./small, template_driver: golang}}"),
			"5:30: template_driver cannot be had: it is of Swarm: keep this service with Compose until then",
		},
		{
			"same target", service("secrets: [a, {source: a}]", "secrets: {a: {file: ./small}}"),
			"4:19: something is mounted at \"/run/secrets/a\" already",
		},
		{
			"user by name", service("secrets: [{source: a, uid: postgres}]", "secrets: {a: {file: ./small}}"),
			"4:32: \"postgres\" is not valid here: write a number such as \"1000\"",
		},
		{
			"setuid", service("secrets: [{source: a, mode: 4755}]", "secrets: {a: {file: ./small}}"),
			"4:33: \"4755\" are no permissions of such a file: write them in octal, such as 0440",
		},
		{
			"mistyped", service("secrets: [{source: a, owner: 0}]", "secrets: {a: {file: ./small}}"),
			"4:27: a secret of a service has no key \"owner\": known are gid, mode, source, target, uid",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadFiles(t, map[string]string{
				"otto.yaml": tt.text, "small": "hunter2", "dir/x": "", "large": strings.Repeat("hunter2.", 8<<10) + "x",
			})
			if err == nil {
				t.Fatal("it is accepted")
			}
			var got Problems
			if !errors.As(err, &got) || len(got) != 1 || !strings.Contains(undated(got[0].Error()), tt.want) {
				t.Errorf("%v\nwant %s", err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the secret is in the message: %v", err)
			}
		})
	}
}

// undated is a message without the directory of the test.
func undated(text string) string {
	i := strings.Index(text, "otto.yaml:")
	if i < 0 {
		return text
	}
	return strings.ReplaceAll(text, strings.TrimSuffix(text[:i], "/"), "DIR")
}

func TestNoContentOfAConfigIsShown(t *testing.T) {
	out, err := Redact("otto.yaml", []byte("configs: {a: {content: hunter2}}\nsecrets: {b: {environment: HUNTER2}}\n"))
	if err != nil || strings.Contains(strings.ToLower(string(out)), "hunter2") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestSecretsAreForSomeNodesOnly: who uses one that is restricted can be nowhere else, and
// nor can the stack that he is of.
func TestSecretsAreForSomeNodesOnly(t *testing.T) {
	const top = `
nodes:
  - {id: n1, host: 10.0.0.1, labels: {zone: vault}}
  - {id: n2, host: 10.0.0.2}
`
	const services = `
services:
  db: {image: postgres, secrets: [password, again]%s}
  web: {image: nginx}
secrets:
  password: {file: password.txt, %s}
  again: {file: password.txt, %s}
`
	own, composed := `nodes: zone == vault`, `x-otto: {nodes: ["zone == vault"]}`
	for name, files := range map[string]map[string]string{
		"services": {"otto.yaml": top + fmt.Sprintf(services, "", own, own)},
		"a stack": {
			"otto.yaml":    top + "stacks: [{name: shop, compose: compose.yaml}]\n",
			"compose.yaml": fmt.Sprintf(services, "", composed, composed),
		},
	} {
		files["password.txt"] = "hunter2"
		f, err := loadFiles(t, files)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, s := range f.Wanted.Services {
			want := ""
			if strings.HasSuffix(s.Name, "db") {
				want = "[zone == vault]"
			}
			if got := fmt.Sprint(s.Placement.Require); got != want && got != "[]" {
				t.Errorf("%s: %s requires %s", name, s.Name, got)
			} else if got == "[]" && want != "" {
				t.Errorf("%s: %s may be everywhere", name, s.Name)
			}
		}
	}
	_, err := loadFiles(t, map[string]string{
		"otto.yaml": top + fmt.Sprintf(services, ", node: n2", own, own), "password.txt": "hunter2",
	})
	if err == nil || !strings.Contains(err.Error(), "node n2, the home of service db, does not meet") {
		t.Errorf("a service elsewhere: %v", err)
	}
}
