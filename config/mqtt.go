package config

import (
	"crypto/tls"
	"crypto/x509"
	"os"

	"github.com/otto-edge/otto/wire"
)

// mqtt is the broker as it is being read.
type mqtt struct {
	MQTT
	pos // of host
}

func mqttObject() object[mqtt] {
	return object[mqtt]{
		noun: "mqtt",
		keys: map[string]key[mqtt]{
			"host": {
				"Address of the broker as the nodes reach it.",
				schema{"type": "string"},
				func(r *reader, v value, m *mqtt) {
					m.pos = v.pos
					m.Host, _ = host("192.0.2.3 or broker.local").read(r, v)
				},
			},
			"port": as("Port of the broker, 1883 by default, 8883 with TLS.", integer(1, 65535),
				func(m *mqtt) *int { return &m.Port }),
			"embedded": {
				"Whether Otto itself is the broker; auto: if none answers there.",
				schema{"enum": []any{"auto", true, false}},
				func(r *reader, v value, m *mqtt) {
					word, _ := choice("auto", "true", "false").read(r, v)
					m.Embedded = Embedded(word)
					if m.pos == (pos{}) {
						m.pos = v.pos
					}
				},
			},
			"username": as("User at the broker.", text("a name"), func(m *mqtt) *string { return &m.Username }),
			"password": {
				"Password at the broker; better ${MQTT_PASSWORD}, from .env.",
				oneOfKinds("string", "number"),
				func(r *reader, v value, m *mqtt) {
					m.Password, _ = word().read(r, v)
					if m.pos == (pos{}) {
						m.pos = v.pos
					}
				},
			},
			"tls": tlsKey(),
			"plain": {
				"From where people's tools may come without TLS to the broker that Otto serves: lan, local for this machine alone, or off; lan by default, off with tls. Nodes always use TLS.",
				schema{"enum": []any{"lan", "local", "off"}},
				func(r *reader, v value, m *mqtt) {
					word, _ := choice("lan", "local", "off").read(r, v)
					m.Plain = Plain(word)
				},
			},
		},
	}
}

// tlsFiles is tls as the file has it: paths.
type tlsFiles struct {
	ca, cert, key pathAt
	serverName    string
}

type pathAt struct {
	pos
	path string
}

func tlsKey() key[mqtt] {
	o := object[tlsFiles]{
		noun: "tls",
		keys: map[string]key[tlsFiles]{
			"ca": as("PEM file of the authorities to trust, the system's by default.", pemPath(),
				func(t *tlsFiles) *pathAt { return &t.ca }),
			"cert": as("PEM file of the client's certificate.", pemPath(),
				func(t *tlsFiles) *pathAt { return &t.cert }),
			"key": as("PEM file of the client's key.", pemPath(), func(t *tlsFiles) *pathAt { return &t.key }),
			"server_name": as("Name in the broker's certificate, if it is not the host.", host("broker.local"),
				func(t *tlsFiles) *string { return &t.serverName }),
		},
	}
	return key[mqtt]{
		"TLS to the broker: true, or its files.",
		oneOf(schema{"type": "boolean"}, o.schema()),
		func(r *reader, v value, m *mqtt) {
			var files tlsFiles
			if v.kind == mapping {
				o.read(r, v, &files)
			} else if on, ok := boolean().read(r, v); !ok || !on {
				return
			}
			m.TLS = files.load(r, v.pos)
		},
	}
}

func pemPath() form[pathAt] {
	return form[pathAt]{schema{"type": "string"}, func(r *reader, v value) (pathAt, bool) {
		p, ok := localPath().read(r, v)
		return pathAt{v.pos, p}, ok
	}}
}

// load reads the files and checks that they hold what they should.
func (t tlsFiles) load(r *reader, at pos) *wire.TLS {
	out := &wire.TLS{
		CA:         r.pem(t.ca),
		Cert:       r.pem(t.cert),
		Key:        r.pem(t.key),
		ServerName: t.serverName,
	}
	if out.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(out.CA)) {
		r.reject(t.ca.pos, "name a PEM file with BEGIN CERTIFICATE in it", "%s holds no certificate", t.ca.path)
	}
	if (t.cert.path == "") != (t.key.path == "") {
		r.reject(at, "write both, or none", "of cert and key there is only one")
		return out
	}
	if out.Cert != "" && out.Key != "" {
		if _, err := tls.X509KeyPair([]byte(out.Cert), []byte(out.Key)); err != nil {
			r.reject(t.cert.pos, "name a PEM certificate and its own private key", "cert and key do not fit: %v", err)
		}
	}
	return out
}

func (r *reader) pem(p pathAt) string {
	if p.path == "" {
		return ""
	}
	data, err := readFile(p.path)
	switch {
	case os.IsNotExist(err):
		r.reject(p.pos, "write a path relative to this file, or an absolute one", "there is no file %s", p.path)
	case err != nil:
		r.reject(p.pos, "name a PEM file that you may read", "%s: %s", p.path, reason(err))
	}
	return string(data)
}
