package control

import (
	"fmt"
	"strings"
	"testing"

	"github.com/otto-edge/otto"
)

// TestStackOfTooManyLabelsIsRefusedBeforeItIsWanted: all of it is told to its node in one message.
func TestStackOfTooManyLabelsIsRefusedBeforeItIsWanted(t *testing.T) {
	stack := func(services int) (w otto.Wanted) {
		for i := range services {
			w.Services = append(w.Services, otto.Service{
				Name: fmt.Sprintf("shop/s%d", i), Unit: "shop", Replicas: 1,
				Spec: otto.ContainerSpec{Image: "web", Labels: map[string]string{"rule": strings.Repeat("x", 2<<10)}},
			})
		}
		return w
	}
	if refused := (&Plane{}).tooLarge(stack(80)); len(refused) > 0 {
		t.Errorf("160 KiB are refused: %v", refused)
	}
	refused := (&Plane{}).tooLarge(stack(200))
	if len(refused) != 1 || !strings.Contains(refused[0], "with service shop/s0 is told in one message, and has 4") ||
		!strings.Contains(refused[0], "KiB: 232 KiB are the most") {
		t.Errorf("400 KiB: %q", refused)
	}
	apart := stack(200)
	for i := range apart.Services {
		apart.Services[i].Unit = ""
	}
	if refused := (&Plane{}).tooLarge(apart); len(refused) > 0 {
		t.Errorf("what may be on 200 nodes is refused: %v", refused)
	}
}
