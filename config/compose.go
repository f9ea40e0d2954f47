package config

import (
	"reflect"
	"strings"
)

// composeKeys returns the keys that Compose knows in a mapping, from its own
// type T, so that a key which Otto lacks is told from one that nobody has.
func composeKeys[T any]() []string { return yamlKeys(reflect.TypeFor[T]()) }

func yamlKeys(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch {
		case field.Anonymous && strings.Contains(options, "inline"):
			keys = append(keys, yamlKeys(field.Type)...)
		case name != "" && name != "-" && !strings.HasPrefix(name, "#"):
			keys = append(keys, name)
		}
	}
	return keys
}
