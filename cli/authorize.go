package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/control"
	"github.com/otto-edge/otto/durable"
	"github.com/otto-edge/otto/mqtt/broker"
	"github.com/otto-edge/otto/wire"
)

// authorizer says who may do what at our broker. It is asked from several
// goroutines.
type authorizer struct {
	plane                  *control.Plane
	log                    *slog.Logger
	password               string // of the control plane
	viewer, viewerPassword string // mqtt.username and mqtt.password, which may read, and publish as applications do
	local                  bool   // only this machine reaches the broker: its applications need no user
	plain                  config.Plain
}

func (a *authorizer) authorize(l broker.Login) (broker.Permissions, bool) {
	may := !l.Plain || mayBePlain(a.plain, l.From)
	switch {
	case l.Username == controlUser:
		return broker.Permissions{Publish: []string{wire.Root + "/#"}, ReadAll: true, Class: broker.Control},
			!l.Plain && control.SecretEqual(a.password, l.Password)
	case l.Username == "" && a.viewer == "" && a.local:
		return broker.Permissions{
			Publish:   a.plane.MetricTopics(),
			Subscribe: wire.MetricsFilters(),
			Class:     broker.Person,
		}, may
	case l.Username == "" && a.viewer == "":
		return broker.Permissions{Subscribe: wire.MetricsFilters()}, may
	case l.Username == a.viewer && l.Username != "":
		return broker.Permissions{
				Publish:   a.plane.MetricTopics(),
				Subscribe: wire.PublicFilters(),
				Class:     broker.Person,
			},
			may &&
				control.SecretEqual(a.viewerPassword, l.Password)
	}
	// A node of a former build still comes in the clear, from wherever it is.
	publish, subscribe := wire.NodePermissions(l.Username)
	return broker.Permissions{Publish: publish, Subscribe: subscribe, Class: broker.Node},
		wire.ValidID(l.Username) && a.plane.Authorize(l.Username, l.Password, l.Key)
}

// mayBePlain reports whether somebody at an address may speak to the broker in the clear.
func mayBePlain(plain config.Plain, from netip.Addr) bool {
	switch plain {
	case config.PlainOff:
		return false
	case config.PlainLocal:
		return from.IsLoopback()
	}
	return from.IsLoopback() || from.IsPrivate() || from.IsLinkLocalUnicast() || isNeighbour(from)
}

// isNeighbour reports whether an address is in a network that this machine is in.
func isNeighbour(addr netip.Addr) bool {
	ours, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, o := range ours {
		if prefix, err := netip.ParsePrefix(o.String()); err == nil && prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// refused is what our broker complains of, as it is in the view.
func refused(list []broker.Complaint) []otto.Refused {
	out := make([]otto.Refused, len(list))
	for i, c := range list {
		out[i] = otto.Refused{What: c.What, Total: c.Total, Recent: c.Recent, Last: c.Last.UTC(), From: c.From}
	}
	return out
}

// serveMQTT has our broker serve, if there is one: nodes by the cluster's own certificate,
// others by that of mqtt.tls, if it is set.
func serveMQTT(ctx context.Context, b *broker.Broker, d stateDir, s controlFile, p brokerPlan, a *authorizer) error {
	path := d.path(fileCA)
	if p.listen == "" {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	serverTLS, err := serverTLS(a.plane, s.MQTT)
	if err != nil {
		return err
	}
	if err := durable.Replace(path, []byte(a.plane.BrokerTLS().CA), 0o600); err != nil {
		return err
	}
	a.plain = cmp.Or(s.MQTT.Plain, plainUnless(s.MQTT.TLS))
	return b.Serve(
		ctx,
		broker.Options{
			Listen:    p.listen,
			TLS:       serverTLS,
			Plain:     true,
			MaxNodes:  s.Nodes,
			Authorize: a.authorize,
			Log:       a.log,
		},
	)
}

// plainUnless is the default of mqtt.plain.
func plainUnless(t *wire.TLS) config.Plain {
	if t != nil {
		return config.PlainOff
	}
	return config.PlainLAN
}

// brokerNames are names and addresses under which people's tools may know this machine.
func brokerNames(configured string) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if configured != "" {
		names = append(names, configured)
	}
	if host, err := os.Hostname(); err == nil {
		names = append(names, host, host+".local")
	}
	return names
}

// serverTLS asks for certificates only to see the key in them.
func serverTLS(p *control.Plane, m config.MQTT) (*tls.Config, error) {
	names := brokerNames(m.Host)
	if _, err := p.ServerCertificate("", names...); err != nil {
		return nil, fmt.Errorf("certificate of the broker: %w", err)
	}
	var others *tls.Certificate
	if m.TLS != nil {
		if m.TLS.Cert == "" {
			return nil, errors.New(
				"mqtt.tls: a broker served by Otto needs cert and key: add them, or set mqtt.embedded to false for a broker of your own",
			)
		}
		pair, err := tls.X509KeyPair([]byte(m.TLS.Cert), []byte(m.TLS.Key))
		if err != nil {
			return nil, fmt.Errorf("mqtt.tls: %w", err)
		}
		others = &pair
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert, SessionTicketsDisabled: true,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if others != nil && !p.ShowsNodes(hello.ServerName) {
				return others, nil
			}
			return p.ServerCertificate(hello.ServerName, names...) // keys may have been renewed since
		},
	}, nil
}
