package control

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/backup"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/wire"
)

// The backup of these tests is of epoch 5 and has web and db, and perhaps others,
// on nodes a, b and c.

func testKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) }

func stateless(name string) otto.Service {
	return otto.Service{Name: name, Replicas: 1, Spec: otto.ContainerSpec{Image: name}}
}

func withData(name, data string) otto.Service {
	s := stateless(name)
	s.Data = data
	s.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: name + "-data", Target: "/data"}}
	return s
}

func backupOf(t testing.TB, services []otto.Service, placed plan.Placement) backup.Backup {
	t.Helper()
	w := otto.Wanted{Revision: 7, Services: services}
	holders := map[string]string{}
	for _, id := range []string{"a", "b", "c"} {
		w.Nodes = append(w.Nodes, otto.Node{ID: id, Host: id})
	}
	for _, s := range services {
		if s.Stateful() && placed[s.Name] != "" {
			holders[s.Name] = placed[s.Name]
		}
	}
	raw, err := encodeDocuments(documents{
		identity: identity{Name: "home", ClusterID: "c1", Key: testKey()}, epoch: 5,
		desired: desired{Wanted: w, Placement: placed, Holders: holders},
	})
	if err != nil {
		t.Fatal(err)
	}
	return backup.Backup{Cluster: "home", Documents: raw}
}

// seen is a node that was told at a revision to run what it runs.
func seen(t testing.TB, node string, told otto.Revision, runs ...otto.Service) Sight {
	t.Helper()
	l := wire.Look{ClusterID: "c1", NodeID: node}
	warrant, err := wire.SignWarrant(testKey(), wire.Warrant{ClusterID: "c1", Epoch: told.Epoch, Process: "p"})
	if err != nil {
		t.Fatal(err)
	}
	a := otto.Assignment{ClusterID: "c1", Node: node, Revision: told, Warrant: warrant}
	for _, s := range runs {
		a.Instances = append(a.Instances, otto.Instance{Name: s.Name, Service: s.Name, Spec: s.Spec})
		l.Containers = append(l.Containers, wire.Seen{
			Name: s.Name, Service: s.Name, Instance: s.Name, SpecHash: s.Spec.Hash(), Image: s.Spec.Image, State: otto.ContainerRunning,
		})
		for _, m := range s.Spec.Mounts {
			l.Volumes = append(l.Volumes, m.Source)
		}
	}
	if l.Assignment, err = wire.SignAssignment(testKey(), a); err != nil {
		t.Fatal(err)
	}
	return Sight{Look: l}
}

// halted has the containers of a sight stopped.
func halted(s Sight) Sight {
	s.Containers = slices.Clone(s.Containers)
	for i := range s.Containers {
		s.Containers[i].State = otto.ContainerExited
	}
	return s
}

func untold(s Sight) Sight {
	s.Assignment = nil
	return s
}

func lines(findings []Finding) (list []string) {
	for _, f := range findings {
		list = append(list, strings.Join(strings.Fields(fmt.Sprint(f.Verdict, " ", f.Instance, " ", f.Node)), " "))
	}
	return list
}

