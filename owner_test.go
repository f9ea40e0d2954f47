package otto_test

import (
	"testing"

	"github.com/otto-edge/otto"
)

func TestOwnershipIsByIDAndNeverByName(t *testing.T) {
	home := otto.Owner{Cluster: "home", ClusterID: "c1", Node: "n1"}
	for _, tc := range []struct {
		cluster, id, node string
		want              otto.Ownership
	}{
		{"", "", "", otto.Foreign},
		{"elsewhere", "", "", otto.OtherOwner},
		{"home", "", "", otto.Unproven},
		{"home", "c2", "n1", otto.OtherOwner},
		{"home", "c1", "n2", otto.OtherOwner},
		{"home", "c1", "n1", otto.Own},
		{"home", "c1", "", otto.Own}, // a network or a volume
		{"", "c2", "", otto.OtherOwner},
	} {
		labels := map[string]string{otto.LabelCluster: tc.cluster, otto.LabelClusterID: tc.id, otto.LabelNode: tc.node}
		if got := home.Of(labels); got != tc.want {
			t.Errorf("%v: got %d, want %d", labels, got, tc.want)
		}
	}
}
