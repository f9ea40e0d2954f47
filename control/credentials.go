package control

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/otto-edge/otto/wire"
)

// Nodes and control plane know each other by keys that came over SSH. Certificates are
// only what TLS wants keys to be wrapped in: their dates are the widest that there are,
// and nobody looks at them. See ADR 14.

// authority is the cluster's own: what it has signed is the cluster's broker.
type authority struct {
	Cert []byte `json:"cert"` // DER
	Key  []byte `json:"key"`  // PKCS #8
}

// none reports whether there is none yet, as in a state of former builds.
func (a authority) none() bool { return len(a.Cert) == 0 }

// validity is from the first second of a clock that does not know the time to the date
// that stands for "never" (RFC 5280, 4.1.2.5).
func validity() (from, to time.Time) {
	return time.Unix(0, 0).UTC(), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
}

func template(name string) *x509.Certificate {
	from, to := validity()
	serial := new(big.Int).SetBytes([]byte(rand.Text()[:16]))
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             from,
		NotAfter:              to,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
	}
}

// newAuthority draws one. P-256 is what the libraries of people's tools know, too.
func newAuthority(clusterID string) (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, err
	}
	t := template("Otto cluster " + clusterID)
	t.IsCA, t.MaxPathLenZero, t.KeyUsage = true, true, x509.KeyUsageCertSign
	cert, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return authority{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	return authority{Cert: cert, Key: private}, err
}

// serve draws a key and a certificate for a broker that has these names and addresses.
func (a authority) serve(names ...string) (tls.Certificate, error) {
	ca, err := x509.ParseCertificate(a.Cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	signer, err := x509.ParsePKCS8PrivateKey(a.Key)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := template(names[0])
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, name)
		}
	}
	cert, err := x509.CreateCertificate(rand.Reader, t, ca, key.Public(), signer)
	return tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: key}, err
}

func certificatePEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// clientCertificate wraps a node's key, as PEM. The same key gives the same text, so that
// an enrolment stays as it is.
func clientCertificate(node string, key ed25519.PrivateKey) (cert, private string, err error) {
	t := template(node)
	t.SerialNumber = big.NewInt(1)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(nil, t, t, key.Public(), key)
	if err != nil {
		return "", "", err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	return certificatePEM(der), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})), err
}

// publicKey is the public half of a private key, in PKIX form; nil for none.
func publicKey(key ed25519.PrivateKey) []byte {
	if len(key) != ed25519.PrivateKeySize {
		return nil
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil // not with such a key
	}
	return der
}

// ServerCertificate draws what the embedded broker proves itself with, to nodes by the
// cluster's id. Others are names and addresses under which people's tools may know it.
func (p *Plane) ServerCertificate(others ...string) (tls.Certificate, error) {
	return p.identity.Authority.serve(append([]string{p.identity.ClusterID}, others...)...)
}

// BrokerTLS is how the embedded broker is spoken to by who has no key of a node.
func (p *Plane) BrokerTLS() *wire.TLS {
	return &wire.TLS{CA: certificatePEM(p.identity.Authority.Cert), ServerName: p.identity.ClusterID, Own: true}
}

// tlsOf is how a node speaks to the embedded broker.
func (p *Plane) tlsOf(node string) (*wire.TLS, error) {
	t := p.BrokerTLS()
	var err error
	t.Cert, t.Key, err = clientCertificate(node, p.enrolled[node].Key)
	return t, err
}

// credentials are what the broker asks of a node, for goroutines other than the loop.
// Keys are in PKIX form.
type credentials struct {
	key      []byte
	former   []byte // another key that still holds, nil if none does
	password string // likewise
}

// Authorize reports whether a client is the node that it says, for the broker to let it
// in: by its key, which is nil for a client without one, or by what it had before, as
// long as that holds.
func (p *Plane) Authorize(node, password string, key []byte) bool {
	value, ok := p.users.Load(node)
	if !ok {
		return false
	}
	c := value.(credentials)
	if len(key) == 0 {
		return SecretEqual(c.password, password)
	}
	if !bytes.Equal(c.key, key) {
		return bytes.Equal(c.former, key) || SecretEqual(c.password, password)
	}
	if c.password != "" || c.former != nil {
		p.post(func() { p.useKey(node) })
	}
	return true
}

