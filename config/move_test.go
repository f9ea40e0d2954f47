package config

import (
	"strings"
	"testing"
)

// TestVolumeThatNeverMovesKeepsItsServices: what says otherwise is a mistake, wherever it is said.
func TestVolumeThatNeverMovesKeepsItsServices(t *testing.T) {
	const top = "nodes: [{id: a, host: local}, {id: b, host: 10.0.0.2}]\n"
	const never = "volumes: {db: {x-otto: {move: never}}, other: {}}\n"
	for name, c := range map[string]struct{ otto, compose, want string }{
		"it stays": {top + "stacks: [{name: shop, compose: shop}]\n", "services: {db: {image: x, volumes: ['db:/v']}}\n" + never, ""},
		"a stack that begins anew": {
			top + "stacks: [{name: shop, compose: shop, data: disposable}]\n", "services:\n  db: {image: x, volumes: ['db:/v']}\n" + never,
			`compose.yaml:2:3: service shop/db may begin anew on another node (data: disposable), and its volume db says move: never: take one of them out`,
		},
		"a service of otto.yaml": {
			top + "services:\n  db: {image: x, data: disposable, volumes: ['db:/v']}\n" + never, "",
			`otto.yaml:3:3: service db may begin anew on another node`,
		},
		"another volume": {top + "services:\n  db: {image: x, data: disposable, volumes: ['other:/v']}\n" + never, "", ""},
		"another word": {
			top + "services:\n  db: {image: x, volumes: ['db:/v']}\nvolumes: {db: {x-otto: {move: nevr}}}\n", "",
			`"nevr" is not one of never: did you mean never?`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"otto.yaml": c.otto}
			if c.compose != "" {
				files["shop/compose.yaml"] = c.compose
			}
			f, err := loadFiles(t, files)
			if c.want == "" {
				if err != nil || len(f.Warnings) > 0 || len(f.Wanted.Services) != 1 {
					t.Errorf("%v, %v", f, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
}
