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

func TestServicesThatCannotBeEditedAreNamed(t *testing.T) {
	for file, service := range map[string]string{listed: "short", mapped: "nobody", "services: [{name: web, image: web}]\n": "web", "": "web"} {
		if got, err := SetReplicas([]byte(file), service, 2); err == nil || !strings.Contains(err.Error(), "by hand") {
			t.Errorf("%s: %v\n%s", service, err, got)
		}
		if _, err := RemoveService([]byte(file), service); err == nil || !strings.Contains(err.Error(), "by hand") {
			t.Errorf("%s: %v", service, err)
		}
	}
}

func FuzzEditService(f *testing.F) {
	f.Add([]byte(listed), "web")
	f.Add([]byte(mapped), "db")
	f.Add([]byte("services:\n- name: a\n\t- b\n -"), "a")
	f.Fuzz(func(_ *testing.T, data []byte, service string) {
		_, _ = SetReplicas(data, service, 3)
		_, _ = RemoveService(data, service)
	})
}