// admit has the broker let a node in by what is enrolled.
func (p *Plane) admit(node string) {
	s := p.enrolled[node]
	p.users.Store(node, credentials{key: publicKey(s.Key), former: publicKey(s.FormerKey), password: s.Password})
}

// Rekey gives a node a new key, over SSH. Its former one ends when the node has logged
// in with the new one, and with it whoever has a copy of it.
func (p *Plane) Rekey(ctx context.Context, id string) error {
	return p.call(ctx, func() error {
		if err := p.deciding(); err != nil {
			return err
		}
		if err := p.known(id); err != nil {
			return err
		}
		switch s := p.enrolled[id]; {
		case !p.Broker.Ours:
			return errors.New(
				"nodes have keys for the broker that Otto serves; at a broker of your own, change mqtt.username and mqtt.password",
			)
		case s.former():
			return fmt.Errorf(
				"node %s has not logged in with its last new key yet: Otto brings it there as soon as SSH reaches the node",
				id,
			)
		}
		err := p.changeSecrets([]string{id}, func(node string, s secrets) (secrets, error) {
			s.Key, s.FormerKey = nil, s.Key
			return s.complete(node, true)
		})
		if err != nil {
			return err
		}
		p.record(asked(ctx, "node-key", id, "node gets a new key; its former one ends when it has used that"))
		n := p.nodes[id]
		k := n.keeper
		n.keeper, n.installed, p.dirty = nil, false, true // the next pass makes one that brings the new key
		p.background.Go(k.release)
		p.pass(time.Now())
		return nil
	})
}

// former reports whether something still holds that a node had before its key.
func (s secrets) former() bool { return s.Password != "" || len(s.FormerKey) > 0 }

// useKey notes that a node for which what it had before still holds has used its key.
func (p *Plane) useKey(node string) {
	if p.nodes[node] != nil && p.enrolled[node].former() {
		p.keyed[node] = true
		p.look = true
	}
}

// retireFormer ends what nodes had before their key: a password from a former build, or
// another key. That is when they have used their key and nobody may put the former agent
// back any more. Who else has logged in with it loses the connection.
func (p *Plane) retireFormer() {
	var done []string
	for id := range p.keyed {
		switch n := p.nodes[id]; {
		case n == nil:
			delete(p.keyed, id)
		case n.installed:
			done = append(done, id)
		}
	}
	if len(done) == 0 {
		return
	}
	err := p.changeSecrets(done, func(_ string, s secrets) (secrets, error) {
		s.Password, s.FormerKey = "", nil
		return s, nil
	})
	if err != nil {
		p.Log.Error("the end of former keys and passwords is not stored: they still hold", "err", err)
		return
	}
	for _, id := range done {
		delete(p.keyed, id)
		if p.Kick != nil {
			p.Kick(id, publicKey(p.enrolled[id].Key))
		}
	}
}

// complete draws what a node lacks: a key for the embedded broker, a password for
// another one, which knows nothing of our keys.
func (s secrets) complete(node string, ours bool) (secrets, error) {
	s.ClientID = cmp.Or(s.ClientID, node+"-"+secret())
	var err error
	switch {
	case ours && len(s.Key) != ed25519.PrivateKeySize:
		_, s.Key, err = ed25519.GenerateKey(rand.Reader)
	case !ours:
		s.Password = cmp.Or(s.Password, secret())
	}
	return s, err
}

func (s secrets) equal(other secrets) bool {
	return s.ClientID == other.ClientID && s.Password == other.Password && bytes.Equal(s.Key, other.Key) &&
		bytes.Equal(s.FormerKey, other.FormerKey) &&
		s.Machine == other.Machine
}

var errNewerState = errors.New("the state is of a newer Otto: use that version")
