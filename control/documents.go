package control

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/decide"
	"github.com/otto-edge/otto/control/plan"
)

// documents are what the store holds, one field a document. A document is
// replaced whole, so that a decision is there or is not.
type documents struct {
	identity  identity
	epoch     uint64
	desired   desired
	enrolled  map[string]secrets // by node
	deposed   deposed
	data      remembered
	takeovers adoptions
}

// Keys of the documents.
const (
	keyIdentity  = "identity"
	keyEpoch     = "epoch"
	keyDesired   = "desired"
	keyEnrolled  = "enrolled"
	keyDeposed   = "deposed"   // absent until it is needed
	keyData      = "data"      // likewise
	keyTakeovers = "takeovers" // likewise
)

// identity is made once, at the first start of a cluster.
type identity struct {
	// Format is the stateFormat that the documents are written in, 0 of the builds
	// before there were formats.
	Format int
	Name   string
	// ClusterID also is the name of the broker in its certificate.
	ClusterID string
	Key       ed25519.PrivateKey // signs assignments
	Authority authority          // signs the broker's certificates
	Renewal   renewal
	// ContentKey makes the keys of the contents of files. It is drawn once and for all:
	// with another one each service with a secret would be made anew.
	ContentKey []byte
}

// stateFormat rises when builds that do not know it must keep away from the documents.
// Those before 1 let nodes in by passwords, which have ended since; those before 2 know
// one key of the cluster, and would show nodes a certificate that they do not trust; those
// before 3 would run services without their secrets, those before 4 without the files of their
// project, and those before 5 without its data.
const (
	stateFormat     = 5
	formatOfFile    = 3 // is written when there are any
	formatOfFolders = 4 // likewise
	formatOfSeeds   = 5 // likewise
)

// format is the stateFormat that an identity needs: a cluster whose keys were never
// renewed, and that never had a secret, can go back to a former build.
func (i identity) format() int {
	if i.Renewal.Generation == 0 {
		return max(i.Format, 1)
	}
	return max(i.Format, 2)
}

