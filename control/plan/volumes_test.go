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
				NewIndex(otto.Wanted{Nodes: nodes, Services: tt.now}, nil), placed)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}
