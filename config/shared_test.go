package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// stackOf is a Compose file whose only service is in the given networks and has the
// given volumes, which others make.
func stackOf(networks, volumes, more string) string {
	text := "services: {web: {image: y, networks: [default, " + networks + "]" + more
	if volumes != "" {
		text += ", volumes: [\"" + volumes + ":/m\"]"
	}
	text += "}}\nnetworks: {"
	for _, n := range strings.Split(networks, ", ") {
		text += n + ": {external: true}, "
	}
	text += "}\nvolumes: {"
	if volumes != "" {
		text += volumes + ": {external: true}"
	}
	return text + "}\n"
}

func TestStacksThatShareANetworkOrVolumeArePlacedAsOne(t *testing.T) {
	const proxy = "services: {edge: {image: y, networks: [proxy]}}\nnetworks: {proxy: {name: proxy}}\n"
	type of struct{ Unit, Node, Shares string }
	alone := func(name, node string) of { return of{name, node, ""} }
	for _, tt := range []struct {
		name, stacks string
		files        map[string]string
		want         map[string]of
		warnings     int
	}{
		{
			"one makes it", "{name: a, compose: a.yaml}, {name: b, compose: b.yaml}, {name: c, compose: c.yaml}",
			map[string]string{"a.yaml": proxy, "b.yaml": stackOf("proxy", "", ""), "c.yaml": "services: {web: {image: y}}"},
			map[string]of{
				"a/edge": {"a+b", "", "the network proxy of stack b"},
				"b/web":  {"a+b", "", "the network proxy of stack a"},
				"c/web":  alone("c", ""),
			},
			0,
		},
		{
			"through others, by a volume, to a home", "{name: a, compose: a.yaml}, {name: b, compose: b.yaml}, {name: c, compose: c.yaml, node: nas}",
			map[string]string{"a.yaml": proxy, "b.yaml": stackOf("proxy", "films", ""), "c.yaml": stackOf("other", "films", "")},
			map[string]of{
				"a/edge": {"a+b+c", "nas", "the network proxy of stack b"},
				"b/web":  {"a+b+c", "nas", "the network proxy of stack a"},
				"c/web":  {"a+b+c", "nas", "the volume films of stack b"},
			},
			0,
		},
		{
			"one on each node", "{name: a, compose: a.yaml, node: nas}, {name: b, compose: b.yaml, node: pi}",
			map[string]string{"a.yaml": stackOf("proxy", "", ""), "b.yaml": stackOf("proxy", "", "")},
			map[string]of{"a/web": alone("a", "nas"), "b/web": alone("b", "pi")},
			0,
		},
		{
			"on every node", "{name: a, compose: a.yaml}, {name: b, compose: b.yaml}",
			map[string]string{"a.yaml": stackOf("proxy", "", ", deploy: {mode: global}"), "b.yaml": stackOf("proxy", "", "")},
			map[string]of{"a/web": {}, "b/web": alone("b", "")},
			0,
		},
		{
			"a network of the engine", "{name: a, compose: a.yaml}, {name: b, compose: b.yaml}",
			map[string]string{"a.yaml": stackOf("bridge", "", ""), "b.yaml": stackOf("bridge", "", "")},
			map[string]of{"a/web": alone("a", ""), "b/web": alone("b", "")},
			0,
		},
		{
			"freed from it", "{name: a, compose: a.yaml}, {name: b, compose: b.yaml}",
			map[string]string{"a.yaml": proxy, "b.yaml": stackOf("proxy", "", ", x-otto: {apart: true}")},
			map[string]of{"a/edge": alone("a", ""), "b/web": {}},
			1,
		},
		{
			"many", "{name: a, compose: a.yaml}, {name: b, compose: a.yaml}, {name: c, compose: a.yaml}, {name: e, compose: a.yaml}, {name: f, compose: a.yaml}",
			map[string]string{"a.yaml": stackOf("proxy", "", "")},
			map[string]of{
				"a/web": {"a+b+c+2 more", "", "the network proxy of stack b"}, "b/web": {"a+b+c+2 more", "", "the network proxy of stack a"},
				"c/web": {"a+b+c+2 more", "", "the network proxy of stack a"}, "e/web": {"a+b+c+2 more", "", "the network proxy of stack a"},
				"f/web": {"a+b+c+2 more", "", "the network proxy of stack a"},
			},
			0,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.files["otto.yaml"] = twoNodes + "stacks: [" + tt.stacks + "]\n"
			f, err := loadFiles(t, tt.files)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]of{}
			for _, s := range f.Wanted.Services {
				got[s.Name] = of{s.Unit, s.Node, s.Shares}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if len(f.Warnings) != tt.warnings {
				t.Errorf("warned: %v", f.Warnings)
			}
		})
	}
}

