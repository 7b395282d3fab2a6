package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the generated part of configs/README.md anew")

const (
	readmePath  = "../../configs/README.md"
	readmeBegin = "<!-- Keys: generated from internal/config by `go test ./internal/config -update`. -->\n"
)

// TestREADME holds the list of keys in configs/README.md against the tags.
func TestREADME(t *testing.T) {
	have, err := os.ReadFile(readmePath)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(have, []byte(readmeBegin))
	if at < 0 {
		t.Fatalf("%s has no line %q", readmePath, readmeBegin)
	}
	want := append(have[:at:at], readmeBegin+reference()...)
	if bytes.Equal(have, want) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the tags say; run go test ./internal/config -run README -update", readmePath)
	}
	if err := os.WriteFile(readmePath, want, 0o644); err != nil {
		t.Fatal(err)
	}
}

// reference is the list of keys in Markdown: a table for each section.
func reference() string {
	var b strings.Builder
	b.WriteString("\n## Top level\n\n")
	root := fields(reflect.TypeFor[Config]())
	table(&b, "", root)
	for _, f := range root {
		typ := f.typ
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || f.name == "policy_optimizer" || f.name == "value_optimizer" {
			continue // these two have the keys of optimizer
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n", f.name, upperFirst(f.doc))
		table(&b, f.name, fields(typ))
		for _, inner := range fields(typ) {
			innerTables(&b, f.name, inner)
		}
	}
	return b.String()
}

// innerTables lists the keys of what a key can hold.
func innerTables(b *strings.Builder, section string, f field) {
	path := section + "." + f.name
	if f.typ.Kind() == reflect.Pointer {
		fmt.Fprintf(b, "\n### %s\n\n", path)
		table(b, path, fields(f.typ.Elem()))
	}
	u, ok := reflect.New(f.typ).Interface().(union)
	if !ok {
		return
	}
	_, forms := u.forms()
	for _, form := range forms {
		list := fields(reflect.TypeOf(form))
		if inner := list[0].typ; inner.Kind() == reflect.Struct {
			fmt.Fprintf(b, "\n### %s: {%s: {...}}\n\n", path, list[0].name)
			table(b, path, fields(inner))
		} else {
			fmt.Fprintf(b, "\n### %s: {%s: ...}\n\n", path, list[0].name)
			table(b, path, list)
		}
	}
}

func table(b *strings.Builder, section string, list []field) {
	b.WriteString("| key | value | default | stages | meaning | source |\n|---|---|---|---|---|---|\n")
	for _, f := range list {
		stages := "all"
		if f.stages != nil {
			stages = strings.Join(f.stages, ", ")
		}
		meaning := upperFirst(f.doc) + "."
		if f.only != nil {
			meaning = "With " + quoted(f.only) + ": " + f.doc + "."
		}
		cells := []string{"`" + f.name + "`", valueCell(f), defaultCell(f), stages, meaning, f.from}
		for i, c := range cells {
			cells[i] = strings.ReplaceAll(c, "|", "\\|")
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
}

func valueCell(f field) string {
	kind := ""
	switch {
	case f.words != nil:
		kind = "`" + strings.Join(f.words, "` `") + "`"
	case f.typ == reflect.TypeFor[RewardModel]():
		kind = "path, `{rule: ...}` or `{http: {...}}`"
	case f.typ == reflect.TypeFor[MissingEOD]():
		kind = "`last_token` `zero` `mask` or `{penalty: x}`"
	case f.typ == reflect.TypeFor[time.Duration]():
		kind = "time"
	default:
		switch f.typ.Kind() {
		case reflect.Bool:
			kind = "`true` `false`"
		case reflect.Int, reflect.Uint64:
			kind = "whole number"
		case reflect.Float64:
			kind = "number"
		case reflect.String:
			kind = "text"
			if f.resume == "path" {
				kind = "path"
			}
		case reflect.Array:
			kind = fmt.Sprintf("%d numbers", f.typ.Len())
		case reflect.Slice:
			kind = "list"
		default:
			kind = "section"
		}
	}
	if f.bounds != nil {
		kind += ", " + f.bounds.String()
	}
	if f.unit != "" {
		kind += "; " + f.unit
	}
	return kind
}

func defaultCell(f field) string {
	switch {
	case f.derived != "":
		return f.derived
	case f.defaults != nil && f.defaults.Kind == yaml.MappingNode:
		var parts []string
		for _, stage := range []string{SFT, Reward, PPO} {
			if n := f.literal(stage); n != nil {
				parts = append(parts, stage+" `"+n.Value+"`")
			}
		}
		return strings.Join(parts, ", ")
	case f.defaults != nil && f.defaults.Kind == yaml.SequenceNode:
		return "`" + encodeTextOf(f.defaults) + "`"
	case f.defaults != nil:
		return "`" + f.defaults.Value + "`"
	case slices.Contains(f.required, "always"):
		return "required"
	case f.required != nil:
		return "required (" + strings.Join(f.required, ", ") + ")"
	}
	if f.typ.Kind() == reflect.Struct {
		return "see below"
	}
	return "none"
}

func encodeTextOf(list *yaml.Node) string {
	var parts []string
	for _, n := range list.Content {
		parts = append(parts, n.Value)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// upperFirst begins a sentence, unless with the name of something.
func upperFirst(s string) string {
	if first, _, _ := strings.Cut(s, " "); strings.ContainsAny(first, "_:;") || len(s) == 0 {
		return s
	}
	r := []rune(s)
	if r[1] != ' ' { // a letter by itself is a symbol
		r[0] = unicode.ToUpper(r[0])
	}
	return string(r)
}

// TestREADMEExamples loads each YAML example of the README.
func TestREADMEExamples(t *testing.T) {
	text, err := os.ReadFile(readmePath)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for i, part := range strings.Split(string(text), "```") {
		if body, ok := strings.CutPrefix(part, "yaml\n"); ok && i%2 == 1 {
			count++
			must(t, body)
		}
	}
	if count == 0 {
		t.Error("the README has no example")
	}
}

// Any text survives the effective config.
func TestTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := must(t, minimalPPO, "model.reward={rule: contains, text: a}")
		c.Run.Dir = "d" + rapid.String().Filter(func(s string) bool { return !strings.ContainsRune(s, 0) }).Draw(r, "dir")
		c.Model.Reward.Rule.Text = "\n " + c.Run.Dir
		again, err := Parse("c", c.YAML(), nil)
		if err != nil || again.Run.Dir != c.Run.Dir || again.Model.Reward.Rule.Text != c.Model.Reward.Rule.Text {
			r.Fatalf("%q became %+v (%v)\n%s", c.Run.Dir, again, err, c.YAML())
		}
	})
}
