package config

import (
	"net"
	"strconv"
)

// api is how the control plane is reached, as it is being read.
type api struct {
	API
	pos // of listen
}

func apiObject() object[api] {
	return object[api]{
		noun: "api",
		keys: map[string]key[api]{
			"listen": {
				"Address and port where the API is served with TLS to who has a token of otto token create, such as :7443.",
				schema{"type": "string"},
				func(r *reader, v value, a *api) {
					a.pos = v.pos
					text, _ := text(":7443").read(r, v)
					if text != "" && !isListen(text) {
						r.reject(v.pos, "write a port as :7443, or an address of the control plane's machine with one as 192.0.2.3:7443",
							"%.80q is no address to listen at", text)
					}
					a.Listen = text
				},
			},
		},
	}
}

// isListen reports whether text is a port, perhaps with an address of this machine.
func isListen(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host != "" && net.ParseIP(host) == nil && host != "localhost" {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}
