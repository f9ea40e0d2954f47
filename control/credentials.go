package control

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"slices"
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
	// Name is what nodes that trust it ask for; empty for a cluster's first authority, for
	// which that is the cluster's id.
	Name string `json:"name,omitempty"`
}

// name is one that no other authority of the cluster has.
func (a authority) name(clusterID string) string {
	sum := sha256.Sum256(a.Cert)
	return clusterID + "." + hex.EncodeToString(sum[:8])
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

// shown is what the embedded broker proves itself with, for goroutines other than the loop.
type shown struct {
	clusterID   string
	authorities []authority // the one that ends first before the other
}

// show makes that what is in force.
func (p *Plane) show() { p.shown.Store(&shown{p.identity.ClusterID, p.identity.authorities()}) }

// asked is the authority whose certificate is shown to who asks for a name, and whether
// that is a name of nodes.
func (s *shown) asked(name string) (a authority, node bool) {
	for _, a := range s.authorities {
		if cmp.Or(a.Name, s.clusterID) == name {
			return a, true
		}
	}
	return s.authorities[0], name == s.clusterID
}

// ShowsNodes reports whether nodes ask for the broker by this name.
func (p *Plane) ShowsNodes(serverName string) bool {
	_, node := p.shown.Load().asked(serverName)
	return node
}

// ServerCertificate is what the embedded broker proves itself with to who asks for a name.
// Others are names and addresses under which people's tools may know it, always the same.
func (p *Plane) ServerCertificate(serverName string, others ...string) (*tls.Certificate, error) {
	s := p.shown.Load()
	a, _ := s.asked(serverName)
	if drawn, ok := p.certificates.Load(string(a.Cert)); ok {
		return drawn.(*tls.Certificate), nil
	}
	names := append([]string{s.clusterID}, others...)
	if a.Name != "" {
		names = append([]string{a.Name}, names...)
	}
	cert, err := a.serve(names...)
	if err != nil {
		return nil, err
	}
	drawn, _ := p.certificates.LoadOrStore(string(a.Cert), &cert)
	return drawn.(*tls.Certificate), nil
}

// BrokerTLS is how the embedded broker is spoken to by who has no key of a node.
func (p *Plane) BrokerTLS() *wire.TLS {
	s := p.shown.Load()
	t := wire.TLS{ServerName: s.clusterID, Own: true}
	for _, a := range s.authorities {
		t.CA += certificatePEM(a.Cert)
	}
	return &t
}

// VerifyBroker accepts the embedded broker by what is in force now.
func (p *Plane) VerifyBroker(s tls.ConnectionState) error {
	c, err := p.BrokerTLS().Config()
	if err != nil {
		return err
	}
	return c.VerifyConnection(s)
}

// tlsOf is how a node speaks to the embedded broker.
func (p *Plane) tlsOf(node string) (*wire.TLS, error) {
	a := p.identity.Authority
	t := &wire.TLS{CA: certificatePEM(a.Cert), ServerName: cmp.Or(a.Name, p.identity.ClusterID), Own: true}
	var err error
	t.Cert, t.Key, err = clientCertificate(node, p.enrolled[node].Key)
	return t, err
}

// credentials are what the broker asks of a node, for goroutines other than the loop.
// Keys are in PKIX form.
type credentials struct {
	key      []byte
	former   [][]byte // other keys that still hold
	password string   // likewise
	awaited  bool     // it is not known yet that the node has this key
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
		former := func(f []byte) bool { return bytes.Equal(f, key) }
		return slices.ContainsFunc(c.former, former) || SecretEqual(c.password, password)
	}
	if c.password != "" || c.former != nil || c.awaited {
		p.post(func() { p.useKey(node) })
	}
	return true
}

// admit has the broker let a node in by what is enrolled.
func (p *Plane) admit(node string) {
	s, r := p.enrolled[node], p.identity.Renewal
	if s.Drawn != r.Generation && !r.overlaps() {
		p.users.Delete(node) // its keys have ended, and it has no new ones yet
		return
	}
	c := credentials{key: publicKey(s.Key), password: s.Password, awaited: s.Has < r.Generation}
	if len(s.FormerKey) > 0 {
		c.former = append(c.former, publicKey(s.FormerKey))
	}
	for _, key := range s.Older {
		if der, err := x509.MarshalPKIXPublicKey(key); err == nil {
			c.former = append(c.former, der)
		}
	}
	p.users.Store(node, c)
}

