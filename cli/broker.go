package cli

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/control"
	"github.com/otto-edge/otto/mqtt"
	"github.com/otto-edge/otto/wire"
)

// brokerPlan is where the broker is, and whether it is ours.
type brokerPlan struct {
	listen string // host:port to serve MQTT on; empty: the broker is not ours
	dial   string // host:port for the control plane itself
	port   int    // of our broker, for nodes to find by the address they see us under; else 0
	nodes  control.Broker
}

// planBroker decides between a broker that answers already and our own.
func planBroker(ctx context.Context, c config.MQTT, remote bool) (brokerPlan, error) {
	port := strconv.Itoa(c.Port)
	client, err := c.TLS.Config()
	if err != nil {
		return brokerPlan{}, err
	}
	host := c.Host
	local := host == "" || isOurs(ctx, host)
	probed := host
	if probed == "" {
		probed = "127.0.0.1"
	}
	addr := net.JoinHostPort(probed, port)
	answer := probe(ctx, addr, client, c)
	switch {
	case errors.Is(answer, mqtt.ErrNotMQTT):
		return brokerPlan{}, fmt.Errorf(
			"%s is taken by something that is not MQTT: set mqtt.port to another port, or stop what listens there",
			addr,
		)
	case errors.Is(answer, mqtt.ErrNoAnswer) && c.Embedded == config.EmbeddedNever:
		return brokerPlan{}, fmt.Errorf(
			"no broker answers at %s: start it, or leave mqtt.embedded out to have Otto serve MQTT itself",
			addr,
		)
	case errors.Is(answer, mqtt.ErrNoAnswer) && !local:
		return brokerPlan{}, fmt.Errorf(
			"no broker answers at %s, and this machine does not have that address: start the broker, or correct mqtt.host",
			addr,
		)
	case errors.Is(answer, mqtt.ErrNoAnswer):
		return ourBroker(c, remote), nil
	case c.Embedded == config.EmbeddedAlways, host == "":
		return brokerPlan{}, fmt.Errorf(
			"another MQTT broker has %s already: set mqtt.host to use it, or mqtt.port to another port",
			addr,
		)
	case errors.Is(answer, mqtt.ErrRefused):
		return brokerPlan{}, fmt.Errorf(
			"the broker at %s refuses the credentials: correct mqtt.username and mqtt.password",
			addr,
		)
	case answer != nil:
		return brokerPlan{}, fmt.Errorf("broker at %s: %w", addr, answer)
	}
	if err := echo(ctx, addr, client, c); errors.Is(err, mqtt.ErrMute) {
		return brokerPlan{}, fmt.Errorf(
			"the broker at %s passes on no messages of Otto: another cluster's, or one where its user may not; "+
				"set mqtt.port to a free port to have Otto serve MQTT itself, or mqtt.username to a user who may read and write %s/#",
			addr,
			wire.Root,
		)
	} else if err != nil {
		return brokerPlan{}, err
	}
	return brokerPlan{dial: addr, nodes: control.Broker{
		Addresses: []string{addr}, TLS: c.TLS, Username: c.Username, Password: c.Password, Description: addr,
	}}, nil
}

func probe(ctx context.Context, addr string, t *tls.Config, c config.MQTT) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return mqtt.Probe(ctx, addr, t, c.Username, c.Password)
}

// echo tries what the control plane and the nodes need of a broker that is not ours.
func echo(ctx context.Context, addr string, t *tls.Config, c config.MQTT) error {
	topic := wire.NodeTopic("probe-"+strings.ToLower(rand.Text()[:16]), wire.KindHeartbeat)
	return mqtt.Echo(ctx, addr, t, c.Username, c.Password, topic)
}

// ourBroker listens no wider than it must: for local nodes on loopback, with
// mqtt.host on that address, and else on all, as any may be the one that a node
// reaches us by.
func ourBroker(c config.MQTT, remote bool) brokerPlan {
	port := strconv.Itoa(c.Port)
	p := brokerPlan{port: c.Port}
	switch {
	case c.Host != "":
		p.listen = net.JoinHostPort(c.Host, port)
		p.dial = p.listen
		p.nodes.Addresses = []string{p.listen}
	case remote:
		p.listen, p.dial = net.JoinHostPort("0.0.0.0", port), net.JoinHostPort("127.0.0.1", port)
	default:
		p.listen = net.JoinHostPort("127.0.0.1", port)
		p.dial = p.listen
	}
	if c.Host != "" && isLoopback(p.listen) {
		p.nodes.Addresses = nil // another machine's loopback is not ours
	}
	p.nodes.Ours = true
	p.nodes.Description = p.listen + " (served by Otto)"
	return p
}

// isLoopback reports whether nobody but this machine reaches what listens at host:port.
func isLoopback(listen string) bool {
	host, _, _ := net.SplitHostPort(listen)
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// isOurs reports whether a host is an address of this machine.
func isOurs(ctx context.Context, host string) bool {
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return false
	}
	ours, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, f := range found {
		for _, o := range ours {
			if prefix, err := netip.ParsePrefix(o.String()); err == nil && prefix.Addr() == f.Unmap() {
				return true
			}
		}
	}
	return false
}
