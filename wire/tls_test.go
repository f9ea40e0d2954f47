package wire_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/otto-edge/otto/wire"
)

type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func issue(t *testing.T, by issuer, change func(*x509.Certificate)) issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:              []string{"c0ffee"},
	}
	change(template)
	if by.key == nil {
		by = issuer{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return issuer{cert, key}
}

func authority(c *x509.Certificate) {
	c.IsCA, c.KeyUsage, c.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
}

func (i issuer) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw}))
}

// connected are both ends of a connection. One in memory would not do: whoever refuses a
// certificate writes while the other one still does.
func connected(t *testing.T) (here, there net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if here, err = net.Dial("tcp", l.Addr().String()); err == nil {
		there, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close(); there.Close() })
	return here, there
}

// TestOwnBrokerIsKnownByItsAuthorityAndNameAlone also is about certificates that have
// expired, or are not valid yet: a clock may have been wrong when they were made.
func TestOwnBrokerIsKnownByItsAuthorityAndNameAlone(t *testing.T) {
	own := issue(t, issuer{}, authority)
	next := issue(t, issuer{}, authority)
	old := issue(t, issuer{}, func(c *x509.Certificate) {
		authority(c)
		c.NotBefore, c.NotAfter = time.Unix(0, 0), time.Unix(90*24*3600, 0)
	})
	node := issue(t, own, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	good := func(*x509.Certificate) {}
	tests := []struct {
		name   string
		ca     string
		server issuer
		want   error
	}{
		{"its own", own.pem(), issue(t, own, good), nil},
		{
			"expired",
			own.pem(),
			issue(t, own,
				func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(-1, 0, 0); c.NotBefore = time.Unix(0, 0) }),
			nil,
		},
		{"not valid yet", own.pem(), issue(t, own, func(c *x509.Certificate) {
			c.NotBefore = time.Now().AddDate(1, 0, 0)
			c.NotAfter = time.Now().AddDate(2, 0, 0)
		}), nil},
		{"its authority expired", old.pem(), issue(t, old, good), nil},
		{"of the second authority", own.pem() + next.pem(), issue(t, next, good), nil},
		{"another authority", own.pem(), issue(t, next, good), wire.ErrForeignBroker},
		{"self-signed", own.pem(), issue(t, issuer{}, good), wire.ErrForeignBroker},
		{
			"another name",
			own.pem(),
			issue(t, own, func(c *x509.Certificate) { c.DNSNames = []string{"decaf"} }),
			wire.ErrForeignBroker,
		},
		{"a client's", own.pem(), node, wire.ErrForeignBroker},
		{"signed by one that is no authority", own.pem(), issue(t, node, good), wire.ErrForeignBroker},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config, err := (&wire.TLS{CA: tt.ca, ServerName: "c0ffee", Own: true}).Config()
			if err != nil {
				t.Fatal(err)
			}
			here, there := connected(t)
			go func() {
				pair := tls.Certificate{Certificate: [][]byte{tt.server.cert.Raw}, PrivateKey: tt.server.key}
				_ = tls.Server(there, &tls.Config{Certificates: []tls.Certificate{pair}}).HandshakeContext(t.Context())
				there.Close()
			}()
			err = tls.Client(here, config).HandshakeContext(t.Context())
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	for name, bad := range map[string]wire.TLS{
		"without a CA":    {ServerName: "c0ffee", Own: true},
		"without a name":  {CA: own.pem(), Own: true},
		"with a torn one": {CA: own.pem() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ServerName: "c0ffee", Own: true},
	} {
		if _, err := bad.Config(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
