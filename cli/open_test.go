package cli

import (
	"testing"

	"github.com/otto-edge/otto/mqtt/mqtttest"
)

// TestOpenBrokersAreToldApart asks two brokers whether strangers may publish in the place of nodes.
func TestOpenBrokersAreToldApart(t *testing.T) {
	for conf, want := range map[string]bool{
		"allow_anonymous true":                     true,
		"allow_anonymous false":                    false,
		"allow_anonymous true\nacl_file /dev/null": false,
	} {
		if got := isOpen(t.Context(), mqtttest.StartMosquitto(t, conf), nil); got != want {
			t.Errorf("%s: open is %v", conf, got)
		}
	}
}
