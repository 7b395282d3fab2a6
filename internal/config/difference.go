package config

import (
	"reflect"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Permission is what a resumed run may do with a key.
type Permission int

const (
	Refused     Permission = iota // the value must stay
	SameContent                   // the path may change if it leads to the same content
	Allowed                       // any value will do
)

// Change is a key whose value differs between two configs. A side that lacks
// the key is "".
type Change struct {
	Key        string
	Old, New   string
	Permission Permission
}

func (c Change) String() string {
	return c.Key + " was " + orNothing(c.Old) + ", is " + orNothing(c.New)
}

func orNothing(s string) string {
	if s == "" {
		return "not given"
	}
	return s
}

// Difference lists the keys in which the config of a resumed run differs from
// the one that it goes on from, in the order of the file. A run may change
// trainer.max_steps, trainer.ratio_tolerance (a check, whose default follows
// the device), the sections log, checkpoint, device, parallel and batching, its
// name and directory, and, content being equal, the paths of what it reads.
// The caller compares the content.
func Difference(old, new *Config) []Change {
	before, order := flatten(old)
	after, orderAfter := flatten(new)
	for _, key := range orderAfter {
		if _, ok := before[key]; !ok {
			order = append(order, key)
		}
	}
	var changes []Change
	for _, key := range order {
		a, b := before[key], after[key]
		if a.text == b.text {
			continue
		}
		c := Change{Key: key, Old: a.text, New: b.text, Permission: max(a.permission, b.permission)}
		if c.Permission == SameContent && (a.text == "" || b.text == "") {
			c.Permission = Refused // nothing to compare
		}
		changes = append(changes, c)
	}
	return changes
}

type entry struct {
	text       string
	permission Permission
}

// flatten lists the keys that hold values, with the permission of the key or
// of the section that it is in.
func flatten(c *Config) (map[string]entry, []string) {
	entries, order := map[string]entry{}, []string{}
	add := func(key, text string, p Permission) {
		entries[key] = entry{text, p}
		order = append(order, key)
	}
	sections := map[string]Permission{}
	visit(reflect.ValueOf(c).Elem(), c.Stage, "", func(l leaf) {
		p := max(permissions[l.resume], sections[parent(l.path)])
		switch {
		case section(l.value).IsValid():
			if _, ok := l.value.Addr().Interface().(union); ok {
				p = Refused // the permission is for the path that a union can hold
			}
			sections[l.path] = p
		case !l.shown(l.value):
		case l.value.Kind() == reflect.Slice && l.value.Type().Elem().Kind() == reflect.Struct:
			add(l.path, strconv.Itoa(l.value.Len())+" sources", p)
		default:
			add(l.path, encodeText(l.value), p)
		}
	})
	return entries, order
}

var permissions = map[string]Permission{"": Refused, "path": SameContent, "free": Allowed}

// encodeText is a value in one line.
func encodeText(v reflect.Value) string {
	n := encodeValue(v, "")
	if n.Kind != yaml.SequenceNode {
		return n.Value
	}
	texts := make([]string, len(n.Content))
	for i, c := range n.Content {
		texts[i] = c.Value
	}
	return "[" + strings.Join(texts, ", ") + "]"
}
