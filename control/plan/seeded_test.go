package plan

import (
	"strings"
	"testing"

	"github.com/otto-edge/otto"
)

// beside is a service with a folder beside its Compose file, copied to a volume of its node.
func beside(name, folder, volume string) otto.Service {
	s := service(name, "a", 1)
	s.Spec.Image = "postgres:16"
	s.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: volume, Target: "/data", External: true, Seed: "./" + folder}}
	s.Seeds = otto.Seeds{volume: {Project: "/home/me/shop", Path: folder, Name: "./" + folder}}
	return s
}

// TestNobodyBeginsWithOlderDataByAnotherName: what is on this machine is older than what a
// service has run with on its node.
func TestNobodyBeginsWithOlderDataByAnotherName(t *testing.T) {
	shop := beside("shop/db", "data/db", "shop.data_db")
	for _, tt := range []struct {
		name          string
		now           otto.Service
		refused, note string
	}{
		{
			"stack renamed", beside("store/db", "data/db", "store.data_db"),
			"service store/db would begin with the data ./data/db of this machine: what service shop/db has run with is in volume " +
				"shop.data_db on node a: leave the name of the stack and what its services mount of that folder as they were, or move " +
				"it by hand: `otto stack rm shop`, copy what is in ./data/db on a to a folder of another name", "",
		},
		{"more of the folder", beside("shop/db", "data", "shop.data"), "service shop/db would begin with the data ./data of this machine", ""},
		{"less of the folder", beside("shop/db", "data/db/16", "shop.data_db_16"), "would begin with the data ./data/db/16", ""},
		{
			"another folder", beside("shop/db", "new", "shop.new"), "",
			"service shop/db begins with the data ./new of this machine; the data of service shop/db stays in volume shop.data_db on node a",
		},
		{"the same", shop, "", ""},
		{
			"a volume of the engine", keeper("shop/db", "a", "shop_data", "data"), "",
			"the data of service shop/db stays in volume shop.data_db on node a",
		},
		{"another service", beside("shop/web", "data", "shop.data"), "service shop/web would begin with", ""},
		{"disposable", func() otto.Service {
			s := beside("store/db", "data/db", "store.data_db")
			s.Data = otto.DataDisposable
			return s
		}(), "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			was := NewIndex(otto.Wanted{Nodes: []otto.Node{{ID: "a"}}, Services: []otto.Service{shop}}, nil)
			now := NewIndex(otto.Wanted{Nodes: []otto.Node{{ID: "a"}}, Services: []otto.Service{tt.now}}, nil)
			placed := Placement{"shop/db": "a"}
			err := Refuse(was, now, placed, nil)
			switch {
			case tt.refused == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.refused != "" && (err == nil || !strings.Contains(err.Error(), tt.refused)):
				t.Errorf("got  %v\nwant %s", err, tt.refused)
			}
			notes := strings.Join(Notes(was, now, placed, nil), "\n")
			if (tt.note == "") != (notes == "") || !strings.Contains(notes, tt.note) {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
		})
	}
}
