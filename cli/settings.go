package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/config"
)

// withSettings is a plan with what the file changes of the control plane itself, which
// that knows nothing of.
func (d stateDir) withSettings(p otto.Plan, f *config.File) (otto.Plan, error) {
	var c clusterFile
	var have controlFile
	for name, into := range map[string]any{fileCluster: &c, fileControl: &have} {
		if err := d.read(name, into); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return p, err
		}
	}
	renamed, changes, served := c.renamed(f), "", false
	if have.Version != "" {
		changes, served = mqttChanges(have.MQTT, f.MQTT), have.API != f.API
	}
	if renamed == nil && changes == "" && !served {
		return p, nil
	}
	if renamed != nil {
		p.Refused = append(p.Refused, renamed.Error())
	}
	if changes != "" {
		p.Changes = append(
			[]otto.Change{
				{
					Kind:   "change",
					Noun:   "mqtt",
					Name:   "broker",
					Detail: changes + "; the control plane is started again for it, and all nodes are told",
				},
			},
			p.Changes...)
	}
	if served {
		p.Changes = append([]otto.Change{{Kind: "change", Noun: "api", Name: "listen", Detail: fmt.Sprintf(
			"%s -> %s; the control plane is started again for it", cmpOr(have.API.Listen, "none"), cmpOr(f.API.Listen, "none"),
		)}}, p.Changes...)
	}
	b, err := json.Marshal([]any{p.ID, p.Changes, p.Refused})
	if err != nil {
		return p, err
	}
	sum := sha256.Sum256(b)
	p.ID = hex.EncodeToString(sum[:8])
	return p, nil
}

// renamed says that a cluster which has been started has another name in the file now.
func (c clusterFile) renamed(f *config.File) error {
	if c.ClusterName == "" || c.ClusterName == f.Name || c.StartedAt.IsZero() {
		return nil
	}
	return fmt.Errorf(
		"the cluster here is %q and has been started; %s calls it %q now: put the name back, or run `otto cluster uninstall` first",
		c.ClusterName,
		filepath.Base(f.Path),
		f.Name,
	)
}

// mqttChanges lists what differs of the broker, without a password or a key.
func mqttChanges(was, now config.MQTT) string {
	var parts []string
	for _, part := range []struct{ name, was, now string }{
		{"host", was.Host, now.Host},
		{"port", strconv.Itoa(was.Port), strconv.Itoa(now.Port)},
		{"embedded", string(was.Embedded), string(now.Embedded)},
		{"plain", string(was.Plain), string(now.Plain)},
		{"username", was.Username, now.Username},
	} {
		if part.was != part.now {
			parts = append(parts,
				fmt.Sprintf("%s: %s -> %s", part.name, cmpOr(part.was, "none"), cmpOr(part.now, "none")))
		}
	}
	if was.Password != now.Password {
		parts = append(parts, "password")
	}
	if !reflect.DeepEqual(was.TLS, now.TLS) {
		parts = append(parts, "tls")
	}
	return strings.Join(parts, ", ")
}