func TestRestoreFollowsWhatReallyRuns(t *testing.T) {
	web, db := stateless("web"), withData("db", "")
	cache := withData("cache", otto.DataDisposable)
	at := func(number uint64) otto.Revision { return otto.Revision{Epoch: 5, Number: number} }
	unreachable := Sight{Err: errors.New("no answer")}
	newer := web
	newer.Spec.Image = "web:2"
	job := stateless("job")
	job.Spec.Restart = "on-failure:3"
	pinned := stateless("web")
	pinned.Node = "a"
	for name, c := range map[string]struct {
		services []otto.Service
		placed   plan.Placement
		sights   map[string]Sight
		want     []string
		placedAt plan.Placement
		holders  map[string]string
	}{
		"all as it was": {
			[]otto.Service{web, db},
			plan.Placement{"web": "a", "db": "b"},
			map[string]Sight{"a": seen(t, "a", at(1), web), "b": seen(t, "b", at(2), db), "c": seen(t, "c", at(3))},
			[]string{"keeps web a", "keeps db b"},
			plan.Placement{"web": "a", "db": "b"},
			map[string]string{"db": "b"},
		},
		"moved since": {
			[]otto.Service{web, cache},
			plan.Placement{"web": "a", "cache": "a"},
			map[string]Sight{"a": seen(t, "a", at(9)), "b": seen(t, "b", at(8), web, cache), "c": seen(t, "c", at(3))},
			[]string{"adopts web b", "adopts cache b"},
			plan.Placement{"web": "b", "cache": "b"},
			map[string]string{"cache": "b"},
		},
		"moved since, from a node that cannot be looked at": {
			[]otto.Service{web, cache},
			plan.Placement{"web": "a", "cache": "a"},
			map[string]Sight{"a": unreachable, "b": seen(t, "b", at(8), web, cache), "c": seen(t, "c", at(3))},
			[]string{"unseen a", "adopts web b", "adopts cache b"},
			plan.Placement{"web": "b", "cache": "b"},
			map[string]string{"cache": "b"},
		},
		"a node that cannot be looked at": {
			[]otto.Service{web, db, cache},
			plan.Placement{"web": "a", "db": "a", "cache": "a"},
			map[string]Sight{"a": unreachable, "b": seen(t, "b", at(2)), "c": seen(t, "c", at(3))},
			[]string{"unseen a", "unseen web a", "unseen db a", "unseen cache a"},
			plan.Placement{"web": "a", "db": "a", "cache": "a"},
			map[string]string{"db": "a", "cache": "a"},
		},
		"told to run it and not running yet, while the former holder is out of sight": {
			[]otto.Service{cache},
			plan.Placement{"cache": "a"},
			map[string]Sight{"a": unreachable, "b": halted(seen(t, "b", at(8), cache)), "c": seen(t, "c", at(3))},
			[]string{"unseen a", "starts cache b"},
			plan.Placement{"cache": "b"},
			map[string]string{"cache": "a"}, // which is waited for
		},
		"an assignment older than the backup, and nothing running": {
			[]otto.Service{cache},
			plan.Placement{"cache": "a"},
			map[string]Sight{"a": seen(t, "a", at(1)), "b": halted(seen(t, "b", otto.Revision{Epoch: 4, Number: 9}, cache)), "c": seen(t, "c", at(3))},
			[]string{"starts cache a"},
			plan.Placement{"cache": "a"},
			map[string]string{"cache": outOfSight},
		},
		"running twice": { // the one that was told later is the one
			[]otto.Service{web},
			plan.Placement{"web": "a"},
			map[string]Sight{"a": seen(t, "a", at(1), web), "b": seen(t, "b", at(2), web), "c": seen(t, "c", at(3))},
			[]string{"adopts web b", "stops web a"},
			plan.Placement{"web": "b"},
			nil,
		},
		"running without an assignment": {
			[]otto.Service{web},
			plan.Placement{"web": "a"},
			map[string]Sight{"a": seen(t, "a", at(1)), "b": untold(seen(t, "b", at(2), web)), "c": seen(t, "c", at(3))},
			[]string{"adopts web b"},
			plan.Placement{"web": "b"},
			nil,
		},
		"unknown to the backup": {
			[]otto.Service{web},
			plan.Placement{"web": "a"},
			map[string]Sight{"a": seen(t, "a", at(1), web), "b": seen(t, "b", at(2), stateless("new")), "c": seen(t, "c", at(3))},
			[]string{"keeps web a", "stops new b"},
			plan.Placement{"web": "a"},
			nil,
		},
		"changed since": {
			[]otto.Service{web},
			plan.Placement{"web": "a"},
			map[string]Sight{"a": seen(t, "a", at(1), newer), "b": seen(t, "b", at(2)), "c": seen(t, "c", at(3))},
			[]string{"changes web a"},
			plan.Placement{"web": "a"},
			nil,
		},
		"not running": {
			[]otto.Service{web, job, db},
			plan.Placement{"web": "a", "job": "a", "db": "b"},
			map[string]Sight{"a": halted(seen(t, "a", at(1), web, job)), "b": halted(seen(t, "b", at(2), db)), "c": seen(t, "c", at(3))},
			[]string{"starts web a", "keeps job a", "starts db b"},
			plan.Placement{"web": "a", "job": "a", "db": "b"},
			map[string]string{"db": "b"},
		},
		"runs away from home": { // told as it is: it goes home
			[]otto.Service{pinned},
			plan.Placement{"web": "a"},
			map[string]Sight{"a": seen(t, "a", at(1)), "b": seen(t, "b", at(2), pinned), "c": seen(t, "c", at(3))},
			[]string{"starts web a", "stops web b"},
			plan.Placement{"web": "b"},
			nil,
		},
		"data on a machine that is another one now": {
			[]otto.Service{db},
			plan.Placement{"db": "a"},
			map[string]Sight{"a": {}, "b": seen(t, "b", at(2)), "c": seen(t, "c", at(3))},
			[]string{"joins a", "lacks db a"},
			plan.Placement{"db": "a"},
			map[string]string{"db": "a"},
		},
		"volume gone": {
			[]otto.Service{db},
			plan.Placement{"db": "a"},
			map[string]Sight{"a": seen(t, "a", at(1)), "b": halted(untold(seen(t, "b", at(2), db))), "c": seen(t, "c", at(3))},
			[]string{"lacks db a"},
			plan.Placement{"db": "a"},
			map[string]string{"db": "a"},
		},
		"not placed yet, and its data is there": {
			[]otto.Service{db},
			plan.Placement{},
			map[string]Sight{"a": seen(t, "a", at(1)), "b": halted(untold(seen(t, "b", at(2), db))), "c": seen(t, "c", at(3))},
			[]string{"starts db b"},
			plan.Placement{},
			nil,
		},
		"data on a machine that is another one now, and not needed": {
			[]otto.Service{cache},
			plan.Placement{"cache": "a"},
			map[string]Sight{"a": {}, "b": seen(t, "b", at(2)), "c": seen(t, "c", at(3))},
			[]string{"joins a", "starts cache a"},
			plan.Placement{"cache": "a"},
			map[string]string{"cache": outOfSight},
		},
		"another cluster there": {
			[]otto.Service{web},
			plan.Placement{"web": "a"},
			map[string]Sight{"a": {Look: wire.Look{ClusterID: "c2", NodeID: "a"}}, "b": seen(t, "b", at(2)), "c": seen(t, "c", at(3))},
			[]string{"unseen a", "unseen web a"},
			plan.Placement{"web": "a"},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Reconcile(backupOf(t, c.services, c.placed), nil, c.sights)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, lines(r.Findings)); diff != "" {
				t.Error(diff)
			}
			d, err := decodeDocuments(r.Documents)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.placedAt, d.desired.Placement); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.holders, d.desired.Holders); diff != "" {
				t.Error(diff)
			}
			if !d.desired.Restored || d.desired.Wanted.Revision != 7 {
				t.Errorf("restored %t, revision %d", d.desired.Restored, d.desired.Wanted.Revision)
			}
			for _, f := range r.Findings {
				if f.Verdict != Keeps && f.Reason == "" {
					t.Errorf("no reason: %+v", f)
				}
			}
		})
	}
}

