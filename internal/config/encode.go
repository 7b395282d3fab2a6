package config

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"

	"gopkg.in/yaml.v3"
)

// YAML is the effective config: every key of the stage with its value,
// defaults filled in. Parsing it gives the same Config again.
func (c *Config) YAML() []byte {
	var b bytes.Buffer
	b.WriteString("# Effective config: defaults filled in, --set applied.\n")
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(encode(reflect.ValueOf(c).Elem(), c.Stage)); err != nil {
		panic(fmt.Sprintf("config: encode: %v", err)) // a tree of scalars always encodes
	}
	return b.Bytes()
}

// encode is the mapping of a struct's keys that exist in the stage and are set.
func encode(v reflect.Value, stage string) *yaml.Node {
	m := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	first := head(v)
	for _, f := range fields(v.Type()) {
		x := v.Field(f.index)
		if f.in(stage) && f.goesWith(first) && f.shown(x) {
			m.Content = append(m.Content, str(f.name), encodeValue(x, stage))
		}
	}
	return m
}

// shown reports whether a value is part of the effective config: text, lists
// and optional sections are left out when empty, as they were not given then.
func (f field) shown(x reflect.Value) bool {
	switch x.Kind() {
	case reflect.String, reflect.Slice, reflect.Pointer:
		return !x.IsZero() && (x.Kind() != reflect.Slice || x.Len() > 0)
	}
	if u, ok := x.Addr().Interface().(union); ok {
		return u.held() != ""
	}
	return !f.omitZero || !x.IsZero()
}

func encodeValue(x reflect.Value, stage string) *yaml.Node {
	if inner := section(x); inner.IsValid() {
		return encode(inner, stage)
	}
	if u, ok := x.Addr().Interface().(union); ok {
		return str(u.held().(string))
	}
	switch x.Kind() {
	case reflect.Slice, reflect.Array:
		list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for i := range x.Len() {
			list.Content = append(list.Content, encodeValue(x.Index(i), stage))
		}
		if x.Type().Elem().Kind() != reflect.Struct {
			list.Style = yaml.FlowStyle
		}
		return list
	case reflect.String:
		return str(x.String())
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: literal(x)}
}

// str is a string node; the encoder quotes what would read as something else.
func str(s string) *yaml.Node {
	n := new(yaml.Node)
	n.SetString(s)
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		n.Style = yaml.DoubleQuotedStyle // the one style that keeps every line break and blank
	}
	return n
}

// literal is how a scalar is written: in YAML, and in messages.
func literal(x reflect.Value) string {
	if t, ok := x.Interface().(time.Duration); ok {
		return t.String()
	}
	switch x.Kind() {
	case reflect.Float64:
		digits, exponent, scientific := strings.Cut(number(x.Float()), "e")
		if !strings.Contains(digits, ".") {
			digits += ".0" // YAML 1.1 reads 1e-08 as text
		}
		if scientific {
			digits += "e" + exponent
		}
		return digits
	case reflect.Bool:
		return strconv.FormatBool(x.Bool())
	}
	return fmt.Sprint(x.Interface())
}
