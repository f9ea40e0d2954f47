package control

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/wire"
)

// Secrets and configs: a spec names the contents of its files by a keyed digest, and they
// are kept apart from it. So whoever shows, compares or records a spec has nothing to
// hide. See ADR 19.

// storedContents are contents as the store has them, in plain.
type storedContents otto.Contents

// MarshalJSON implements json.Marshaler.
func (c storedContents) MarshalJSON() ([]byte, error) { return json.Marshal(otto.Contents(c).Plain()) }

// UnmarshalJSON implements json.Unmarshaler.
func (c *storedContents) UnmarshalJSON(b []byte) error {
	var plain map[string][]byte
	if err := json.Unmarshal(b, &plain); err != nil {
		return fmt.Errorf("the contents of secrets and configs are unreadable")
	}
	*c = storedContents(otto.NewContents(plain))
	return nil
}

// withKeys is what is newly wanted, with each content under its digest.
func (p *Plane) withKeys(ctx context.Context, w otto.Wanted) (otto.Wanted, error) {
	err := p.call(ctx, func() (err error) {
		w, err = keyed(p.identity.ContentKey, w, p.desired)
		return err
	})
	return w, err
}

// keyed replaces what the files of specs are called by digests of their contents, which
// have come with w or are known.
func keyed(key []byte, w otto.Wanted, d desired) (otto.Wanted, error) {
	w, err := keyedFolders(key, w, d.folderKeys())
	if err != nil {
		return w, err
	}
	contents := otto.Contents{}
	services := w.Services
	for i, s := range services {
		renamed := map[string]string{}
		for name, what := range s.Spec.Needs() {
			content, came := w.Contents[name]
			known, there := d.Contents[name]
			switch {
			case came && content.Len() > otto.MaxFile:
				return w, fmt.Errorf("%s of service %s has %d KiB: %d KiB are the most", what, s.Name, content.Len()>>10,
					otto.MaxFile>>10)
			case came:
				renamed[name] = digest(key, content)
			case there:
				renamed[name], content = name, known
			default:
				return w, fmt.Errorf("the content of %s of service %s is missing: apply the file again", what, s.Name)
			}
			contents[renamed[name]] = content
		}
		if len(renamed) == 0 {
			continue
		}
		if &services[0] == &w.Services[0] {
			services = slices.Clone(services)
		}
		services[i].Spec = renamedContents(s.Spec, renamed)
	}
	w.Services, w.Contents = services, nil
	if len(contents) > 0 {
		w.Contents = contents
	}
	return w, nil
}

// renamedContents is a spec with other keys of its contents.
func renamedContents(spec otto.ContainerSpec, keys map[string]string) otto.ContainerSpec {
	spec.Files, spec.SecretEnvironment = slices.Clone(spec.Files), maps.Clone(spec.SecretEnvironment)
	for i := range spec.Files {
		spec.Files[i].Content = keys[spec.Files[i].Content]
	}
	for name, key := range spec.SecretEnvironment {
		spec.SecretEnvironment[name] = keys[key]
	}
	return spec
}

// digest names a content. It is keyed: who sees it must not be able to try passwords.
func digest(key []byte, content otto.Secret) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("otto content v1\n"))
	mac.Write(content.Plain())
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// keptContents are those that what is wanted needs, or a version that it may go back to.
func keptContents(known storedContents, w otto.Wanted, rollouts map[string]plan.Rollout) storedContents {
	needed := storedContents{}
	take := func(spec otto.ContainerSpec) {
		for key := range spec.Needs() {
			if content, came := w.Contents[key]; came {
				needed[key] = content
			} else if content, there := known[key]; there {
				needed[key] = content
			}
		}
	}
	for i := range w.Services {
		take(w.Services[i].Spec)
	}
	for _, r := range rollouts {
		for _, v := range r.Versions {
			take(v.Spec)
		}
	}
	if len(needed) == 0 {
		return nil
	}
	return needed
}

// noteFiles keeps builds that know no files away from the documents, before there are any.
func (p *Plane) noteFiles(next desired) error {
	id := p.identity
	if len(next.Contents) > 0 {
		id.Format = max(id.Format, formatOfFile)
	}
	if len(next.folderKeys()) > 0 {
		id.Format = max(id.Format, formatOfFolders)
	}
	if slices.ContainsFunc(next.Wanted.Services, func(s otto.Service) bool { return len(s.Spec.Seeded()) > 0 }) {
		id.Format = max(id.Format, formatOfSeeds)
	}
	if id.Format == p.identity.Format {
		return nil
	}
	if err := p.Store.Put(p.ctx, keyIdentity, id); err != nil {
		return err
	}
	p.identity = id
	return nil
}

// sealKeyOf is the key by which a node's agent opens secrets, and whether it has said so.
func (p *Plane) sealKeyOf(n *node) (key []byte, has bool) {
	s := p.enrolled[n.ID]
	for _, key := range [][]byte{s.SealKey, s.FormerSealKey} {
		if n.sealKey != "" && n.sealKey == p.sealKeyName(key) {
			return key, true
		}
	}
	return s.SealKey, false
}

