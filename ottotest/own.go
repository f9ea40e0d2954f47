package ottotest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"

	"github.com/otto-edge/otto/wire"
)

// keyOf is the public key by which a node logs in, in PKIX form.
func keyOf(e wire.Enrolment) []byte {
	if e.TLS == nil {
		return nil
	}
	block, _ := pem.Decode([]byte(e.TLS.Cert))
	if block == nil {
		return nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return cert.RawSubjectPublicKeyInfo
}

// admits reports whether a node and the broker of the control plane let each other in: the
// node by the authority that it knows, the broker by the node's key.
func (c *Cluster) admits(e wire.Enrolment) bool {
	c.control.Lock()
	plane, up := c.Plane, c.stopPlane != nil
	c.control.Unlock()
	if !up {
		return false
	}
	config, err := e.TLS.Config()
	if err != nil || config == nil {
		return false
	}
	shown, err := plane.ServerCertificate(config.ServerName)
	if err != nil {
		return false
	}
	cert, err := x509.ParseCertificate(shown.Certificate[0])
	if err != nil {
		return false
	}
	if config.VerifyConnection(tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}) != nil {
		return false
	}
	return plane.Authorize(e.NodeID, "", keyOf(e))
}

// kick is what ends a node's connections to the control plane's own broker.
func (c *Cluster) kick() func(node string, but []byte) {
	if !c.OwnBroker {
		return nil
	}
	return func(node string, but []byte) {
		c.Bus.drop(func(conn *Conn) bool {
			return conn.Name == node && conn.admit != nil && (but == nil || !bytes.Equal(conn.key, but))
		})
	}
}

// drop ends connections. Their clients try again.
func (b *Bus) drop(which func(*Conn) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		if which(c) {
			delete(b.conns, c)
			c.thrownOut()
		}
	}
}

// Enrolment is what the host's agent is started with; nil if it was never brought there.
func (h *Host) Enrolment() *wire.Enrolment {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.enrolment
}

// Admits reports whether the control plane's own broker and a node with an enrolment let
// each other in.
func (c *Cluster) Admits(e wire.Enrolment) bool { return c.admits(e) }
