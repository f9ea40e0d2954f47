package control

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/wire"
)

func TestImagesOfAReport(t *testing.T) {
	for name, tt := range map[string]struct {
		report string
		want   map[string]int64
	}{
		"an agent of before":       {`{"node_id": "a", "images": ["db:1", "web:1"]}`, map[string]int64{"db:1": 0, "web:1": 0}},
		"one of now":               {`{"node_id": "a", "images": ["db:1", "web:1"], "image_bytes": [7, 9]}`, map[string]int64{"db:1": 7, "web:1": 9}},
		"sizes of something else":  {`{"node_id": "a", "images": ["db:1", "web:1"], "image_bytes": [7]}`, map[string]int64{"db:1": 0, "web:1": 0}},
		"sizes that make no sense": {`{"node_id": "a", "images": ["db:1", "web:1"], "image_bytes": [-7, 9223372036854775807]}`, map[string]int64{"db:1": 0, "web:1": maxImage}},
		"nothing said":             {`{"node_id": "a"}`, nil},
	} {
		r, err := wire.DecodeReport("a", []byte(tt.report))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, imagesOf(r)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
