package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMistakesThatComposesLoaderFinds has all lines that a wrong Compose file gets.
func TestMistakesThatComposesLoaderFinds(t *testing.T) {
	const size = "write a number and its unit, such as 512k, 256m or 1.5g"
	for _, test := range []struct {
		name, compose string
		want          []string
	}{
		{"key twice", "services:\n  web:\n    image: x\n    image: y\n  web:\n    image: z\n", []string{
			`c.yaml:4:5: "image" is here already, in line 3: keep one of them`,
			`c.yaml:5:3: "web" is here already, in line 2: keep one of them`,
		}},
		{"key twice beside a tag of Compose's", "services:\n  web:\n    image: x\n    image: y\n    ports: !reset []\n", []string{
			`c.yaml:4:5: "image" is here already, in line 3: keep one of them`,
		}},
		{"sizes", "services:\n  my.web: {image: x, mem_limit: 12x}\n  b: {image: x, deploy: {resources: {limits: {memory: 1q}}}}\n", []string{
			`c.yaml:2:33: "12x" is not a size: ` + size,
			`c.yaml:3:55: "1q" is not a size: ` + size,
		}},
		{"size of a variable", "services:\n  web: {image: x, mem_limit: \"${LIMIT}\"}\n", []string{
			"c.yaml:2:19: mem_limit of service web: invalid suffix: 'x': " + tryReference,
		}},
		{"the same in several places", "services:\n  a: {image: a, use_api_socket: true}\n  b: {image: b, use_api_socket: true}\n  c: {image: c, use_api_socket: true}\n", []string{
			"c.yaml:2:17: use_api_socket cannot be had: it would give the service the engine of one node, and the credentials " +
				"of this machine: keep this service with Compose until then (also at 3:17, 4:17)",
		}},
		{"blank networks", "services:\n  web:\n    image: x\n    networks:\n", []string{
			"c.yaml:4:5: networks of service web must be a list: " +
				"it is blank, which Compose refuses here: take the key out, or write what belongs there",
		}},
		{"volume that is not defined", "services:\n  web: {image: x, volumes: [data:/d]}\n", []string{
			"c.yaml:2:29: service web refers to volume data, which is not defined: write `volumes: {data: {}}` at the top of the file",
		}},
		{"volume in the long form", "services:\n  web: {image: x, volumes: [{type: volume, source: data, target: /d}]}\nvolumes: {other: }\n", []string{
			"c.yaml:2:52: service web refers to volume data, which is not defined: add `data: {}` to volumes at the top of the file",
		}},
		{"network misspelled", "services:\n  web: {image: x, networks: {bck: {}}}\nnetworks: {back: }\n", []string{
			"c.yaml:2:30: service web refers to network bck, which is not defined: did you mean back?",
		}},
		{"secret that is not defined", "services:\n  web: {image: x, secrets: [pw]}\n", []string{
			"c.yaml:2:29: service web refers to secret pw, which is not defined: write `secrets: {pw: {file: ./pw.txt}}` at the top of the file",
		}},
		{"dependency misspelled", "services:\n  web: {image: x, depends_on: [dbb]}\n  dba: {image: x}\n", []string{
			"c.yaml:2:32: service web refers to service dbb, which is not defined: did you mean dba?",
		}},
		{"no image", "services:\n  web: {image: x}\n  my.db: {restart: always}\n", []string{
			"c.yaml:3:3: service my.db has no image: write image: and what it is to run, such as image: nginx:alpine",
		}},
		{"ports", "services:\n  web: {image: x, ports: [\"80:80\", 80800:80]}\n  b: {image: x, ports: [\"80:70000\"]}\n", []string{
			`c.yaml:2:36: "80800:80" is not a port: write "8080:80", "53:53/udp" or "127.0.0.1:8080:80"`,
			`c.yaml:3:25: "80:70000" is not a port: write "8080:80", "53:53/udp" or "127.0.0.1:8080:80"`,
		}},
		{"variable without its end", "services:\n  web: {image: x, environment: {P: \"hunter2${FOO\"}}\n", []string{
			"c.yaml:2:33: a variable cannot be read in environment.P of service web: write ${NAME} with both braces, or $$ for a dollar sign",
		}},
		{"key at the top", "sevices:\n  web: {image: x}\n", []string{
			`c.yaml:1:1: Compose has no key "sevices" at the top of a file: did you mean services?`,
		}},
		{"tab", "services:\n  web:\n\timage: x\n", []string{
			"c.yaml:3:1: not valid YAML: there is a tab here: indent with spaces",
		}},
		{"indentation", "services:\n  web:\n    image: x\n   ports: []\n", []string{
			"c.yaml:4:4: not valid YAML: did not find expected key: check indentation, quotes and brackets here and in the line above",
		}},
		{"dependencies in a circle", "services:\n  a: {image: x, depends_on: [b]}\n  b:\n    image: x\n    depends_on:\n      a: {condition: service_started}\n", []string{
			"c.yaml:2:30: services wait for each other: a > b > a: take one of them out",
		}},
		{"extends that is misspelled", "services:\n  base: {image: x}\n  web:\n    extends: {service: bass}\n", []string{
			"c.yaml:4:24: service web extends service bass, which is not there: did you mean base?",
		}},
		{"extends in a circle", "services:\n  a: {image: x, extends: b}\n  b: {extends: a}\n", []string{
			"c.yaml:2:26: service a extends itself by way of others: take one of them out",
		}},
		{"include in a circle", "include: [c.yaml]\nservices:\n  web: {image: x}\n", []string{
			"c.yaml:1:1: the file includes itself by way of others: take one of them out",
		}},
		{"no number", "services:\n  web:\n    image: x\n    cpus: abc\n", []string{
			`c.yaml:4:11: "abc" is not a number of processor cores: write a number such as 0.5 or 2`,
		}},
		{"no number after filling in", "services:\n  web:\n    image: x\n    cpus: ${LIMIT}\n", []string{
			"c.yaml:4:5: cpus of service web: its value has another type: " + tryReference,
		}},
		{"required variables", "services:\n  web:\n    image: x:${TAG:?say which version}\n    environment:\n      - A=1\n      - PW=${PW:?}\n", []string{
			"c.yaml:3:12: variable TAG is not set: say which version",
			"c.yaml:6:9: variable PW is not set: set it in the environment or in .env",
		}},
		{"include of another machine", "include: [\"https://example.com/x.git\"]\nservices:\n  web: {image: x}\n", []string{
			"c.yaml:1:11: what is named here is on another machine, and Otto reads files of this one only: clone it, and write the path of its Compose file here",
		}},
		{"file of variables that is missing", "services:\n  web:\n    image: x\n    env_file: [none.env]\n", []string{
			"c.yaml:4:16: DIR/none.env: no such file or directory: write a path relative to the Compose file",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, err := loadFiles(t, map[string]string{"otto.yaml": "stacks: [{name: a, compose: c.yaml}]", "c.yaml": test.compose}, "LIMIT", "12x")
			if err == nil {
				t.Fatalf("it was accepted: %+v", f)
			}
			var got []string
			for _, line := range strings.Split(err.Error(), "\n") {
				dir := filepath.Dir(strings.SplitN(line, ":", 2)[0])
				got = append(got, strings.ReplaceAll(strings.TrimPrefix(line, dir+"/"), dir, "DIR"))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestUnsetVariableIsNamedBesideWhatIsWrongWithoutIt, with its place: what is blank may be the
// reason.
func TestUnsetVariableIsNamedBesideWhatIsWrongWithoutIt(t *testing.T) {
	f, err := loadFiles(t, map[string]string{
		"otto.yaml": "stacks: [{name: a, compose: c.yaml}]", "c.yaml": "services:\n  web: {image: \"${IMG}\"}\n",
	})
	if err == nil || !strings.Contains(err.Error(), "c.yaml:2:3: service web has no image") {
		t.Errorf("got the error %v", err)
	}
	if len(f.Warnings) != 1 || !strings.Contains(f.Warnings[0].Error(), "c.yaml:2:16: variable IMG is not set, it is taken as blank") {
		t.Errorf("got the warnings %v", f.Warnings)
	}
}

// TestFileOfThisMachineThatIsNotThereIsWarnedOf: the engine makes a directory of it.
func TestFileOfThisMachineThatIsNotThereIsWarnedOf(t *testing.T) {
	f, err := loadFiles(t, map[string]string{
		"otto.yaml": "stacks: [{name: a, compose: c.yaml}]",
		"c.yaml": "services:\n  web:\n    image: x\n    volumes: [\"./none.conf:/n.conf\", \"./here.conf:/h.conf\", ./data:/data, " +
			"{type: bind, source: ./must, target: /m, read_only: true, bind: {create_host_path: false}}, ./read:/read:ro]\n",
		"here.conf": "",
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range f.Warnings {
		got = append(got, strings.TrimPrefix(w.Error(), filepath.Dir(f.Path)+"/"))
	}
	const try = " is not there: the engine makes an empty directory of that name: make it first, if it should be a file or have something in it"
	want := []string{`c.yaml:4:15: "./none.conf"` + try, `c.yaml:4:167: "./read"` + try}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