func TestRestoredEpochIsAboveAllThatAreSeen(t *testing.T) {
	b := backupOf(t, []otto.Service{stateless("web")}, plan.Placement{"web": "a"})
	epoch := func(b backup.Backup, sights map[string]Sight) (kept, seen uint64) {
		t.Helper()
		r, err := Reconcile(b, nil, sights)
		if err != nil {
			t.Fatal(err)
		}
		d, err := decodeDocuments(r.Documents)
		if err != nil || d.deposed.By != 0 {
			t.Fatal(d.deposed, err)
		}
		return d.epoch, r.Seen
	}
	all := map[string]Sight{
		"a": seen(t, "a", otto.Revision{Epoch: 5}), "b": seen(t, "b", otto.Revision{Epoch: 8, Number: 3}), "c": seen(t, "c", otto.Revision{Epoch: 7}),
	}
	if kept, seen := epoch(b, all); kept != 8 || seen != 8 { // the next start begins one above it
		t.Errorf("epoch %d, seen %d", kept, seen)
	}
	delete(all, "c")
	if kept, seen := epoch(b, all); kept != 8+unseenEpochs || seen != 8 {
		t.Errorf("with a node out of sight: epoch %d, seen %d", kept, seen)
	}
	deposedBy, err := json.Marshal(deposed{By: 12})
	if err != nil {
		t.Fatal(err)
	}
	b.Documents[keyDeposed] = deposedBy
	if kept, _ := epoch(b, map[string]Sight{"a": {}, "b": {}, "c": {}}); kept != 12 {
		t.Errorf("of one that had stepped down: epoch %d", kept)
	}
}

func TestForgedAssignmentMovesNothing(t *testing.T) {
	web := stateless("web")
	forged := halted(seen(t, "b", otto.Revision{Epoch: 99}, web))
	forged.Assignment = []byte(strings.Replace(string(forged.Assignment), `"epoch":99`, `"epoch":98`, 1))
	r, err := Reconcile(backupOf(t, []otto.Service{web}, plan.Placement{"web": "a"}), nil, map[string]Sight{
		"a": seen(t, "a", otto.Revision{Epoch: 5, Number: 1}, web), "b": forged, "c": {},
	})
	if err != nil || r.Seen != 5 || lines(r.Findings)[1] != "keeps web a" {
		t.Errorf("%v: seen %d, %q", err, r.Seen, lines(r.Findings))
	}
}

