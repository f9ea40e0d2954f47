package control

import (
	"cmp"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/backup"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/wire"
)

// A backup says what was so when it was made. Since then instances may have been
// moved, services changed, and other control plane epochs begun. So a restore
// first looks at every node, and what really runs counts more than the backup:
// an instance has its place where it runs. The restored control plane decides
// nothing until it is told what is wanted.

// Sight is what was found when a node was looked at, or why it could not be.
type Sight struct {
	wire.Look
	Err error
}

// Verdict is what becomes of something after a restore.
type Verdict string

// What becomes of an instance, and of a node.
const (
	Keeps   Verdict = "keeps"   // it runs where the backup has it, as wanted
	Adopts  Verdict = "adopts"  // it runs elsewhere, and stays there
	Starts  Verdict = "starts"  // it does not run
	Changes Verdict = "changes" // it runs in another version
	Stops   Verdict = "stops"   // it is not wanted, or not there
	Waits   Verdict = "waits"   // there is no place for it
	Unseen  Verdict = "unseen"  // its node could not be looked at
	Lacks   Verdict = "lacks"   // it would start on empty data
	Joins   Verdict = "joins"   // a node that has no agent
	Leaves  Verdict = "leaves"  // a node that is taken out
)

// Finding is one thing that a restore leads to once `otto cluster start` goes on.
type Finding struct {
	Verdict  Verdict `json:"verdict"`
	Node     string  `json:"node,omitempty"`
	Instance string  `json:"instance,omitempty"` // empty if it is about the node
	Reason   string  `json:"reason,omitempty"`
}

// Restored is a backup brought in line with what really runs.
type Restored struct {
	Documents map[string]json.RawMessage
	Findings  []Finding
	// Seen is the highest epoch that anybody has; the next one begins above it.
	Seen uint64
}

// unseenEpochs is how many epochs may have begun of which only nodes know that
// could not be looked at. Numbers are cheap, and a restored control plane that
// meets a newer epoch than its own steps down.
const unseenEpochs = 1000

// outOfSight holds what may have been moved to a node that the backup does not
// know, or that could not be looked at: it is started when no lease can be left.
const outOfSight = "a node out of sight"

// BackupID is the id of the cluster that a backup is of.
func BackupID(b backup.Backup) (string, error) {
	d, err := decodeDocuments(b.Documents)
	return d.identity.ClusterID, err
}

// RestoreNodes are the nodes to look at before a backup is restored for what w
// wants; nil means what the backup wants.
func RestoreNodes(b backup.Backup, w *otto.Wanted) ([]otto.Node, error) {
	d, err := decodeDocuments(b.Documents)
	if err != nil {
		return nil, err
	}
	var nodes []otto.Node
	if w != nil { // how to reach a node is as the file says now
		nodes = slices.Clone(w.Nodes)
	}
	for _, n := range slices.Concat(d.desired.Wanted.Nodes, d.desired.Leaving) {
		if !hasNode(nodes, n.ID) {
			nodes = append(nodes, n)
		}
	}
	return nodes, nil
}

// Built are the services that run what was built, as a backup has them.
func Built(b backup.Backup) (map[string]otto.Service, error) {
	d, err := decodeDocuments(b.Documents)
	built := map[string]otto.Service{}
	for _, s := range d.desired.Wanted.Services {
		if otto.BuiltImage(s.Spec.Image) {
			built[s.Name] = s
		}
	}
	return built, err
}

