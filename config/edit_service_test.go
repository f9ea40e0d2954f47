package config

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

const (
	listed = `services: # ours
  # the front
  - name: web
    image: web # pinned
    replicas: 2 # for now

    ports: ["80"]
  - image: db
    name: db
  - {name: short, image: web}
`
	mapped = `services:
  web:
    image: web
    scale: "2"
    environment:
      replicas: 7
  # the back
  db:
      image: db
volumes: {}
`
)

func TestReplicasAreWrittenIntoTheFile(t *testing.T) {
	for _, c := range []struct{ file, service, was, now string }{
		{listed, "web", "replicas: 2 # for now", "replicas: 5 # for now"},
		{listed, "db", "- image: db\n", "- image: db\n    replicas: 5\n"},
		{mapped, "web", `scale: "2"`, "scale: 5"},
		{mapped, "db", "  db:\n", "  db:\n      replicas: 5\n"},
	} {
		got, err := SetReplicas([]byte(c.file), c.service, 5)
		if diff := cmp.Diff(strings.Replace(c.file, c.was, c.now, 1), string(got)); diff != "" || err != nil {
			t.Error(err, diff)
		}
		f, err := Parse("otto.yaml", got, "/", os.LookupEnv)
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.IndexFunc(f.Wanted.Services, func(s otto.Service) bool { return s.Name == c.service }); f.Wanted.Services[i].Replicas != 5 {
			t.Errorf("%s has %d", c.service, f.Wanted.Services[i].Replicas)
		}
	}
}

func TestServicesAreRemovedLineByLine(t *testing.T) {
	for _, c := range []struct{ file, service, gone string }{
		{listed, "web", "  - name: web\n    image: web # pinned\n    replicas: 2 # for now\n\n    ports: [\"80\"]\n"},
		{listed, "db", "  - image: db\n    name: db\n"},
		{mapped, "web", mapped[strings.Index(mapped, "  web:"):strings.Index(mapped, "  # the back")]},
		{mapped, "db", "  db:\n      image: db\n"},
	} {
		got, err := RemoveService([]byte(c.file), c.service)
		if diff := cmp.Diff(strings.Replace(c.file, c.gone, "", 1), string(got)); diff != "" || err != nil {
			t.Error(c.service, err, diff)
		}
	}
}

func TestServicesInOneLineAreEditedInIt(t *testing.T) {
	const file = "services:\n  web: {image: web} # ours\n  db: {image: db, scale: '2', labels: {a: b}}\n"
	for service, want := range map[string]string{
		"web": strings.Replace(file, "{image: web}", "{replicas: 5, image: web}", 1),
		"db":  strings.Replace(file, "scale: '2'", "scale: 5", 1),
	} {
		got, err := SetReplicas([]byte(file), service, 5)
		if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
			t.Error(service, err, diff)
		}
	}
	got, err := SetReplicas([]byte(listed), "short", 5)
	want := strings.Replace(listed, "{name: short, ", "{name: short, replicas: 5, ", 1)
	if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if got, err = RemoveService([]byte(listed), "short"); strings.Contains(string(got), "short") || err != nil {
		t.Errorf("%v: %s", err, got)
	}
}

func TestEditsThatAreRefusedSayWhatToWrite(t *testing.T) {
	replicas := func(service string) func([]byte) ([]byte, error) {
		return func(data []byte) ([]byte, error) { return SetReplicas(data, service, 2) }
	}
	remove := func(service string) func([]byte) ([]byte, error) {
		return func(data []byte) ([]byte, error) { return RemoveService(data, service) }
	}
	node := func(data []byte) ([]byte, error) {
		return AddNode(data, otto.Node{ID: "pi", Host: "10.0.0.2", User: "root"})
	}
	for _, c := range []struct {
		file string
		edit func([]byte) ([]byte, error)
		want string
	}{
		{
			mapped, replicas("nobody"),
			"its services have no nobody: write replicas: 2 at service nobody by hand",
		},
		{
			mapped, replicas("shop/web"),
			"shop/web is in the Compose file of stack shop: change web there, and run `otto apply`",
		},
		{mapped, remove("nobody"), "its services have no nobody: take service nobody out of it by hand"},
		{
			"services: [{name: web, image: web}]\n", replicas("web"),
			"its services are not a list with one item a line: write replicas: 2 at service web by hand",
		},
		{
			"services: {web: {image: web}}\n", remove("web"),
			"its services are not written with one key a line: take service web out of it by hand",
		},
		{
			"services:\n  web: &x {image: web}\n  db: *x\n", replicas("web"),
			"the service is used elsewhere in it, too: write replicas: 2 at service web by hand",
		},
		{
			"services:\n  web: &x {image: web}\n  db: *x\n", remove("web"),
			"it would mean something else than is wanted afterwards: take service web out of it by hand",
		},
		{
			"services:\n  web: {image: web, replicas: $N}\n", replicas("web"),
			"its number of replicas is not written as a number: write replicas: 2 at service web by hand",
		},
		{"", replicas("web"), "its services have no web: write replicas: 2 at service web by hand"},
		{
			"nodes: [{id: n1, host: a}]\n", node,
			"its nodes are not a list with one item a line: write {id: pi, host: 10.0.0.2, user: root} into its list of nodes by hand",
		},
		{
			"nodes:\n  - {id: a, host: a}\n---\nname: x\n", node,
			"it holds more than one document: write {id: pi, host: 10.0.0.2, user: root} into its list of nodes by hand",
		},
	} {
		got, err := c.edit([]byte(c.file))
		if err == nil || err.Error() != c.want {
			t.Errorf("%q: %v, want %s\n%s", c.file, err, c.want, got)
		}
	}
}
