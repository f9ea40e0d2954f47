package cli

import (
	"reflect"
	"testing"

	"github.com/otto-edge/otto"
)

func TestVolumesAreListedWithWhoUsesThem(t *testing.T) {
	mounts := func(name, volume, node string) otto.ServiceStatus {
		s := otto.ServiceStatus{Instances: []otto.PlacedInstance{{Node: node}}}
		s.Name = name
		s.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: volume, Target: "/data"}}
		return s
	}
	c := &otto.Cluster{
		Nodes: []otto.NodeStatus{
			{Node: otto.Node{ID: "a"}, Lost: []otto.Data{
				{Source: "db", Problem: otto.DataMissing}, {Source: "/srv", Problem: otto.DataMissing},
			}},
			{Node: otto.Node{ID: "b"}, Lost: []otto.Data{{Source: "cache", Problem: "is another one than before"}}},
		},
		Services: []otto.ServiceStatus{mounts("db", "db", "a"), mounts("web", "cache", "b"), mounts("api", "cache", "b")},
	}
	found := []nodeVolume{{"b", otto.VolumeUse{Name: "old", Bytes: 7}}, {"b", otto.VolumeUse{Name: "cache", Bytes: 5}}}
	want := []usedVolume{
		{nodeVolume{"a", otto.VolumeUse{Name: "db", Bytes: -1}}, []string{"db"}, "is missing"},
		{nodeVolume{"b", otto.VolumeUse{Name: "cache", Bytes: 5}}, []string{"web", "api"}, "is another one than before"},
		{nodeVolume{"b", otto.VolumeUse{Name: "old", Bytes: 7}}, []string{}, ""},
	}
	if got := usedVolumes(c, found); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}
