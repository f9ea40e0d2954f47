package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/control"
)

// newRemote is the API for other machines. It proves itself as the broker does, with the
// cluster's own certificate, so that addresses and clocks do not matter.
func newRemote(p *control.Plane, s *api.Server, m config.MQTT, log *slog.Logger) (*api.Remote, error) {
	names := brokerNames(m.Host)
	certificate := func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return p.ServerCertificate(hello.ServerName, names...) // keys may have been renewed since
	}
	if _, err := certificate(&tls.ClientHelloInfo{}); err != nil {
		return nil, fmt.Errorf("certificate of the API: %w", err)
	}
	return api.NewRemote(s, api.RemoteOptions{
		TLS:   &tls.Config{GetCertificate: certificate, SessionTicketsDisabled: true},
		Names: names,
		Log:   log,
	}), nil
}

// serveRemote serves the API at an address until ctx ends. An address that is not to be had
// now, because another program has it or the network is not up, is tried again: the cluster
// goes on without.
func serveRemote(ctx context.Context, r *api.Remote, at string, log *slog.Logger) error {
	const again = 10 * time.Second
	for said := false; ; said = true {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", at)
		if err == nil {
			log.Info("the API is served to other machines", "listen", at)
			return r.Run(ctx, l)
		}
		if !said {
			log.Error("the API cannot be served to other machines: trying again", "listen", at, "err", err)
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