// TestWhatKeepsOneStackKeepsWhatIsPlacedWithIt has a database in one of two stacks.
func TestWhatKeepsOneStackKeepsWhatIsPlacedWithIt(t *testing.T) {
	f, err := loadFiles(t, map[string]string{
		"otto.yaml": twoNodes + "stacks: [{name: a, compose: a.yaml}, {name: b, compose: b.yaml}]\n",
		"a.yaml":    "services: {db: {image: y, volumes: [\"data:/d\"], networks: [proxy]}}\nnetworks: {proxy: {name: proxy}}\nvolumes: {data: }\n",
		"b.yaml":    stackOf("proxy", "", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.Wanted.Services[1].Tied, "it is where a/db is: its data is there, and it is not data: disposable"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStacksThatCannotBeTogetherAreRefused(t *testing.T) {
	for _, tt := range []struct{ name, stacks, a, b, c, want string }{
		{
			"two homes", "{name: a, compose: a.yaml, node: nas}\n- {name: b, compose: b.yaml}\n- {name: c, compose: c.yaml, node: pi}",
			stackOf("proxy", "", ""), stackOf("proxy, more", "", ""), stackOf("more", "", ""),
			"otto.yaml:4:10: stack b shares network proxy, and cannot be both with stack a of node nas, in line 3, and with stack c of node pi, in line 5: write node: nas or node: pi at it",
		},
		{
			"one port", "{name: a, compose: a.yaml}\n- {name: b, compose: a.yaml}", stackOf("proxy", "", ", ports: [\"80:80\"]"), "", "",
			"port 80/tcp is taken by service a/web in line 1",
		},
		{
			"what they require", "{name: a, compose: a.yaml}\n- {name: b, compose: b.yaml}",
			stackOf("proxy", "", ", deploy: {placement: {constraints: [\"node.labels.zone==a\"]}}"),
			stackOf("proxy", "", ", deploy: {placement: {constraints: [\"node.labels.zone!=a\"]}}"), "",
			`stack a+b is placed on one node, and none meets "zone != a" of service b/web and "zone == a" of service a/web in line 1`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadFiles(t, map[string]string{
				"otto.yaml": twoNodes + "stacks:\n- " + tt.stacks + "\n", "a.yaml": tt.a, "b.yaml": tt.b, "c.yaml": tt.c,
			})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestMoveThatASharedNetworkForbidsIsWarnedOf(t *testing.T) {
	f, err := loadFiles(t, map[string]string{
		"otto.yaml": twoNodes + "stacks: [{name: a, compose: a.yaml}, {name: b, compose: b.yaml}]\n",
		"a.yaml":    stackOf("proxy", "", ", x-otto: {requirements: [\"node.cpu < 80% -> migrate\"]}"),
		"b.yaml":    stackOf("proxy", "", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Warnings) != 1 || !strings.Contains(f.Warnings[0].Error(), "it would leave the network proxy of stack b") {
		t.Errorf("%v", f.Warnings)
	}
}