// storedIdentity is an identity as it is stored. Builds before there were formats look
// for the cluster's name in Name, and refuse a state that has another one there.
type storedIdentity struct {
	Format     int                `json:"format,omitempty"`
	Name       string             `json:"name"`
	Cluster    string             `json:"cluster,omitempty"`
	ClusterID  string             `json:"cluster_id"`
	Key        ed25519.PrivateKey `json:"key"`
	Authority  authority          `json:"authority,omitzero"`
	Renewal    renewal            `json:"renewal,omitzero"`
	ContentKey []byte             `json:"content_key,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (i identity) MarshalJSON() ([]byte, error) {
	s := storedIdentity{
		Format: i.Format, Name: i.Name, ClusterID: i.ClusterID, Key: i.Key, Authority: i.Authority, Renewal: i.Renewal,
		ContentKey: i.ContentKey,
	}
	if i.Format > 0 {
		s.Cluster, s.Name = i.Name, i.Name+" (kept by a newer Otto: use that version)"
	}
	return json.Marshal(s)
}

// UnmarshalJSON implements json.Unmarshaler.
func (i *identity) UnmarshalJSON(b []byte) error {
	var s storedIdentity
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*i = identity{
		Format: s.Format, Name: s.Name, ClusterID: s.ClusterID, Key: s.Key, Authority: s.Authority, Renewal: s.Renewal,
		ContentKey: s.ContentKey,
	}
	if s.Format > 0 {
		i.Name = s.Cluster
	}
	return nil
}

// newer is an error if the documents are of a build that knows more than this one.
func (i identity) newer() error {
	if i.Format > stateFormat {
		return fmt.Errorf("%w (format %d, this one knows %d)", errNewerState, i.Format, stateFormat)
	}
	return nil
}

// desired is what should be, and where.
type desired struct {
	Wanted    otto.Wanted    `json:"wanted"`
	Placement plan.Placement `json:"placement"`
	// Contents are of the files of what is wanted, and of the versions in Rollouts.
	Contents storedContents `json:"contents,omitempty"`
	// Holders are the nodes that may run stateful instances, by instance.
	Holders map[string]string `json:"holders,omitempty"`
	// Bound are the instances that their holders run without a lease, as far as they
	// know: however long one is not heard, only its own word releases them.
	Bound map[string]bool `json:"bound,omitempty"`
	// Lease is the longest lease that was ever granted.
	Lease time.Duration `json:"lease_ns,omitempty"`
	// Machines are the boots of the machines that nodes are, by node.
	Machines map[string]string `json:"machines,omitempty"`
	// Memory is what past decisions about requirements have left behind, and what is
	// under way.
	Memory decide.Memory `json:"decisions,omitzero"`
	// Given are the volumes and directories that nodes were given with services, by node
	// and in order. A node of before there was this is not in it until it says what it has.
	Given map[string][]string `json:"given,omitempty"`
	// Intents are what a person wants of nodes, beside what the file says.
	Intents map[string]otto.Intent `json:"intents,omitempty"`
	// Rollouts are the updates and restarts that are under way or have failed, by service.
	Rollouts map[string]plan.Rollout `json:"rollouts,omitempty"`
	// Restarts are how often each instance was asked to restart, if ever.
	Restarts map[string]uint64 `json:"restarts,omitempty"`
	// Leaving are nodes that are no longer wanted and still have Otto on them.
	Leaving []otto.Node `json:"leaving,omitempty"`
	// Restored says that this is from a backup, and that nobody has said since what
	// is wanted: nothing is decided until then.
	Restored bool `json:"restored,omitempty"`
}

// secrets are a node's own, made at its enrolment and stable for life, and what is known
// of its machine since.
type secrets struct {
	ClientID string `json:"client_id"`
	// Password is for a broker that is not ours, and what a node of a former build has
	// until it has used its Key.
	Password string             `json:"password,omitempty"`
	Key      ed25519.PrivateKey `json:"key,omitempty"`
	// FormerKey holds until Key has been used, and so do Older ones.
	FormerKey ed25519.PrivateKey  `json:"former_key,omitempty"`
	Older     []ed25519.PublicKey `json:"older_keys,omitempty"`
	// Drawn is the generation of the cluster's keys that Key was drawn for, and Has the one
	// that the node is known to have.
	Drawn uint64 `json:"drawn,omitempty"`
	Has   uint64 `json:"has,omitempty"`
	// SealKey opens what is sealed for it. FormerSealKey is another one that its agent may
	// still have, for as long as FormerKey holds.
	SealKey       []byte `json:"seal_key,omitempty"`
	FormerSealKey []byte `json:"former_seal_key,omitempty"`
	// Proves says that nothing counts at a broker that is not ours which the node has not
	// proven to be its own. It does not hold of a node that a former build has enrolled, until
	// its new agent has proven something.
	Proves bool `json:"proves,omitempty"`
	// Machine is what counts of its machine; nothing of one that a former build enrolled
	// and that has not been heard since.
	Machine record `json:"machine,omitzero"`
}

// ClusterID is the cluster's. It never changes.
func (p *Plane) ClusterID() string { return p.shown.Load().clusterID }

// load reads the documents, makes those of a new cluster, and begins an epoch.
func (p *Plane) load(ctx context.Context) error {
	found, err := p.Store.Get(ctx, keyIdentity, &p.identity)
	switch {
	case err != nil:
		return err
	case !found && !p.Create:
		return otto.ErrStateLost
	case !found:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		p.identity = identity{Name: p.Name, ClusterID: cmp.Or(p.KnownID, secret()), Key: key}
	case p.identity.newer() != nil:
		return p.identity.newer()
	case p.identity.Name != p.Name:
		return fmt.Errorf(
			"the stored state is of cluster %q, not of %q: put the name back, or stop and uninstall that cluster first",
			p.identity.Name,
			p.Name,
		)
	case p.KnownID != "" && p.identity.ClusterID != p.KnownID:
		return fmt.Errorf(
			"the stored state is of another cluster (id %s) than cluster.json says (id %s): put together what belongs together",
			p.identity.ClusterID,
			p.KnownID,
		)
	case len(p.identity.Key) != ed25519.PrivateKeySize:
		return fmt.Errorf("%w: the signing key is unusable", otto.ErrStateLost)
	}
	if err := p.completeIdentity(ctx); err != nil {
		return err
	}
	for key, into := range map[string]any{keyEpoch: &p.epoch, keyDesired: &p.desired, keyEnrolled: &p.enrolled} {
		found, err := p.Store.Get(ctx, key, into)
		if err == nil && !found {
			err = p.missing(ctx, key, into)
		}
		if err != nil {
			return err
		}
	}
	p.show()
	for node := range p.enrolled {
		p.admit(node)
	}
	if _, err := p.Store.Get(ctx, keyDeposed, &p.deposed); err != nil {
		return err
	}
	if _, err := p.Store.Get(ctx, keyData, &p.data); err != nil {
		return err
	}
	if _, err := p.Store.Get(ctx, keyTakeovers, &p.takeovers); err != nil {
		return err
	}
	if p.deposed.By > 0 {
		return nil
	}
	if err := p.loadStanding(ctx); err != nil {
		return err
	}
	p.epoch++
	return p.Store.Put(ctx, keyEpoch, p.epoch)
}

// completeIdentity stores what a new cluster has, or one of a former build still lacks.
func (p *Plane) completeIdentity(ctx context.Context) (err error) {
	if p.identity.Format == p.identity.format() && !p.identity.Authority.none() && !p.identity.Renewal.Due &&
		len(p.identity.ContentKey) > 0 {
		return nil
	}
	if len(p.identity.ContentKey) == 0 {
		p.identity.ContentKey = []byte(rand.Text())
	}
	if p.identity.Authority.none() {
		if p.identity.Authority, err = newAuthority(p.identity.ClusterID); err != nil {
			return err
		}
	}
	if p.identity.Renewal.Due {
		if p.identity, err = p.identity.renewed(otto.ByOtto, false, time.Now()); err != nil {
			return err
		}
	}
	p.identity.Format = p.identity.format()
	return p.Store.Put(ctx, keyIdentity, p.identity)
}

// missing writes the empty document of a new cluster. In one that has been
// started before there are no empty documents: one that is not there is lost,
// and taking it for empty would stop every service.
func (p *Plane) missing(ctx context.Context, key string, empty any) error {
	if !p.Create {
		return fmt.Errorf("%w: it has no document %s", otto.ErrStateLost, key)
	}
	return p.Store.Put(ctx, key, empty)
}

// enroll makes the secrets that the nodes lack.
func (p *Plane) enroll(nodes ...string) error {
	return p.changeSecrets(nodes,
		func(node string, s secrets) (secrets, error) {
			return s.of(p.identity.Renewal, p.Broker.Ours).complete(node, p.Broker.Ours)
		})
}

// changeSecrets changes those of several nodes in one write.
func (p *Plane) changeSecrets(nodes []string, change func(node string, s secrets) (secrets, error)) error {
	all := maps.Clone(p.enrolled)
	if all == nil {
		all = map[string]secrets{}
	}
	var changed []string
	for _, id := range nodes {
		s, err := change(id, all[id])
		if err != nil {
			return err
		}
		if !s.equal(all[id]) {
			all[id], changed = s, append(changed, id)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	if err := p.Store.Put(p.ctx, keyEnrolled, all); err != nil {
		return err
	}
	p.enrolled = all
	for _, id := range changed {
		p.admit(id)
	}
	return nil
}

// dismiss forgets a node's secrets.
func (p *Plane) dismiss(node string) error {
	all := maps.Clone(p.enrolled)
	delete(all, node)
	if err := p.Store.Put(p.ctx, keyEnrolled, all); err != nil {
		return err
	}
	p.enrolled = all
	p.users.Delete(node)
	return nil
}

// secret is 128 random bits in hex.
func secret() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}

// SecretEqual compares secrets; an empty one equals nothing.
func SecretEqual(secret, given string) bool {
	return secret != "" && subtle.ConstantTimeCompare([]byte(secret), []byte(given)) == 1
}
