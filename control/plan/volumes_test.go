package plan

import (
	"strings"
	"testing"

	"github.com/otto-edge/otto"
)

// keeper is a service with a volume that the file gives no name, or a name.
func keeper(name, node, volume, key string) otto.Service {
	s := service(name, node, 1)
	s.Spec.Image = "postgres:16"
	s.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: volume, Target: "/data"}}
	if key != "" {
		s.Implied = map[string]otto.ImpliedVolume{volume: {Key: key, At: "shop/compose.yaml:4:7"}}
	}
	return s
}

func TestNobodyBeginsWithAnEmptyVolumeByAnotherName(t *testing.T) {
	with := func(s otto.Service, change func(*otto.Service)) otto.Service {
		change(&s)
		return s
	}
	for _, tt := range []struct {
		name     string
		was, now []otto.Service
		want     string // empty: nothing is refused
	}{
		{
			"into a stack",
			[]otto.Service{keeper("db", "", "db", "db")},
			[]otto.Service{keeper("shop/db", "a", "shop_db", "db")},
			"shop/compose.yaml:4:7: service shop/db would begin with an empty volume shop_db: the data of service db is in volume db on node a: " +
				"write `volumes: {db: {name: db}}` to keep it, or {name: shop_db} to begin without it",
		},
		{"out of a stack", []otto.Service{keeper("shop/db", "a", "shop_db", "db")}, []otto.Service{keeper("db", "", "db", "db")}, "volumes: {db: {name: shop_db}}"},
		{"stack renamed", []otto.Service{keeper("shop/db", "a", "shop_db", "db")}, []otto.Service{keeper("store/db", "a", "store_db", "db")}, "volumes: {db: {name: shop_db}}"},
		{"stack and service renamed", []otto.Service{keeper("shop/db", "a", "shop_db", "db")}, []otto.Service{keeper("store/sql", "a", "store_db", "db")}, "volumes: {db: {name: shop_db}}"},
		{"key renamed", []otto.Service{keeper("shop/db", "a", "shop_db", "db")}, []otto.Service{keeper("shop/db", "a", "shop_data", "data")}, "volumes: {data: {name: shop_db}}"},
		{"name taken out", []otto.Service{keeper("shop/db", "a", "home_db", "")}, []otto.Service{keeper("shop/db", "a", "shop_db", "db")}, "volumes: {db: {name: home_db}}"},
		{"mounted elsewhere in the container, too", []otto.Service{keeper("db", "", "db", "db")}, []otto.Service{with(keeper("shop/db", "a", "shop_db", "db"), func(s *otto.Service) { s.Spec.Mounts[0].Target = "/var" })}, "name: db}"},
		{"the line was written", []otto.Service{keeper("db", "", "db", "db")}, []otto.Service{keeper("shop/db", "a", "db", "")}, ""},
		{"a new one is meant", []otto.Service{keeper("db", "", "db", "db")}, []otto.Service{keeper("shop/db", "a", "shop_db", "")}, ""},
		{"service renamed, not its volume", []otto.Service{keeper("db", "", "data", "data")}, []otto.Service{keeper("sql", "a", "data", "data")}, ""},
		{"another one beside it", []otto.Service{keeper("db", "", "db", "db")}, []otto.Service{keeper("db", "", "db", "db"), keeper("shop/db", "a", "shop_db", "db")}, ""},
		{"another image and name", []otto.Service{keeper("db", "", "db", "db")}, []otto.Service{with(keeper("shop/web", "a", "shop_db", "db"), func(s *otto.Service) { s.Spec.Image = "nginx" })}, ""},
		{"disposable", []otto.Service{keeper("db", "", "db", "db")}, []otto.Service{with(keeper("shop/db", "a", "shop_db", "db"), func(s *otto.Service) { s.Data = otto.DataDisposable })}, ""},
		{"it never ran", []otto.Service{keeper("idle", "", "db", "db")}, []otto.Service{keeper("shop/idle", "a", "shop_db", "db")}, ""},
		{
			"kept by its name, and sent to another node",
			[]otto.Service{keeper("db", "", "db", "db")},
			[]otto.Service{keeper("shop/db", "b", "db", "")},
			"service shop/db would begin with an empty volume db on node b: that of service db is on node a: write node: a",
		},
		{"kept by its name, and left to the scheduler", []otto.Service{keeper("db", "", "db", "db")}, []otto.Service{keeper("shop/db", "", "db", "")}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nodes := []otto.Node{{ID: "a"}, {ID: "b"}}
			placed := Placement{"db": "a", "shop/db": "a"}
			err := Refuse(NewIndex(otto.Wanted{Nodes: nodes, Services: tt.was}, nil),
				NewIndex(otto.Wanted{Nodes: nodes, Services: tt.now}, nil), placed, nil)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestNobodyLeavesTheDataOfAnotherNode is of services that come, and of what is
// remembered of volumes whose services are gone.
func TestNobodyLeavesTheDataOfAnotherNode(t *testing.T) {
	db := func(node string) otto.Service { return keeper("shop/db", node, "shop_data", "data") }
	named := func(s otto.Service) otto.Service { s.Implied = nil; return s }
	with := func(s otto.Service, change func(*otto.Service)) otto.Service {
		change(&s)
		return s
	}
	external := func(s *otto.Service) { s.Spec.Mounts[0].External = true }
	disposable := func(s *otto.Service) { s.Data = otto.DataDisposable }
	web := service("shop/web", "", 1)
	web.Unit = "shop"
	joins := db("")
	joins.Unit = "shop"
	onA, onBoth := Held{"shop_data": {"a"}}, Held{"shop_data": {"a", "b"}}
	for _, tt := range []struct {
		name     string
		was, now []otto.Service
		placed   Placement
		held     Held
		refused  string
		note     string
	}{
		{
			"it comes again on another node", nil,
			[]otto.Service{db("b")},
			nil, onA,
			"service shop/db would begin with an empty volume shop_data on node b: the one that services have run with is on node a: " +
				"write node: a to keep its data, or `volumes: {data: {name: ANOTHER}}` to begin without it, or move it by hand: " +
				"copy volume shop_data from a to b, write `volumes: {data: {name: shop_data, external: true}}`, and apply it with node: b", "",
		},
		{"it comes again, and is left to the scheduler", nil, []otto.Service{db("")}, nil, onA, "", ""},
		{"it comes again where its data is", nil, []otto.Service{db("a")}, nil, onA, "", ""},
		{"the first time", nil, []otto.Service{db("b")}, nil, Held{"other": {"a"}}, "", ""},
		{"by the name of its volume", nil, []otto.Service{named(db("b"))}, nil, onA, "begin with an empty volume shop_data on node b", ""},
		{"moved by hand", nil, []otto.Service{with(db("b"), external)}, nil, onA, "", ""},
		{"disposable", nil, []otto.Service{with(db("b"), disposable)}, nil, onA, "", ""},
		{
			"two nodes have such a volume", nil,
			[]otto.Service{db("")},
			nil, onBoth,
			"service shop/db may get volume shop_data of node a or of node b, and each has data of its own: write node: with one of them", "",
		},
		{
			"two nodes have such a volume, and one is named", nil,
			[]otto.Service{db("b")},
			nil, onBoth, "",
			"service shop/db gets volume shop_data of node b, with the data that services had in it there; another one of that name, with data of its own, is on node a: write node: a",
		},
		{
			"each node has its own", nil, []otto.Service{db("a"), keeper("other/db", "b", "shop_data", "data")}, nil, onA, "", "",
		},
		{
			"one beside it",
			[]otto.Service{db("a")},
			[]otto.Service{db("a"), keeper("other/db", "b", "shop_data", "data")},
			Placement{"shop/db": "a"},
			onA, "", "",
		},
		{
			"into a stack that is on another node",
			[]otto.Service{web},
			[]otto.Service{web, joins},
			Placement{"shop/web": "b"},
			onA, "begin with an empty volume shop_data on node b", "",
		},
		{
			"a service that is elsewhere mounts it",
			[]otto.Service{service("shop/db", "", 1)},
			[]otto.Service{db("")},
			Placement{"shop/db": "b"},
			onA, "begin with an empty volume shop_data on node b", "",
		},
		{
			"it waited for its node, and is sent to another one",
			[]otto.Service{db("")},
			[]otto.Service{db("b")},
			nil, onA,
			"begin with an empty volume shop_data on node b", "",
		},
		{"nothing is new", []otto.Service{db("")}, []otto.Service{db("")}, nil, onBoth, "", ""},
		{
			"its volume gets a name",
			[]otto.Service{db("a")},
			[]otto.Service{keeper("shop/db", "a", "other", "")},
			Placement{"shop/db": "a"},
			onA, "",
			"service shop/db gets volume other on node a, which is empty unless you have put something into it; " +
				"the data of service shop/db stays in volume shop_data on node a",
		},
		{
			"and loses it again",
			[]otto.Service{keeper("shop/db", "a", "other", "")},
			[]otto.Service{db("a")},
			Placement{"shop/db": "a"},
			Held{"shop_data": {"a"}, "other": {"a"}},
			"shop/compose.yaml:4:7: service shop/db would go back to volume shop_data on node a, with the data of an earlier time: " +
				"what service shop/db has now is in volume other on node a: " +
				"write `volumes: {data: {name: other}}` to keep that, or {name: shop_data} to go back", "",
		},
		{
			"or is named back",
			[]otto.Service{keeper("shop/db", "a", "other", "")},
			[]otto.Service{named(db("a"))},
			Placement{"shop/db": "a"},
			Held{"shop_data": {"a"}, "other": {"a"}},
			"",
			"service shop/db goes back to volume shop_data on node a, with the data of an earlier time; " +
				"what service shop/db has now stays in volume other on node a",
		},
		{
			"service and volume get another name, on another node",
			[]otto.Service{db("a")},
			[]otto.Service{keeper("shop/sql", "b", "sql", "")},
			Placement{"shop/db": "a"},
			onA, "",
			"service shop/sql gets volume sql on node b, which is empty unless you have put something into it; " +
				"the data of service shop/db stays in volume shop_data on node a",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nodes := []otto.Node{{ID: "a"}, {ID: "b"}}
			was := NewIndex(otto.Wanted{Nodes: nodes, Services: tt.was}, nil)
			now := NewIndex(otto.Wanted{Nodes: nodes, Services: tt.now}, nil)
			refused, notes := "", strings.Join(Notes(was, now, tt.placed, tt.held), "\n")
			if err := Refuse(was, now, tt.placed, tt.held); err != nil {
				refused = err.Error()
			}
			if (refused == "") != (tt.refused == "") || !strings.Contains(refused, tt.refused) || strings.Contains(refused, "\n") {
				t.Errorf("refused: %s\nwant %s", refused, tt.refused)
			}
			if (notes == "") != (tt.note == "") || !strings.Contains(notes, tt.note) || strings.Contains(notes, "\n") {
				t.Errorf("note: %s\nwant %s", notes, tt.note)
			}
		})
	}
}
