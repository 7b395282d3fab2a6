package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

// field is one key: a struct field with its tags, as doc.go describes them.
type field struct {
	index     int
	typ       reflect.Type
	name      string
	stages    []string
	only      []string
	defaults  *yaml.Node // literal, or mapping from stage to literal; nil for none
	derived   string
	bounds    *interval
	words     []string
	required  []string
	omitZero  bool
	resume    string
	unit      string
	doc, from string
}

// in reports whether the key exists in a stage. An unknown stage ("") has the
// keys of all, so that a file without a valid stage gets its other problems
// reported too.
func (f field) in(stage string) bool {
	return f.stages == nil || stage == "" || slices.Contains(f.stages, stage)
}

// goesWith reports whether the key exists beside a value of its struct's first key.
func (f field) goesWith(first string) bool {
	return f.only == nil || slices.Contains(f.only, first)
}

func (f field) requiredIn(stage string) bool {
	return slices.Contains(f.required, "always") || slices.Contains(f.required, stage)
}

var fieldsOfType sync.Map // reflect.Type -> []field; reading tags anew for each of many list entries would be slow

// fields lists the keys of a struct type in order.
func fields(t reflect.Type) []field {
	if known, ok := fieldsOfType.Load(t); ok {
		return known.([]field)
	}
	var list []field
	for i := range t.NumField() {
		sf := t.Field(i)
		tag := sf.Tag
		words := func(key string) []string {
			if s := tag.Get(key); s != "" {
				return strings.Fields(s)
			}
			return nil
		}
		f := field{
			index: i, typ: sf.Type, name: tag.Get("yaml"),
			stages: words("stage"), only: words("only"), required: words("required"),
			derived: tag.Get("derived"), words: words("oneof"),
			omitZero: tag.Get("zero") == "omit", resume: tag.Get("resume"),
			unit: tag.Get("unit"), doc: tag.Get("doc"), from: tag.Get("from"),
		}
		if s := tag.Get("range"); s != "" {
			f.bounds = mustInterval(s)
		}
		if s := tag.Get("default"); s != "" {
			var document yaml.Node
			if err := yaml.Unmarshal([]byte(s), &document); err != nil {
				panic(fmt.Sprintf("config: default tag %q: %v", s, err))
			}
			f.defaults = document.Content[0]
		}
		list = append(list, f)
	}
	fieldsOfType.Store(t, list)
	return list
}

// literal is the key's default in a stage, nil for none.
func (f field) literal(stage string) *yaml.Node {
	if f.defaults == nil || f.defaults.Kind != yaml.MappingNode {
		return f.defaults
	}
	for i := 0; i+1 < len(f.defaults.Content); i += 2 {
		if f.defaults.Content[i].Value == stage {
			return f.defaults.Content[i+1]
		}
	}
	return nil
}

// head is the text of a struct's first field, which `only` tags refer to.
func head(v reflect.Value) string {
	if first := v.Field(0); first.Kind() == reflect.String {
		return first.String()
	}
	return ""
}

// interval is a range of numbers; either end may be infinite.
type interval struct {
	text         string
	low, high    float64
	openL, openH bool
}

// mustInterval reads [a,b], with ( or ) for an end that is left out and no
// number for an infinite one. It panics on anything else: the text is ours.
func mustInterval(s string) *interval {
	low, high, ok := strings.Cut(strings.Trim(s, "[]()"), ",")
	in := &interval{text: s, low: math.Inf(-1), high: math.Inf(1), openL: s[0] == '(', openH: strings.HasSuffix(s, ")")}
	var err error
	for _, end := range []struct {
		text string
		to   *float64
	}{{low, &in.low}, {high, &in.high}} {
		if end.text != "" && err == nil {
			*end.to, err = strconv.ParseFloat(end.text, 64)
		}
	}
	if !ok || err != nil {
		panic(fmt.Sprintf("config: range tag %q is not an interval", s))
	}
	return in
}

func (in *interval) contains(x float64) bool {
	return (x > in.low || x == in.low && !in.openL) && (x < in.high || x == in.high && !in.openH)
}

// String says the interval in words: "at least 2", "above 0 and at most 1".
func (in *interval) String() string {
	var parts []string
	if !math.IsInf(in.low, -1) {
		word := "at least "
		if in.openL {
			word = "above "
		}
		parts = append(parts, word+number(in.low))
	}
	if !math.IsInf(in.high, 1) {
		word := "at most "
		if in.openH {
			word = "below "
		}
		parts = append(parts, word+number(in.high))
	}
	return strings.Join(parts, " and ")
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// leaf is one key with its value, as visit hands it out.
type leaf struct {
	field
	path  string
	value reflect.Value
}

// visit calls fn for each key of a struct that exists in the stage, sections
// included, parents first, in the order of the fields. Elements of lists of
// structs are visited as path.0, path.1, ... A mapping held by a union is
// visited below the path of the union.
func visit(v reflect.Value, stage, path string, fn func(leaf)) {
	first := head(v)
	for _, f := range fields(v.Type()) {
		if !f.in(stage) || !f.goesWith(first) {
			continue
		}
		l := leaf{field: f, path: join(path, f.name), value: v.Field(f.index)}
		fn(l)
		switch inner := section(l.value); {
		case inner.IsValid():
			visit(inner, stage, l.path, fn)
		case l.value.Kind() == reflect.Slice && l.value.Type().Elem().Kind() == reflect.Struct:
			for i := range l.value.Len() {
				visit(l.value.Index(i), stage, join(l.path, strconv.Itoa(i)), fn)
			}
		}
	}
}

// section is the struct behind a value that has keys of its own: a struct, a
// pointer to one that is set, or the mapping that a union holds. Otherwise it
// is the zero Value.
func section(v reflect.Value) reflect.Value {
	if v.CanAddr() {
		if u, ok := v.Addr().Interface().(union); ok {
			held := reflect.ValueOf(u.held())
			if held.Kind() == reflect.Pointer {
				return held.Elem()
			}
			return reflect.Value{}
		}
	}
	switch {
	case v.Kind() == reflect.Struct:
		return v
	case v.Kind() == reflect.Pointer && !v.IsNil():
		return v.Elem()
	}
	return reflect.Value{}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// parent is the path of the section that a key is in; "" at the top.
func parent(path string) string { return path[:max(0, strings.LastIndexByte(path, '.'))] }
