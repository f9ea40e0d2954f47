package wire

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// TLS says how a broker is spoken to over TLS.
type TLS struct {
	CA         string `json:"ca,omitempty"`          // PEM of the authorities trusted; empty: the system's
	ServerName string `json:"server_name,omitempty"` // if it differs from the address
	// Cert and Key are PEM of the client's certificate, if the broker asks for one.
	Cert string `json:"cert,omitempty"`
	Key  string `json:"key,omitempty"`
	// Own says that CA is the cluster's own authority. Its word and ServerName are all
	// that counts then: dates do not, as the clock of either side may be wrong.
	Own bool `json:"own,omitempty"`
}

// Config is what crypto/tls needs of t; nil for nil, which means without TLS.
func (t *TLS) Config() (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	c := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(t.CA)) {
			return nil, errors.New("the broker's CA is not a PEM certificate")
		}
	}
	if t.Own {
		authorities, err := parseCertificates(t.CA)
		if err != nil || len(authorities) == 0 || t.ServerName == "" {
			return nil, errors.Join(errors.New("the cluster's CA or name is missing"), err)
		}
		c.MinVersion = tls.VersionTLS13
		c.InsecureSkipVerify = true // what the library verifies depends on the clock
		c.VerifyConnection = func(s tls.ConnectionState) error { return verifyOwn(s, authorities, t.ServerName) }
	}
	if t.Cert != "" {
		pair, err := tls.X509KeyPair([]byte(t.Cert), []byte(t.Key))
		if err != nil {
			return nil, fmt.Errorf("certificate for the broker: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// ErrForeignBroker says that who answers is not the cluster's broker.
var ErrForeignBroker = errors.New("who answers there is not the broker of this cluster")

// verifyOwn accepts a server whose certificate one of the authorities has signed for
// name. That the server holds the certificate's key has been proven by then.
func verifyOwn(s tls.ConnectionState, authorities []*x509.Certificate, name string) error {
	if len(s.PeerCertificates) == 0 {
		return ErrForeignBroker
	}
	cert := s.PeerCertificates[0]
	signed := func(ca *x509.Certificate) bool { return cert.CheckSignatureFrom(ca) == nil }
	switch {
	case !slices.ContainsFunc(authorities, signed):
		return fmt.Errorf("%w: its certificate is not signed by the cluster's authority", ErrForeignBroker)
	case !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth):
		return fmt.Errorf("%w: its certificate is not a server's", ErrForeignBroker)
	}
	if err := cert.VerifyHostname(name); err != nil {
		return fmt.Errorf("%w: %w", ErrForeignBroker, err)
	}
	return nil
}

func parseCertificates(text string) (list []*x509.Certificate, err error) {
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return list, nil
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		list = append(list, cert)
	}
}
