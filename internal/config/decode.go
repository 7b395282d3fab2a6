package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	maxValues      = 20_000 // keys and list elements after aliases are followed: stops alias bombs
	maxSuggestions = 1_000  // problems that get a suggestion: looking for one costs some microseconds
)

// decoder turns the tree of a file into a Config and collects what is wrong.
type decoder struct {
	file     string
	sets     []string
	stage    string                // "" when the file names none
	given    map[string]*yaml.Node // value of each key that is given and not null, by dotted path
	bad      map[string]bool       // paths that have a problem: no further check looks at them
	budget   int                   // values that may still be read
	problems []Problem
}

// config decodes the whole tree, fills in defaults and checks the result.
func (d *decoder) config(root *yaml.Node) *Config {
	peek := &decoder{bad: map[string]bool{}, budget: maxValues}
	for _, p := range peek.pairs(root, "") {
		if n := resolve(p.value); p.name == "stage" && slices.Contains([]string{SFT, Reward, PPO}, n.Value) {
			d.stage = n.Value
		}
	}

	c := new(Config)
	v := reflect.ValueOf(c).Elem()
	setDefaults(v, d.stage)
	d.mapping(v, root, "", "")
	d.derive(c)
	d.requireKeys(v)
	if d.stage != "" {
		d.crossCheck(c)
	}
	return c
}

// pair is a key of a mapping and its value; aliases in the key are resolved.
type pair struct {
	key   *yaml.Node
	name  string
	value *yaml.Node
}

// pairs lists a mapping's keys with those that `<<` merges in. A key of its
// own wins over a merged one, an earlier merge over a later.
func (d *decoder) pairs(n *yaml.Node, path string) []pair {
	var own, merged []pair
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content) && d.spend(n, path); i += 2 {
		key, value := resolve(n.Content[i]), n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode:
			d.problem(key, path, "a key must be a word, this is "+describe(key))
		case key.Tag == "!!merge":
			merged = append(merged, d.mergedPairs(value, path)...)
		case seen[key.Value] != nil:
			message := "given twice"
			if line := seen[key.Value].Line; line > 0 {
				message += fmt.Sprintf("; first on line %d", line)
			}
			d.problem(n.Content[i], join(path, shorten(key.Value)), message)
		default:
			seen[key.Value] = key
			own = append(own, pair{n.Content[i], key.Value, value})
		}
	}
	for _, p := range merged {
		if seen[p.name] == nil {
			seen[p.name] = p.key
			own = append(own, p)
		}
	}
	return own
}

// mergedPairs lists the keys that `<<: *a` or `<<: [*a, *b]` brings in. An
// alias to a mapping that contains it ends with the budget.
func (d *decoder) mergedPairs(value *yaml.Node, path string) []pair {
	sources := []*yaml.Node{value}
	if list := resolve(value); list.Kind == yaml.SequenceNode {
		sources = list.Content
	}
	var all []pair
	for _, s := range sources {
		if !d.spend(s, path) {
			break
		}
		if m := resolve(s); m.Kind == yaml.MappingNode {
			all = append(all, d.pairs(m, path)...)
		} else {
			d.problem(s, join(path, "<<"), "merges mappings, this is "+describe(m))
		}
	}
	return all
}

// mapping decodes a mapping into a struct. What stands in the struct already
// stays where the mapping is silent.
func (d *decoder) mapping(v reflect.Value, n *yaml.Node, path, section string) {
	if n.Kind != yaml.MappingNode {
		d.problem(n, path, "expects a mapping of keys, got "+describe(n))
		return
	}
	known := fields(v.Type())
	pairs := d.pairs(n, path)
	first := "" // the struct's first key, on which others may depend; "" when it is not valid
	for _, p := range pairs {
		if value := resolve(p.value); p.name == known[0].name && slices.Contains(known[0].words, value.Value) {
			first = value.Value
		}
	}
	for _, p := range pairs {
		where := join(path, shorten(p.name))
		at := slices.IndexFunc(known, func(f field) bool { return f.name == p.name })
		switch {
		case at < 0 && path == "" && strings.HasPrefix(p.name, "x-"): // a place for anchors
		case at < 0:
			d.problem(p.key, where, "unknown key"+d.hint(p.name, known, first, section))
		case !known[at].in(d.stage):
			d.problem(p.key, where, fmt.Sprintf("belongs to stage %s; this is stage %s", quoted(known[at].stages), d.stage))
		case first != "" && !known[at].goesWith(first):
			d.problem(p.key, where, fmt.Sprintf("belongs to %s: %s", known[0].name, quoted(known[at].only)))
		default:
			d.value(v.Field(known[at].index), p.value, known[at], where)
		}
	}
}

// hint tells what an unknown key may have been meant to be: one of the keys
// that may stand here, or a key of that very name elsewhere.
func (d *decoder) hint(name string, known []field, first, section string) string {
	if len(d.problems) > maxSuggestions {
		return ""
	}
	var names []string
	for _, f := range known {
		if f.in(d.stage) && (first == "" || f.goesWith(first)) {
			names = append(names, f.name)
		}
	}
	if s := DidYouMean(name, names); s != "" {
		return s
	}
	for _, f := range fields(reflect.TypeFor[Config]()) {
		if f.name == section || !f.in(d.stage) || f.typ.Kind() != reflect.Struct {
			continue
		}
		for _, inner := range fields(f.typ) {
			if inner.name == name && inner.in(d.stage) {
				return fmt.Sprintf("; did you mean %q?", f.name+"."+name)
			}
		}
	}
	return ""
}

