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
	} {
		t.Run(test.name, func(t *testing.T) {
			f, err := loadFiles(t, map[string]string{"otto.yaml": "stacks: [{name: a, compose: c.yaml}]", "c.yaml": test.compose}, "LIMIT", "12x")
			if err == nil {
				t.Fatalf("it was accepted: %+v", f)
			}
			var got []string
			for _, line := range strings.Split(err.Error(), "\n") {
				got = append(got, strings.TrimPrefix(line, filepath.Dir(strings.SplitN(line, ":", 2)[0])+"/"))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