// Rekey gives a node a new key, over SSH. Its former one ends when the node has logged
// in with the new one, and with it whoever has a copy of it. At a broker that is not ours
// it is the key by which the node proves what it says and opens what is sealed for it.
func (p *Plane) Rekey(ctx context.Context, id string) error {
	return p.call(ctx, func() error {
		if err := p.deciding(); err != nil {
			return err
		}
		if err := p.known(id); err != nil {
			return err
		}
		ours := p.Broker.Ours
		switch s := p.enrolled[id]; {
		case !ours && !s.Proves:
			return fmt.Errorf("node %s has no key yet, as it has an agent of a former build: `otto cluster start` brings a new one",
				id)
		case !ours && len(s.FormerSealKey) > 0:
			return fmt.Errorf(
				"node %s has not used its last new key yet: Otto brings it there as soon as SSH reaches the node", id)
		case ours && s.former():
			return fmt.Errorf(
				"node %s has not logged in with its last new key yet: Otto brings it there as soon as SSH reaches the node",
				id,
			)
		}
		err := p.changeSecrets([]string{id}, func(node string, s secrets) (secrets, error) {
			s.Key, s.FormerKey = nil, s.Key
			s.SealKey, s.FormerSealKey = nil, s.SealKey
			return s.complete(node, ours)
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
func (s secrets) former() bool { return s.Password != "" || len(s.FormerKey) > 0 || len(s.Older) > 0 }

// useKey notes that a node for which what it had before still holds has used its key.
func (p *Plane) useKey(node string) {
	if p.nodes[node] != nil && (p.enrolled[node].former() || p.lacks(node)) {
		p.keyed[node] = true
		p.look = true
	}
}

// retireFormer ends what nodes had before their key: a password from a former build, or
// another key. That is when they have used their key and nobody may put the former agent
// back any more, or when the cluster's former keys have ended. Who else has logged in with
// it loses the connection. At a broker that is not ours nodes have no keys: a node has the
// cluster's new ones when they have been brought there.
func (p *Plane) retireFormer() {
	generation, ours := p.identity.Renewal.Generation, p.Broker.Ours
	if len(p.keyed) == 0 && generation == 0 {
		return
	}
	has := map[string]bool{}
	for _, id := range p.ids() {
		n, s := p.nodes[id], p.enrolled[id]
		switch brought := n.installed && n.brought == generation; {
		case brought && (p.keyed[id] || !ours && p.lacks(id)):
			has[id] = true
		case ours && p.lacks(id) && s.former() && !p.identity.Renewal.overlaps():
			has[id] = false
		}
	}
	if len(has) == 0 {
		return
	}
	done := slices.Sorted(maps.Keys(has))
	err := p.changeSecrets(done, func(id string, s secrets) (secrets, error) {
		if has[id] {
			s.Has = generation
		}
		return s.withoutFormer(ours), nil
	})
	if err != nil {
		p.Log.Error("the end of former keys and passwords is not stored: they still hold", "err", err)
		return
	}
	for _, id := range done {
		delete(p.keyed, id)
		if p.Kick != nil {
			p.Kick(id, p.keyInForce(id))
		}
	}
}

// complete draws what a node lacks: a key for the embedded broker, a password for
// another one, which knows nothing of our keys.
func (s secrets) complete(node string, ours bool) (secrets, error) {
	s.Proves = s.Proves || s.ClientID == "" && !ours
	s.ClientID = cmp.Or(s.ClientID, node+"-"+secret())
	var err error
	if len(s.SealKey) == 0 {
		if s.SealKey, err = wire.NewSealKey(); err != nil {
			return s, err
		}
	}
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
		bytes.Equal(s.FormerKey, other.FormerKey) && len(s.Older) == len(other.Older) &&
		s.Drawn == other.Drawn && s.Has == other.Has &&
		bytes.Equal(s.SealKey, other.SealKey) && bytes.Equal(s.FormerSealKey, other.FormerSealKey) &&
		s.Proves == other.Proves && s.Machine == other.Machine
}

var errNewerState = errors.New("the state is of a newer Otto: use that version")