// value decodes one value. Null stands for the default.
func (d *decoder) value(v reflect.Value, n *yaml.Node, f field, path string) {
	n = resolve(n)
	if isNull(n) {
		return
	}
	d.given[path] = n
	if n.Style&yaml.TaggedStyle != 0 {
		d.problem(n, path, fmt.Sprintf("values carry no tags here; take %s away", shorten(n.Tag)))
		return
	}
	if u, ok := v.Addr().Interface().(union); ok {
		d.union(u, n, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(v, n, path, f.name)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		setDefaults(v.Elem(), d.stage)
		d.mapping(v.Elem(), n, path, f.name)
	case reflect.Slice, reflect.Array:
		d.list(v, n, f, path)
	default:
		d.scalar(v, n, f, path)
	}
}

func (d *decoder) list(v reflect.Value, n *yaml.Node, f field, path string) {
	if n.Kind != yaml.SequenceNode {
		hint := ""
		if n.Kind == yaml.ScalarNode {
			hint = fmt.Sprintf("; write [%s]", shorten(n.Value))
		}
		d.problem(n, path, "expects a list, got "+describe(n)+hint)
		return
	}
	if v.Kind() == reflect.Array && len(n.Content) != v.Len() {
		d.problem(n, path, fmt.Sprintf("expects %d values, got %d", v.Len(), len(n.Content)))
		return
	}
	if v.Kind() == reflect.Slice {
		v.SetZero()
	}
	for i, element := range n.Content {
		if !d.spend(element, path) {
			return
		}
		where := join(path, strconv.Itoa(i))
		element = resolve(element)
		if isNull(element) {
			d.problem(element, where, "a list element cannot be empty")
			continue
		}
		to := reflect.New(v.Type().Elem()).Elem()
		if to.Kind() == reflect.Struct {
			setDefaults(to, d.stage)
		}
		d.value(to, element, f, where)
		if v.Kind() == reflect.Array {
			v.Index(i).Set(to)
		} else {
			v.Set(reflect.Append(v, to))
		}
	}
}

// union decodes a word, or the mapping form whose first key is there.
func (d *decoder) union(u union, n *yaml.Node, path string) {
	words, mappings := u.forms()
	var heads []string
	for _, m := range mappings {
		heads = append(heads, fields(reflect.TypeOf(m))[0].name)
	}
	switch n.Kind {
	case yaml.ScalarNode:
		var text string
		if d.scalar(reflect.ValueOf(&text).Elem(), n, field{words: words}, path) {
			u.hold(text)
		}
		return
	case yaml.MappingNode:
		for _, p := range d.pairs(n, path) {
			if at := slices.Index(heads, p.name); at >= 0 {
				form := reflect.New(reflect.TypeOf(mappings[at]))
				setDefaults(form.Elem(), d.stage)
				d.mapping(form.Elem(), n, path, "")
				u.hold(form.Interface())
				return
			}
		}
	}
	if words == nil {
		words = []string{"a path"}
	}
	d.problem(n, path, fmt.Sprintf("expects %s, or a mapping with %s; got %s", quoted(words), quoted(heads), describe(n)))
}

// isBad reports whether a key, or a section that it is in, has a problem.
func (d *decoder) isBad(path string) bool {
	for path != "" {
		if d.bad[path] {
			return true
		}
		path = parent(path)
	}
	return false
}

// nearest is the value of the longest part of path that is given; nil for none.
func (d *decoder) nearest(path string) *yaml.Node {
	for path != "" {
		if n := d.given[path]; n != nil {
			return n
		}
		path = parent(path)
	}
	return nil
}

// spend counts one value; it is false, and says so once, when there are too many.
func (d *decoder) spend(n *yaml.Node, path string) bool {
	d.budget--
	if d.budget == 0 {
		d.problem(n, path, fmt.Sprintf("more than %d values after aliases are followed", maxValues))
	}
	return d.budget > 0
}

// problem notes what is wrong at a node; nil means the start of the file.
func (d *decoder) problem(n *yaml.Node, path, message string) {
	d.bad[path] = true
	p := Problem{File: d.file, Line: 1, Col: 1, Key: path, Message: message}
	switch {
	case n == nil:
	case n.Line < 0:
		p.File, p.Line, p.Col = d.flag(-n.Line-1), n.Line, 0
	default:
		p.Line, p.Col = n.Line, n.Column
	}
	d.problems = append(d.problems, p)
}

// errors sorts the problems by place. A problem in an anchor shows once for
// each alias; the first is enough.
func (d *decoder) errors() *Errors {
	place := func(p Problem) (int, int) {
		if p.Line < 0 {
			return 1, -p.Line
		}
		return 0, p.Line
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		groupA, lineA := place(a)
		groupB, lineB := place(b)
		return cmp.Or(cmp.Compare(groupA, groupB), cmp.Compare(lineA, lineB), cmp.Compare(a.Col, b.Col))
	})
	type sighting struct {
		line, col int
		message   string
	}
	seen := map[sighting]bool{}
	all := &Errors{}
	for _, p := range d.problems {
		s := sighting{p.Line, p.Col, p.Message}
		if p.Line > 1 || p.Col > 1 { // 1:1 also stands for "somewhere", where keys differ
			if seen[s] {
				continue
			}
			seen[s] = true
		}
		if p.Line < 0 {
			p.Line = 0
		}
		all.Problems = append(all.Problems, p)
	}
	return all
}
