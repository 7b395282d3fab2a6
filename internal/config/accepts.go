package config

import (
	"reflect"
	"slices"
	"strings"
)

// Accepts holds a value against the words and the range of a key, for flags
// that mean what the key means: Accepts("trajectory.top_p", 1.5). The value
// has the type of the key's field.
func Accepts(key string, value any) error {
	var f field
	f.typ = reflect.TypeFor[Config]()
	for name := range strings.SplitSeq(key, ".") {
		inner := fields(f.typ)
		at := slices.IndexFunc(inner, func(f field) bool { return f.name == name })
		if at < 0 {
			panic("config: there is no key " + key) // the key is ours
		}
		f = inner[at]
	}
	return f.accepts(reflect.ValueOf(value))
}
