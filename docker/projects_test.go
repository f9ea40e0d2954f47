package docker

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/otto-edge/otto"
)

// TestTakenContainerHasNoRestartPolicyWhileItIsStopped lets the engine start it at no boot, and
// has it back where it serves again.
func TestTakenContainerHasNoRestartPolicyWhileItIsStopped(t *testing.T) {
	for name, tt := range map[string]struct {
		restart, back string
		fails         bool
	}{
		"always":                     {restart: "always", back: `"RestartPolicy":{"Name":"always","MaximumRetryCount":0}`},
		"on failure":                 {restart: "on-failure:3", back: `"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}`},
		"none":                       {},
		"an engine that does not do": {restart: "always", fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			var did []string
			note := func(what string) http.HandlerFunc {
				return func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					did = append(did, what+" "+string(body))
					if tt.fails && what == "update" {
						w.WriteHeader(http.StatusInternalServerError)
					}
					fmt.Fprint(w, "{}")
				}
			}
			f := &fakeEngine{handlers: map[string]http.HandlerFunc{
				"GET /containers/x/json":    says(`{"Id": "x", "State": {"Running": true}, "Config": {}}`),
				"POST /containers/x/update": note("update"),
				"POST /containers/x/stop":   note("stop"),
				"POST /containers/x/start":  note("start"),
			}}
			r := fake(t, f)
			r.Take(otto.Taken{Containers: []otto.TakenContainer{{ID: "x", Instance: "db", Restart: tt.restart}}})
			if err := r.Stop(t.Context(), "x"); err != nil {
				t.Fatal(err)
			}
			if err := r.Start(t.Context(), "x"); err != nil {
				t.Fatal(err)
			}
			want := []string{"update", "stop", "update", "start"}
			if tt.restart == "" {
				want = []string{"stop", "start"}
			}
			var order []string
			for _, what := range did {
				word, _, _ := strings.Cut(what, " ")
				order = append(order, word)
			}
			if !slices.Equal(order, want) {
				t.Fatalf("it did %v, want %v", did, want)
			}
			if tt.restart != "" && (!strings.Contains(did[0], `"Name":"no"`) || !strings.Contains(did[2], tt.back)) {
				t.Errorf("it did %v", did)
			}
		})
	}
}

// TestNetworkOfComposeStaysWithItsContainers when a cluster is uninstalled that has recorded a
// takeover and not begun with it.
func TestNetworkOfComposeStaysWithItsContainers(t *testing.T) {
	for _, in := range []string{"[]", `[{"Id": "x"}]`} {
		f := &fakeEngine{handlers: map[string]http.HandlerFunc{
			"GET /networks":        says(`[{"Name": "shop_back", "Id": "net", "Labels": {}}]`),
			"GET /containers/json": says(in),
			"DELETE /networks/net": says(""),
		}}
		r := fake(t, f)
		r.Take(otto.Taken{Networks: []otto.TakenNetwork{{ID: "net"}}})
		err := r.RemoveNetwork(t.Context())
		removed := slices.Contains(f.requests(), "DELETE /v1.41/networks/net")
		if err != nil || removed != (in == "[]") {
			t.Errorf("with containers %s: removed %t, %v", in, removed, err)
		}
	}
}
