package broker

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// Permissions are lists of MQTT topic filters that a client may publish and
// subscribe to. Whatever is not in them is forbidden. There is no list of
// exceptions: the server has leaked retained messages past such lists before.
//
// A filter starts with a plain level, so that neither "#" nor "+/x" can reach
// the broker's own "$" topics.
type Permissions struct {
	Publish, Subscribe []string
	// ReadAll allows all subscriptions. It is for who holds the broker anyway, and
	// learns while connected what there is to be read.
	ReadAll bool
}

const storeUser = "store"

// authenticator decides about every connection. It is asked at each connect, so
// users come and go without a new configuration of the server.
type authenticator struct {
	authorize   func(username, password string) (Permissions, bool)
	password    string        // of the two users that are the broker itself
	open        chan struct{} // closed when everybody may connect; they wait for it
	mqtt, store *server.Account
	log         *slog.Logger
}

func (a *authenticator) findAccounts(s *server.Server) (err error) {
	if a.mqtt, err = s.LookupAccount(mqttAccount); err != nil {
		return err
	}
	a.store, err = s.LookupAccount(storeAccount)
	return err
}

// Check implements server.Authentication. A connection inside the process can
// only be to the store, and one from the network only to MQTT.
func (a *authenticator) Check(c server.ClientAuthentication) bool {
	given := c.GetOpts()
	if addr := c.RemoteAddress(); addr == nil {
		return false
	} else if addr.Network() == "pipe" {
		return a.checkStore(c, given.Username, given.Password)
	}
	if given.Username == starterUser && a.isBroker(given.Password) {
		own := []string{starterTopic + ".*"}
		c.RegisterUser(&server.User{Username: starterUser, Account: a.mqtt, Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: own}, Subscribe: &server.SubjectPermission{Allow: own},
		}})
		return true
	}
	<-a.open
	if a.authorize == nil {
		return false
	}
	allowed, ok := a.authorize(given.Username, given.Password)
	if !ok {
		return false
	}
	permissions, err := allowed.server()
	if err != nil {
		a.log.Error("permissions are unusable; the client is refused", "username", given.Username, "error", err)
		return false
	}
	c.RegisterUser(&server.User{Username: given.Username, Account: a.mqtt, Permissions: permissions})
	return true
}

func (a *authenticator) checkStore(c server.ClientAuthentication, username, password string) bool {
	if username != storeUser || !a.isBroker(password) {
		return false
	}
	c.RegisterUser(&server.User{Username: storeUser, Account: a.store})
	return true
}

func (a *authenticator) isBroker(password string) bool {
	return subtle.ConstantTimeCompare([]byte(password), []byte(a.password)) == 1
}

// nowhere is a subject that nobody uses. An empty list would allow everything.
const nowhere = "$nowhere"

// server translates to the server's terms.
func (p Permissions) server() (*server.Permissions, error) {
	publish, err := subjectPermission(p.Publish)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	if p.ReadAll {
		return &server.Permissions{Publish: publish}, nil
	}
	subscribe, err := subjectPermission(p.Subscribe)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return &server.Permissions{Publish: publish, Subscribe: subscribe}, nil
}

func subjectPermission(filters []string) (*server.SubjectPermission, error) {
	var allow []string
	for _, f := range filters {
		s, err := subjects(f)
		if err != nil {
			return nil, err
		}
		allow = append(allow, s...)
	}
	if len(allow) == 0 {
		allow = []string{nowhere}
	}
	return &server.SubjectPermission{Allow: allow}, nil
}

// subjects are the NATS subjects for an MQTT filter: "a/+/c" is "a.*.c", and
// "a/#", which includes "a" itself, is "a" and "a.>".
func subjects(filter string) ([]string, error) {
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		switch {
		case level == "+" && i > 0:
			levels[i] = "*"
		case level == "#" && i > 0 && i == len(levels)-1:
			parent := strings.Join(levels[:i], ".")
			return []string{parent, parent + ".>"}, nil
		case !plainLevel(level):
			return nil, fmt.Errorf("%q is not a filter that can be granted", filter)
		}
	}
	return []string{strings.Join(levels, ".")}, nil
}

// plainLevel reports whether a level means itself in MQTT as well as in NATS.
func plainLevel(level string) bool {
	if level == "" || level[0] == '$' {
		return false
	}
	return !strings.ContainsFunc(level, func(r rune) bool {
		return r <= ' ' || strings.ContainsRune("+#.*>\x7f\uFFFD", r)
	})
}