// Reconcile brings a backup in line with what was found on the nodes, by their
// ids, and tells what follows when w is wanted; nil means what the backup wants.
// It is pure.
func Reconcile(b backup.Backup, w *otto.Wanted, sights map[string]Sight) (Restored, error) {
	d, err := decodeDocuments(b.Documents)
	if err != nil {
		return Restored{}, err
	}
	r := reconciling{was: d, sights: map[string]sight{}, replaced: map[string]ed25519.PublicKey{}}
	if w == nil {
		w = &d.desired.Wanted
	} else {
		of, err := keyed(d.identity.ContentKey, *w, d.desired)
		if err != nil {
			return Restored{}, err
		}
		w = &of
	}
	r.seen = max(d.epoch, d.deposed.By)
	for id, s := range sights {
		r.sights[id] = r.open(id, s)
	}
	nodes, err := RestoreNodes(b, w)
	if err != nil {
		return Restored{}, err
	}
	for _, n := range nodes {
		if s, ok := r.sights[n.ID]; !ok || s.why != "" {
			r.blind = true
		}
	}
	next := d
	next.epoch, next.deposed = r.seen, deposed{}
	next.identity.Renewal.Due = next.identity.Renewal.Due || r.blind || len(r.replaced) > 0
	for _, id := range slices.Sorted(maps.Keys(r.replaced)) {
		next.identity = next.identity.replacing(r.replaced[id])
	}
	if r.blind {
		next.epoch += unseenEpochs
	}
	next.desired = r.adopt(*w)
	for id, s := range r.sights { // a node knows what a person has decided since the backup
		if len(s.data) > 0 {
			next.data = next.data.with(id, learned(next.data[id], s.data))
		}
	}
	was := plan.NewIndex(d.desired.Wanted, nil)
	now := plan.NewIndex(*w, was)
	if err := plan.Refuse(was, now, next.desired.Placement, next.data.held()); err != nil {
		return Restored{}, err
	}
	findings := r.tell(next.desired.with(*w, was, now), nodes)
	documents, err := encodeDocuments(next)
	return Restored{Documents: documents, Findings: findings, Seen: r.seen}, err
}

// sight is a Sight that has been checked.
type sight struct {
	why        string // the node could not be looked at; empty if it could
	bare       bool   // no agent of the cluster is there
	assignment *otto.Assignment
	containers []wire.Seen
	volumes    map[string]bool
	data       []otto.Data
}

// runs is the container that runs an instance, nil for none.
func (s sight) runs(instance string) *wire.Seen {
	i := slices.IndexFunc(s.containers, func(c wire.Seen) bool { return c.Instance == instance && c.Runs() })
	if i < 0 {
		return nil
	}
	return &s.containers[i]
}

// reconciling is a restore in the making.
type reconciling struct {
	was    documents
	sights map[string]sight
	seen   uint64
	blind  bool // not every node could be looked at
	// replaced are keys of the cluster that nodes have and the backup does not: they have
	// been renewed since.
	replaced map[string]ed25519.PublicKey
}

func (r *reconciling) open(node string, s Sight) sight {
	switch {
	case s.Err != nil:
		return sight{why: s.Err.Error()}
	case s.ClusterID == "":
		return sight{bare: true}
	case s.ClusterID != r.was.identity.ClusterID || s.NodeID != node:
		return sight{why: "it belongs to another cluster, or is another node of this one"}
	}
	out := sight{containers: s.Containers, volumes: map[string]bool{}, data: s.Data}
	for _, v := range s.Volumes {
		out.volumes[v] = true
	}
	keys, trusted := r.was.identity.everTrusted(), true
	if len(s.Key) > 0 && !r.was.identity.knows(s.Key) { // SSH says that it is this node: what it obeys counts
		r.replaced[node] = s.Key
		trusted, keys = false, append(keys, s.Key)
	}
	for _, key := range keys {
		a, err := wire.OpenAssignment(key, r.was.identity.ClusterID, node, s.Assignment)
		if err != nil {
			continue // it never got one, or lost it: what runs there is known all the same
		}
		out.assignment = &a
		seen := a.Revision.Epoch
		if w, err := wire.OpenWarrant(key, r.was.identity.ClusterID, a.Warrant); err == nil {
			seen = max(seen, w.Epoch)
		}
		if !trusted { // any number can be in it
			seen = min(seen, r.was.epoch+unseenEpochs)
		}
		r.seen = max(r.seen, seen)
		break
	}
	return out
}

