package config

import (
	"maps"
	"slices"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// TestCastsAreThoseThatFilesNeed: a value is cast wherever its key may come from.
func TestCastsAreThoseThatFilesNeed(t *testing.T) {
	all := loader.ToOptions(&types.ConfigDetails{}, nil).Interpolate.TypeCastMapping
	for text, want := range map[string]int{
		"services: {a: {image: x}}":                  0,
		"services: {a: {image: x, privileged: yes}}": 1,
		"services: {a: {extends: b}}":                len(all),
		"include: [other.yaml]":                      len(all),
		`services: {a: {"privi\x6ceged": yes}}`:      len(all),
	} {
		got := castsFor(all, []types.ConfigFile{{Content: []byte("volumes: {}")}, {Content: []byte(text)}})
		if len(got) != want {
			t.Errorf("%s: got %v, want %d", text, slices.Sorted(maps.Keys(got)), want)
		}
	}
}
