package config

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"
)

// Schema is a JSON schema (draft 2020-12) of config files, for editors and
// other programs. It holds names, types, words, ranges and descriptions of the
// keys of each stage; conditions between keys are checked by Parse only.
func Schema() []byte {
	definitions, branches := object{}, []any{}
	stages := []any{}
	for _, stage := range []string{SFT, Reward, PPO} {
		def := structSchema(reflect.TypeFor[Config](), stage, "")
		def["properties"].(object)["stage"] = object{"const": stage}
		def["patternProperties"] = object{"^x-": object{"description": "place for anchors; otherwise ignored"}}
		definitions[stage] = def
		stages = append(stages, stage)
		branches = append(branches, object{
			"if":   object{"properties": object{"stage": object{"const": stage}}},
			"then": object{"$ref": "#/$defs/" + stage},
		})
	}
	text, err := json.MarshalIndent(object{
		"$schema":    "https://json-schema.org/draft/2020-12/schema",
		"title":      "alfred config",
		"type":       "object",
		"required":   []string{"stage"},
		"properties": object{"stage": object{"enum": stages, "description": fields(reflect.TypeFor[Config]())[0].doc}},
		"allOf":      branches,
		"$defs":      definitions,
	}, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("config: schema: %v", err)) // maps, lists, strings and finite numbers always encode
	}
	return append(text, '\n')
}

type object = map[string]any

// structSchema describes a struct's keys in a stage. first narrows it to the
// keys that go with a value of the first key; "" takes all.
func structSchema(t reflect.Type, stage, first string) object {
	properties, required := object{}, []string{}
	for i, f := range fields(t) {
		if !f.in(stage) || first != "" && !f.goesWith(first) {
			continue
		}
		p := f.schema(stage)
		if i == 0 && first != "" {
			p = object{"const": first, "description": f.doc}
		}
		properties[f.name] = p
		if f.requiredIn(stage) {
			required = append(required, f.name)
		}
	}
	s := object{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// variants describes a struct, one alternative for each value of its first key
// if other keys depend on that.
func variants(t reflect.Type, stage string) []any {
	list := fields(t)
	dependent := slices.ContainsFunc(list, func(f field) bool { return f.in(stage) && f.only != nil })
	if !dependent {
		return []any{structSchema(t, stage, "")}
	}
	var all []any
	for _, word := range list[0].words {
		all = append(all, structSchema(t, stage, word))
	}
	return all
}

// schema describes one key.
func (f field) schema(stage string) object {
	s := typeSchema(f, f.typ, stage)
	s["description"] = f.description()
	if n := f.literal(stage); n != nil {
		var def any
		if err := n.Decode(&def); err != nil {
			panic(fmt.Sprintf("config: default of %s: %v", f.name, err))
		}
		s["default"] = def
	}
	if !f.requiredIn(stage) {
		orNull(s)
	}
	return s
}

// orNull widens a schema by null, which stands for the default.
func orNull(s object) {
	if choices, ok := s["anyOf"].([]any); ok {
		s["anyOf"] = append(choices, object{"type": "null"})
		return
	}
	s["type"] = []any{s["type"], "null"}
	if words, ok := s["enum"].([]string); ok {
		var all []any
		for _, w := range words {
			all = append(all, w)
		}
		s["enum"] = append(all, nil)
	}
}

// description is the meaning of a key with its unit, derived default and source.
func (f field) description() string {
	s := f.doc
	if f.unit != "" {
		s += "; unit: " + f.unit
	}
	if f.derived != "" {
		s += "; default: " + f.derived
	}
	if f.from != "" {
		s += " (" + f.from + ")"
	}
	return s
}

func typeSchema(f field, t reflect.Type, stage string) object {
	if u, ok := reflect.New(t).Interface().(union); ok {
		words, mappings := u.forms()
		choices := []any{object{"type": "string"}}
		if words != nil {
			choices = []any{object{"enum": words}}
		}
		for _, m := range mappings {
			choices = append(choices, variants(reflect.TypeOf(m), stage)...)
		}
		return object{"anyOf": choices}
	}
	if t == reflect.TypeFor[time.Duration]() {
		return object{"anyOf": []any{numberSchema(f, "number"), object{"type": "string", "pattern": `^([0-9.]+(ns|us|µs|ms|s|m|h))+$`}}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeSchema(f, t.Elem(), stage)
	case reflect.Struct:
		if all := variants(t, stage); len(all) > 1 {
			return object{"anyOf": all}
		}
		return structSchema(t, stage, "")
	case reflect.Slice:
		return object{"type": "array", "items": typeSchema(f, t.Elem(), stage)}
	case reflect.Array:
		return object{"type": "array", "items": typeSchema(f, t.Elem(), stage), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Uint64:
		return numberSchema(f, "integer")
	case reflect.Float64:
		return numberSchema(f, "number")
	}
	s := object{"type": "string"}
	if f.words != nil {
		s["enum"] = f.words
	}
	if slices.Contains(f.required, "always") {
		s["minLength"] = 1
	}
	return s
}

func numberSchema(f field, kind string) object {
	s := object{"type": kind}
	if kind == "integer" {
		s["maximum"] = math.MaxInt32
		if f.typ.Kind() == reflect.Uint64 {
			s["minimum"], s["maximum"] = 0, uint64(math.MaxUint64)
		}
	}
	if in := f.bounds; in != nil {
		low, high := "minimum", "maximum"
		if in.openL {
			low = "exclusiveMinimum"
		}
		if in.openH {
			high = "exclusiveMaximum"
		}
		if !math.IsInf(in.low, 0) {
			s[low] = in.low
		}
		if !math.IsInf(in.high, 0) {
			s[high] = in.high
		}
	}
	return s
}