// adopt is what was desired, with every instance where it really is.
func (r *reconciling) adopt(w otto.Wanted) desired {
	d := r.was.desired
	d.Restored = true
	d.Placement, d.Holders, d.Given = maps.Clone(d.Placement), maps.Clone(d.Holders), nil
	if d.Placement == nil {
		d.Placement = plan.Placement{}
	}
	if d.Holders == nil {
		d.Holders = map[string]string{}
	}
	all := otto.Wanted{
		Nodes:    slices.Concat(d.Wanted.Nodes, w.Nodes),
		Services: slices.Concat(d.Wanted.Services, w.Services),
	}
	for _, s := range all.Services {
		for _, name := range all.InstanceNames(s) {
			at, running := r.whereabouts(name)
			if at == "" {
				continue
			}
			d.Placement[name] = at
			if !s.Stateful() {
				continue
			}
			switch holder := d.Holders[name]; {
			case running || !s.Mobile():
				d.Holders[name] = at
			case holder != "" && (!r.known(holder) || r.sights[holder].why != ""):
				// It may still run there: it is waited for.
			default:
				d.Holders[name] = outOfSight
			}
		}
	}
	return d
}

func (r *reconciling) known(node string) bool {
	_, ok := r.sights[node]
	return ok
}

// whereabouts is the node that an instance is on, by the best that is known:
// where it runs, else who was told last to run it, else as the backup has it.
func (r *reconciling) whereabouts(instance string) (node string, running bool) {
	type trace struct {
		node    string
		running bool
		told    otto.Revision
		former  bool // the backup has it there
	}
	var best trace
	for _, id := range slices.Sorted(maps.Keys(r.sights)) {
		s := r.sights[id]
		t := trace{node: id, running: s.runs(instance) != nil, former: r.was.desired.Placement[instance] == id}
		if s.assignment != nil &&
			slices.ContainsFunc(s.assignment.Instances, func(i otto.Instance) bool { return i.Name == instance }) {
			t.told = s.assignment.Revision
		}
		if !t.running && t.told.Epoch < r.was.epoch {
			continue // the backup is newer than that
		}
		order := cmp.Or(
			compareBool(t.running, best.running),
			compareRevision(t.told, best.told),
			compareBool(t.former, best.former),
		)
		if best.node == "" || order > 0 {
			best = t
		}
	}
	if best.node == "" || !best.running && best.told == (otto.Revision{}) {
		return r.was.desired.Placement[instance], false
	}
	return best.node, best.running
}

// decodeDocuments reads the documents of a store.
func decodeDocuments(raw map[string]json.RawMessage) (documents, error) {
	var d documents
	for key, into := range map[string]any{keyIdentity: &d.identity, keyEpoch: &d.epoch, keyDesired: &d.desired, keyEnrolled: &d.enrolled, keyDeposed: &d.deposed, keyData: &d.data, keyTakeovers: &d.takeovers} {
		b, ok := raw[key]
		if !ok && (key == keyDeposed || key == keyData || key == keyTakeovers) {
			continue
		}
		if !ok {
			return d, fmt.Errorf("the backup lacks the document %s", key)
		}
		if err := json.Unmarshal(b, into); err != nil {
			return d, fmt.Errorf("the backup's document %s is unreadable: %w", key, err)
		}
	}
	if err := d.identity.newer(); err != nil {
		return d, err
	}
	if len(d.identity.Key) != ed25519.PrivateKeySize || d.identity.ClusterID == "" {
		return d, errors.New("the backup has no signing key of its cluster")
	}
	return d, nil
}

func encodeDocuments(d documents) (map[string]json.RawMessage, error) {
	raw := map[string]json.RawMessage{}
	for key, value := range map[string]any{keyIdentity: d.identity, keyEpoch: d.epoch, keyDesired: d.desired, keyEnrolled: d.enrolled, keyDeposed: d.deposed, keyData: d.data, keyTakeovers: d.takeovers} {
		if key == keyTakeovers && len(d.takeovers) == 0 {
			continue // as in a cluster that has never taken anything over
		}
		b, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		raw[key] = b
	}
	return raw, nil
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func compareRevision(a, b otto.Revision) int {
	return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Number, b.Number))
}
