package broker

import "github.com/nats-io/nats-server/v2/server"

// Secrets are what only the broker itself should need.
func (b *Broker) Secrets() (*server.Server, string) { return b.store.server, b.store.password }

// Envelope is what the server's limit has beyond the largest payload.
const Envelope = envelope
