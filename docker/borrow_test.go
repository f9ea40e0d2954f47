package docker

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func TestBorrowersAreMadeWithTheContainerOfTheirLender(t *testing.T) {
	inst := otto.Instance{
		Name: "a/web", Service: "a/web", Lent: map[string]string{"a/vpn": "11", "a/db": "22"},
		Spec: otto.ContainerSpec{
			Image:       "web",
			NetworkMode: "service:a/vpn",
			VolumesFrom: []string{"service:a/db", "service:a/vpn:ro", "container:other:rw"},
			Engine:      &otto.Options{PIDMode: "service:a/vpn", IPCMode: "service:a/db"},
		},
	}
	hash := inst.Spec.Hash()
	got, err := createOptions(home, inst, "a-web-1")
	if err != nil {
		t.Fatal(err)
	}
	host := got.HostConfig
	if host.NetworkMode != "container:11" || host.PidMode != "container:11" || host.IpcMode != "container:22" {
		t.Errorf("modes: %q, %q, %q", host.NetworkMode, host.PidMode, host.IpcMode)
	}
	if diff := cmp.Diff([]string{"22", "11:ro", "other:rw"}, host.VolumesFrom); diff != "" {
		t.Error(diff)
	}
	if got.Config.Labels[otto.LabelSpec] != hash || inst.Spec.Hash() != hash {
		t.Error("which container it was made beside is a part of its spec")
	}
	if diff := cmp.Diff([]string{"11", "11", "22", "22", "11", "other"}, borrows(host)); diff != "" {
		t.Error(diff)
	}
	inst.Lent = nil
	if _, err := createOptions(home, inst, "a-web-1"); err == nil {
		t.Error("made without its lender")
	}
}
