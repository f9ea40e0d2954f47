package cli

import (
	"fmt"
	"slices"
	"testing"

	"github.com/otto-edge/otto"
)

// TestTheSameIsSaidOnce: where an engine has no addresses left, all services of a stack fail.
func TestTheSameIsSaidOnce(t *testing.T) {
	failed := func(name, why string) otto.PlacedInstance {
		return otto.PlacedInstance{Node: "n1", InstanceStatus: otto.InstanceStatus{
			Name: name, State: otto.InstanceFailed, Error: why,
		}}
	}
	list := []otto.PlacedInstance{
		failed("shop/db", "no addresses left"), failed("web", "no image"), failed("shop/web", "no addresses left"),
	}
	want := []string{
		"services shop/db, shop/web are failed on n1: no addresses left",
		"service web is failed on n1: no image",
	}
	if got := describeAll(list); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	list = nil
	for i := range maxNamed + 2 {
		list = append(list, failed(fmt.Sprint("s", i), "no addresses left"))
	}
	want = []string{"services s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, 2 more are failed on n1: no addresses left"}
	if got := describeAll(list); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
