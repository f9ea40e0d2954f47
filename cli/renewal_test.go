package cli

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/mqtt"
	"github.com/otto-edge/otto/mqtt/mqtttest"
)

// TestFormerAgentIsLetInWhileKeysAreRenewed: a node whose agent is of the build before there
// were keys goes on by its password until its new agent has used the new key, unless keys
// are compromised.
func TestFormerAgentIsLetInWhileKeysAreRenewed(t *testing.T) {
	for _, compromised := range []bool{false, true} {
		t.Run(fmt.Sprintf("compromised %t", compromised), func(t *testing.T) {
			_, signing, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			installed := make(chan struct{})
			g := guardAs(t, identity{
				stored: map[string]any{
					"identity": map[string]any{"name": "guarded", "cluster_id": "c0ffee", "key": signing},
					"epoch":    3,
					"desired":  map[string]any{"wanted": otto.Wanted{Revision: 0}},
					"enrolled": map[string]any{"n1": map[string]string{"client_id": "n1-secret", "password": "in the clear"}},
				},
				installed: func(node string) {
					if node == "n1" {
						<-installed
					}
				},
			})
			was, _ := g.enrolment("n1")
			former := mqtttest.Target{Addr: g.addr, Username: "n1", Password: "in the clear"}
			lets := func(tg mqtttest.Target) error {
				return mqtt.Probe(t.Context(), tg.Addr, tg.TLS, tg.Username, tg.Password)
			}
			mqtttest.Connected(t, g.target("n2").Options("two"), nil)
			if err := lets(former); err != nil {
				t.Fatalf("before: %v", err)
			}
			if err := g.plane.Rotate(t.Context(), compromised); err != nil {
				t.Fatal(err)
			}
			if err := lets(former); compromised != errors.Is(err, mqtt.ErrRefused) {
				t.Errorf("its password, once keys are renewed: %v", err)
			}
			close(installed)
			mqtttest.WaitUntil(t, "both have new keys", func() bool {
				one, _ := g.enrolment("n1")
				two, _ := g.enrolment("n2")
				return one.TLS.CA != was.TLS.CA && two.TLS.CA == one.TLS.CA
			})
			mqtttest.Connected(t, g.target("n1").Options("one"), nil)
			mqtttest.Connected(t, g.target("n2").Options("two"), nil)
			mqtttest.WaitUntil(t, "it is over", func() bool { return g.plane.Cluster().Rotation == nil })
			if err := lets(former); !errors.Is(err, mqtt.ErrRefused) {
				t.Errorf("its password still holds: %v", err)
			}
			if err := lets(g.target("n1")); err != nil {
				t.Errorf("its new key: %v", err)
			}
		})
	}
}