func TestRestoreForAnotherFile(t *testing.T) {
	web, db, added := stateless("web"), withData("db", ""), stateless("added")
	b := backupOf(t, []otto.Service{web, db}, plan.Placement{"web": "a", "db": "b"})
	sights := map[string]Sight{
		"a": seen(t, "a", otto.Revision{Epoch: 5, Number: 1}, web), "b": seen(t, "b", otto.Revision{Epoch: 5, Number: 1}, db),
		"c": seen(t, "c", otto.Revision{Epoch: 5, Number: 1}, added), "d": {},
	}
	w := otto.Wanted{
		Nodes:    []otto.Node{{ID: "b", Host: "b"}, {ID: "c", Host: "c"}, {ID: "d", Host: "d"}},
		Services: []otto.Service{db, added},
	}
	r, err := Reconcile(b, &w, sights)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"joins d", "leaves a", "keeps db b", "adopts added c", "stops web a"}, lines(r.Findings)); diff != "" {
		t.Error(diff)
	}
	w.Services[0].Node = "c"
	if _, err := Reconcile(b, &w, sights); err == nil || !strings.Contains(err.Error(), "keeps its data on node b") {
		t.Errorf("data would be left behind: %v", err)
	}
}

func TestBackupWithoutADocumentIsNoBackup(t *testing.T) {
	for _, key := range []string{keyIdentity, keyEpoch, keyDesired, keyEnrolled} {
		b := backupOf(t, nil, nil)
		delete(b.Documents, key)
		if _, err := Reconcile(b, nil, nil); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("without %s: %v", key, err)
		}
		b.Documents[key] = json.RawMessage(`"x"`)
		if _, err := Reconcile(b, nil, nil); err == nil {
			t.Errorf("with an unreadable %s", key)
		}
	}
}

func TestSnapshotsGoToTwoReadyNodesAndStayThere(t *testing.T) {
	node := func(id string, flags string) snapshotCandidate {
		return snapshotCandidate{
			id: id, ready: strings.Contains(flags, "r"), keeps: strings.Contains(flags, "k"), fails: strings.Contains(flags, "f"),
		}
	}
	for _, c := range []struct {
		list []snapshotCandidate
		want string
	}{
		{nil, ""},
		{[]snapshotCandidate{node("a", "r")}, "a"},
		{[]snapshotCandidate{node("a", "r"), node("b", "r"), node("c", "r")}, "a b"},
		{[]snapshotCandidate{node("c", "r"), node("b", "r"), node("a", "r")}, "a b"},
		{[]snapshotCandidate{node("a", "r"), node("b", "rk"), node("c", "rk")}, "b c"},
		{[]snapshotCandidate{node("a", "r"), node("b", "k"), node("c", "rk")}, "c a"},
		{[]snapshotCandidate{node("a", "r"), node("b", "rkf"), node("c", "rk")}, "c a"},
		{[]snapshotCandidate{node("a", "f"), node("b", "rf")}, "b"},
	} {
		if got := strings.Join(chooseSnapshotNodes(c.list), " "); got != c.want {
			t.Errorf("%+v: %q, want %q", c.list, got, c.want)
		}
	}
}

func FuzzReconcile(f *testing.F) {
	web, db := stateless("web"), withData("db", "")
	whole := backupOf(f, []otto.Service{web, db}, plan.Placement{"web": "a", "db": "b"})
	f.Add([]byte(whole.Documents[keyDesired]), []byte(`{"cluster_id":"c1","node_id":"a","containers":[{"instance":"web","state":"running"}]}`))
	f.Fuzz(func(t *testing.T, desired, look []byte) {
		l, err := wire.DecodeLook(look)
		if err != nil {
			return
		}
		b := backupOf(t, nil, nil)
		b.Documents[keyDesired] = desired
		for _, s := range decodedServices(desired) {
			if s.Replicas > 100 || s.Replicas < 0 {
				return // config allows no such thing
			}
		}
		_, _ = Reconcile(b, nil, map[string]Sight{"a": {Look: l}, "b": {Look: l, Err: errors.New("x")}})
	})
}

func decodedServices(b []byte) []otto.Service {
	var d desired
	_ = json.Unmarshal(b, &d)
	return d.Wanted.Services
}