// sealKeyName is wire.SealKeyName, which multiplies on a curve: it is asked for in each pass,
// for each node.
func (p *Plane) sealKeyName(key []byte) string {
	name, known := p.sealNames[string(key)]
	if known {
		return name
	}
	if p.sealNames == nil || len(p.sealNames) > 4*len(p.nodes) { // of former keys, too
		p.sealNames = map[string]string{}
	}
	name = wire.SealKeyName(key)
	p.sealNames[string(key)] = name
	return name
}

// opens takes in by which key an agent opens secrets.
func (n *node) opens(key string) {
	if n.sealKey != key {
		n.sealKey, n.untold = key, true
	}
}

// withContents are the contents that instances on a node need; nil if none does. What
// the node cannot open yet is held back: a former agent would run it without.
func (p *Plane) withContents(n *node, instances []otto.Instance) otto.Contents {
	if !(otto.Assignment{Instances: instances}).WithContents() {
		return nil // as most of them
	}
	contents := otto.Contents{}
	_, opens := p.sealKeyOf(n)
	for k := range instances {
		i := &instances[k]
		for key, what := range i.Spec.Needs() {
			if !opens {
				i.Hold = cmp.Or(i.Hold,
					"the agent on "+n.ID+" is older and cannot open secrets and configs; it waits for a new one")
			}
			content, there := p.desired.Contents[key]
			if !there {
				i.Hold = cmp.Or(i.Hold, "the content of its "+what+" is missing: apply the file again")
				continue
			}
			contents[key] = content
		}
	}
	return contents
}

// covers reports whether others are not to read what a node is sent. One that was enrolled by a
// former build is sent all in plain until its new agent has proven that it is one.
func (p *Plane) covers(n *node) bool {
	s := p.enrolled[n.ID]
	return !p.Broker.Ours && s.Proves && len(s.SealKey) > 0
}

// sealed is a node's assignment as it is sent.
func (p *Plane) sealed(n *node, a otto.Assignment, contents otto.Contents, cover bool) (signed []byte, err error) {
	if cover {
		if a, contents, err = wire.Cover(a, contents); err != nil {
			return nil, err
		}
	}
	if a.Sealed, err = p.seal(n, contents); err != nil {
		return nil, err
	}
	key, also := p.identity.signers()
	return wire.SignAssignment(key, a, also...)
}

// seal encrypts contents for a node. One that was enrolled by a former build gets a key
// with its new agent, and the contents then.
func (p *Plane) seal(n *node, contents otto.Contents) ([]byte, error) {
	key, _ := p.sealKeyOf(n)
	if contents == nil || len(key) == 0 {
		return nil, nil
	}
	return wire.SealContents(key, p.identity.ClusterID, n.ID, contents)
}

// largest names the largest of contents, for an error about all of them.
func largest(instances []otto.Instance, contents otto.Contents) string {
	var name string
	most := -1
	for _, i := range instances {
		for key, what := range i.Spec.Needs() {
			if n := contents[key].Len(); n > most {
				most, name = n, fmt.Sprintf("%s of service %s", what, i.Service)
			}
		}
	}
	if most < 0 {
		return ""
	}
	return fmt.Sprintf("; its largest file is %s, with %d KiB", name, (most+1023)>>10)
}

// atLeast is about what a spec takes of a message, or less, in bytes.
func atLeast(s otto.ContainerSpec) int {
	n := 1 << 10
	for _, list := range []map[string]string{s.Environment, s.Labels} {
		for name, val := range list {
			n += len(name) + len(val)
		}
	}
	return n
}

// roomForRest is what of a message is left to all but specs and contents.
const roomForRest = 24 << 10

// tooLarge says of which services the specs, secrets and configs are too large to be sent to
// one node together, where they have to be on one.
func (p *Plane) tooLarge(w otto.Wanted) (refused []string) {
	units, sizes := map[string][]otto.Instance{}, map[string]int{}
	for _, s := range w.Services {
		at := cmp.Or(s.Node, s.Unit, s.Name)
		for range max(1, s.Replicas) {
			units[at] = append(units[at], otto.Instance{Service: s.Name, Spec: s.Spec})
			sizes[at] += atLeast(s.Spec)
			if s.Node == "" && s.Unit == "" { // each may be on another one
				break
			}
		}
	}
	key, err := wire.NewSealKey()
	if err != nil {
		return []string{err.Error()}
	}
	const most = wire.MaxMessage - roomForRest
	for _, at := range slices.Sorted(maps.Keys(units)) {
		contents, with, sealed := otto.Contents{}, "", []byte(nil)
		for _, i := range units[at] {
			for key := range i.Spec.Needs() {
				contents[key] = w.Contents[key]
			}
		}
		if len(contents) > 0 {
			with = " with its secrets and configs"
			if sealed, err = wire.SealContents(key, "", at, contents); err != nil {
				return []string{err.Error()}
			}
		} else if sizes[at] < most/4 { // far from it: what is not counted is less than the rest
			continue
		}
		b, err := json.Marshal(otto.Assignment{Instances: units[at], Sealed: sealed})
		if err == nil && len(b) > most {
			refused = append(refused, fmt.Sprintf(
				"what runs on one node with service %s is told in one message, and has %d KiB%s: %d KiB are the most%s",
				units[at][0].Service, len(b)>>10, with, most>>10, largest(units[at], contents)))
		}
	}
	return refused
}
