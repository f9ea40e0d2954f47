package config

import "fmt"

// crashError is a panic of Compose's loader.
type crashError struct{ cause any }

func (e crashError) Error() string {
	return fmt.Sprintf("Compose's own loader crashes on this (%v)", e.cause)
}

// unlessItCrashes is what the library says, which panics on a few files, such as one in
// which a pid has no value.
func unlessItCrashes(load func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = crashError{cause}
		}
	}()
	return load()
}

// emptyKey is where a project has the first key of a service without a value, or begins.
func emptyKey(source value) pos {
	for _, f := range source.fields {
		if f.name != "services" {
			continue
		}
		for _, service := range f.fields {
			for _, key := range service.fields {
				if key.kind == null {
					return key.pos
				}
			}
		}
	}
	return source.pos
}
