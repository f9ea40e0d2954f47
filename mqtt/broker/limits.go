package broker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/otto-edge/otto/mqtt"
)

// The server's two accounts, which see nothing of each other.
const (
	mqttAccount  = "mqtt"
	storeAccount = "store"
)

const (
	maxStore  = 256 << 20 // bytes on disk, half for each account
	maxMemory = 32 << 20
	// envelope is room for a message's topic and headers, which the server counts
	// as payload.
	envelope = 4 << 10
	// pendingPerNode is room for what is retained of a node, in bytes: who subscribes to
	// that of all nodes gets it at once.
	pendingPerNode = 32 << 10
)

// serverOptions are the limits that a broker on a small machine needs. Whatever
// is not set here (monitoring, profiling, routes, leaf nodes, web sockets) stays
// off.
func serverOptions(dir string, o Options) (*server.Options, error) {
	nodes := o.MaxNodes
	if nodes == 0 {
		nodes = 64
	}
	connections := 4*nodes + 64 // a node that comes back may still be counted
	options, err := configuredOptions(connections)
	if err != nil {
		return nil, err
	}
	options.ServerName = "broker"
	options.DontListen = true
	options.NoSigs = true // else the server ends the process on SIGINT
	options.StoreDir = dir
	options.JetStream = true
	options.JetStreamMaxStore = maxStore
	options.JetStreamMaxMemory = maxMemory
	options.SyncAlways = true // the default loses two minutes in a power cut
	options.DisableJetStreamBanner = true
	options.MaxConn = connections
	options.MaxSubs = 64
	options.MaxPayload = mqtt.MaxPayload + envelope
	options.MaxPending = max(4<<20, int64(nodes)*pendingPerNode)
	options.WriteDeadline = 5 * time.Second
	options.AuthTimeout = 5
	if o.Listen == "" {
		return options, nil
	}

	if o.TLS != nil && (o.TLS.ClientAuth == tls.RequireAnyClientCert || o.TLS.ClientAuth == tls.RequireAndVerifyClientCert) {
		return nil, errors.New("client certificates cannot be required")
	}
	host, port, err := splitListen(o.Listen)
	if err != nil {
		return nil, err
	}
	options.MQTT.Host = host
	options.MQTT.Port = port
	options.MQTT.TLSConfig = o.TLS
	options.MQTT.TLSTimeout = 5 // a handshake takes seconds on an ARMv6
	options.MQTT.AuthTimeout = 5
	options.MQTT.AckWait = 10 * time.Second
	options.MQTT.MaxAckPending = 16
	options.MQTT.ConsumerInactiveThreshold = time.Hour
	return options, nil
}

// configuredOptions holds what the server can be told in the language of its
// configuration file only: the limits of accounts, and the end of QoS 2.
func configuredOptions(maxConsumers int) (*server.Options, error) {
	limits := fmt.Sprintf("{ jetstream { max_mem: %d, max_file: %d, max_streams: 16, max_consumers: %d } }",
		maxMemory/2, maxStore/2, maxConsumers)
	options := &server.Options{}
	err := options.ProcessConfigString(
		"accounts { " + mqttAccount + " " + limits + ", " + storeAccount + " " + limits + " }\n" +
			"mqtt { reject_qos2_publish: true, downgrade_qos2_subscribe: true }")
	return options, err
}

// splitListen returns the port as the server wants it: -1 for any free one.
func splitListen(listen string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("listen on %q: %w", listen, err)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	switch {
	case err != nil:
		return "", 0, fmt.Errorf("listen on %q: the port is not a number below 65536", listen)
	case n == 0:
		return host, -1, nil
	}
	return host, int(n), nil
}
