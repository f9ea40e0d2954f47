package agent

import (
	"strings"
	"testing"

	"github.com/otto-edge/otto"
)

func TestInstanceWaitsForItsBuiltImage(t *testing.T) {
	image := "sha256:" + strings.Repeat("ab", 32)
	inst := otto.Instance{Name: "shop/web", Service: "shop/web", Spec: otto.ContainerSpec{Image: image, PullPolicy: otto.PullNever}}
	c := &converger{Agent: &Agent{}, assignment: &otto.Assignment{Instances: []otto.Instance{inst}}, absent: map[string]bool{image: true}}
	c.lease = &lease{}
	const want = "waiting: image sha256:abababababababababababababababababababababababababababababababab of service shop/web is not on this node: " +
		"run `otto apply` where its folder is"
	s := situation{want: &inst}
	c.hold(inst, &s)
	if s.blocked != want {
		t.Errorf("it waits for %q", s.blocked)
	}
	s = situation{want: &inst, containers: []otto.Container{{Instance: inst.Name, SpecHash: inst.Hash()}}}
	if c.hold(inst, &s); s.blocked != "" {
		t.Errorf("a container that is there waits for %q", s.blocked)
	}
}
