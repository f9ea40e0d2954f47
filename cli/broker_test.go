package cli

import (
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/mqtt/broker"
)

// TestBrokerOfAnotherClusterIsNamedAtOnce has mqtt.host and mqtt.port lead to what
// another cluster serves, and to a broker that will do.
func TestBrokerOfAnotherClusterIsNamedAtOnce(t *testing.T) {
	all := broker.Permissions{Publish: []string{"otto/#"}, ReadAll: true, Class: broker.Control}
	for name, tc := range map[string]struct {
		authorize func(broker.Login) (broker.Permissions, bool)
		want      string
	}{
		"of another cluster": {(&authorizer{}).authorize, "passes on no messages of Otto: another cluster's, or one where its user may not; set mqtt.port"},
		"for everybody":      {func(broker.Login) (broker.Permissions, bool) { return all, true }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := broker.Start(t.Context(), broker.Options{
				Dir:       t.TempDir(),
				Listen:    "127.0.0.1:0",
				MaxNodes:  1,
				Authorize: tc.authorize,
				Log:       slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			host, port, _ := net.SplitHostPort(b.Addr())
			number, _ := strconv.Atoi(port)
			began := time.Now()
			p, err := planBroker(t.Context(), config.MQTT{Host: host, Port: number}, true)
			switch {
			case tc.want == "" && (err != nil || p.listen != "" || p.dial != b.Addr()):
				t.Errorf("got %+v, %v", p, err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want %s", err, tc.want)
			}
			t.Logf("said after %s", time.Since(began))
		})
	}
}
