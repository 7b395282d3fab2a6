package jinja

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"alfred/internal/eval/python"
)

// filter is a filter of Jinja2. args are by position, missing ones nil; given tells which are there.
type filter struct {
	names []string // of its arguments
	more  bool     // takes arguments beyond those
	check func(a arguments) error
	apply func(of any, args []any, given []bool) (any, error)
}

var filters map[string]filter

func init() {
	text := func(f func(string) string) filter {
		return filter{apply: func(of any, _ []any, _ []bool) (any, error) {
			s, err := show(of)
			return f(s), err
		}}
	}
	length := filter{apply: func(of any, _ []any, _ []bool) (any, error) { return lengthOf(of) }}
	filters = map[string]filter{
		"string": text(func(s string) string { return s }), "lower": text(python.Lower), "upper": text(python.Upper), "capitalize": text(python.Capitalize),
		"length": length, "count": length,
		"trim":          {names: []string{"chars"}, apply: trim},
		"replace":       {names: []string{"old", "new", "count"}, apply: replaced},
		"join":          {names: []string{"d", "attribute"}, apply: joinItems},
		"int":           {names: []string{"default"}, apply: toInt},
		"float":         {names: []string{"default"}, apply: toFloat},
		"list":          {apply: func(of any, _ []any, _ []bool) (any, error) { return iterate(of) }},
		"first":         {apply: func(of any, _ []any, _ []bool) (any, error) { return end(of, false) }},
		"last":          {apply: func(of any, _ []any, _ []bool) (any, error) { return end(of, true) }},
		"reverse":       {apply: reversed},
		"abs":           {apply: absolute},
		"sum":           {apply: total},
		"default":       {names: []string{"default_value", "boolean"}, apply: nil}, // see renderer.filter
		"map":           {names: []string{"attribute"}, more: true, check: checkMap, apply: mapped},
		"regex_replace": {names: []string{"pattern", "repl", "count"}, apply: regexReplace},
	}
	filters["d"] = filters["default"]
}

func (r *renderer) filter(n filterNode) (any, error) {
	f := filters[n.name]
	args, given := make([]any, max(len(f.names), len(n.args))), make([]bool, max(len(f.names), len(n.args)))
	for i := range args {
		var e expr
		if i < len(n.args) {
			e = n.args[i]
		}
		if i < len(f.names) && n.named[f.names[i]].node != nil {
			if e.node != nil {
				return nil, fmt.Errorf("the filter %s has its argument %s twice", n.name, f.names[i])
			}
			e = n.named[f.names[i]]
		}
		if e.node == nil {
			continue
		}
		var err error
		if args[i], err = r.defined(e); err != nil {
			return nil, err
		}
		given[i] = true
	}
	if f.apply == nil { // default
		v, err := r.eval(n.of)
		if _, absent := v.(undefined); err == nil && (absent || truthOf(args[1]) && !truthOf(v)) {
			if !given[0] {
				return "", nil
			}
			return args[0], nil
		}
		return v, err
	}
	of, err := r.defined(n.of)
	if err != nil {
		return nil, err
	}
	v, err := f.apply(of, args, given)
	if err != nil {
		return nil, fmt.Errorf("the filter %s: %w", n.name, err)
	}
	return v, nil
}

func lengthOf(of any) (any, error) {
	switch v := of.(type) {
	case string:
		return int64(python.Len(v)), nil
	case lazy:
		return nil, fmt.Errorf("what Python gives piece by piece has no length: add |list")
	}
	items, err := iterate(of)
	return int64(len(items)), err
}

func trim(of any, args []any, _ []bool) (any, error) {
	s, err := show(of)
	if err != nil {
		return nil, err
	}
	return methods["strip"](s, args)
}

func replaced(of any, args []any, given []bool) (any, error) {
	s, err := show(of)
	if err != nil {
		return nil, err
	}
	from, ok := args[0].(string)
	to, also := args[1].(string)
	if !ok || !also {
		return nil, fmt.Errorf("want two texts")
	}
	if given[2] && args[2] != nil {
		return replace(s, []any{from, to, args[2]})
	}
	return replace(s, []any{from, to})
}

func joinItems(of any, args []any, given []bool) (any, error) {
	items, err := iterate(of)
	if err != nil {
		return nil, err
	}
	between := ""
	if given[0] {
		if between, err = show(args[0]); err != nil {
			return nil, err
		}
	}
	if given[1] {
		if items, err = attributes(items, args[1]); err != nil {
			return nil, err
		}
	}
	parts := make([]string, len(items))
	for i, item := range items {
		if parts[i], err = show(item); err != nil {
			return nil, err
		}
	}
	return strings.Join(parts, between), nil
}

// attributes are one attribute of each item: names and numbers with points between them.
func attributes(items []any, name any) ([]any, error) {
	path, ok := name.(string)
	if i, isInt := integer(name); isInt {
		path, ok = strconv.FormatInt(i, 10), true
	}
	if !ok {
		return nil, fmt.Errorf("an attribute is named by %s", typeOf(name))
	}
	out := make([]any, len(items))
	for i, v := range items {
		for _, part := range strings.Split(path, ".") {
			key := any(part)
			if n, err := strconv.ParseInt(part, 10, 64); err == nil {
				key = n
			}
			var err error
			if v, err = item(v, key); err != nil {
				return nil, err
			}
			if u, absent := v.(undefined); absent {
				return nil, fmt.Errorf("element %d: %s", i, u.what)
			}
		}
		out[i] = v
	}
	return out, nil
}

// checkMap demands that map is given an attribute, or a filter that is known and can do without arguments.
func checkMap(a arguments) error {
	if a.named["attribute"].node != nil {
		if len(a.args) > 0 {
			return fmt.Errorf("map with an attribute takes nothing else")
		}
		return nil
	}
	if len(a.args) == 0 {
		return fmt.Errorf("map needs an attribute or a filter")
	}
	c, ok := a.args[0].node.(constNode)
	name, isText := c.value.(string)
	if !ok || !isText {
		return fmt.Errorf("map needs the name of a filter")
	}
	if f, ok := filters[name]; !ok || f.apply == nil || name == "map" {
		return fmt.Errorf("map with the filter %s is not supported", name)
	} else if len(a.args)-1 > len(f.names) {
		return fmt.Errorf("the filter %s takes up to %d arguments", name, len(f.names))
	}
	return nil
}

func mapped(of any, args []any, given []bool) (any, error) {
	if !truthOf(of) {
		return lazy{}, nil // None too
	}
	items, err := iterate(of)
	if err != nil {
		return nil, err
	}
	f, isFilter := filters[fmt.Sprint(args[0])]
	// A single argument by name is an attribute; which of the two it is was settled when the template was parsed.
	if !isFilter || len(args) == 1 && f.apply == nil {
		out, err := attributes(items, args[0])
		return lazy(out), err
	}
	inner, there := make([]any, len(f.names)), make([]bool, len(f.names))
	copy(inner, args[1:])
	copy(there, given[1:])
	out := make(lazy, len(items))
	for i, item := range items {
		if out[i], err = f.apply(item, inner, there); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return out, nil
}

// toInt is int(): of text that is no integer the integer part of the number that it is, 0 or the default for what is none.
func toInt(of any, args []any, given []bool) (any, error) {
	otherwise := any(int64(0))
	if given[0] {
		otherwise = args[0]
	}
	if i, ok := integer(of); ok {
		return i, nil
	}
	if s, ok := of.(string); ok {
		s = strings.ReplaceAll(python.Strip(s), "_", "")
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return i, nil
		}
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return otherwise, nil
		}
		of = f
	}
	if f, ok := of.(float64); ok {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return otherwise, nil
		}
		if math.Abs(f) >= 1<<63 {
			return nil, errOverflow
		}
		return int64(f), nil
	}
	return otherwise, nil
}

func toFloat(of any, args []any, given []bool) (any, error) {
	if f, ok := real(of); ok {
		return f, nil
	}
	if s, ok := of.(string); ok {
		if f, err := strconv.ParseFloat(strings.ReplaceAll(python.Strip(s), "_", ""), 64); err == nil {
			return f, nil
		}
	}
	if given[0] {
		return args[0], nil
	}
	return 0.0, nil
}

func end(of any, last bool) (any, error) {
	items, err := iterate(of)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return undefined{"there is no first or last item of nothing"}, nil
	}
	if last {
		return items[len(items)-1], nil
	}
	return items[0], nil
}

func reversed(of any, _ []any, _ []bool) (any, error) {
	if s, ok := of.(string); ok {
		runes := []rune(s)
		slices.Reverse(runes)
		return string(runes), nil
	}
	items, err := iterate(of)
	out := slices.Clone(items)
	slices.Reverse(out)
	return lazy(out), err
}

func absolute(of any, _ []any, _ []bool) (any, error) {
	if i, ok := integer(of); ok && i != math.MinInt64 {
		return max(i, -i), nil
	}
	if f, ok := of.(float64); ok {
		return math.Abs(f), nil
	}
	return nil, fmt.Errorf("%s has no absolute value", typeOf(of))
}

func total(of any, _ []any, _ []bool) (any, error) {
	items, err := iterate(of)
	sum := any(int64(0))
	for _, v := range items {
		a, aInt := integer(sum)
		b, bInt := integer(v)
		if aInt && bInt {
			if sum, err = integers("+", a, b); err != nil {
				return nil, err
			}
			continue
		}
		f, _ := real(sum)
		g, ok := real(v)
		if !ok {
			return nil, fmt.Errorf("%s cannot be added", typeOf(v))
		}
		sum = f + g
	}
	return sum, err
}

// regexReplace is Python's re.sub; see python.Pattern for the patterns that are refused.
func regexReplace(of any, args []any, given []bool) (any, error) {
	s, ok := of.(string)
	text, also := args[0].(string)
	to, third := args[1].(string)
	if !ok || !also || !third {
		return nil, fmt.Errorf("want texts")
	}
	n := int64(0)
	if given[2] {
		if n, ok = integer(args[2]); !ok {
			return nil, fmt.Errorf("want an integer for count")
		}
	}
	pattern, err := python.CompilePattern(text)
	if err != nil {
		return nil, err
	}
	parts, err := replacement(to)
	if err != nil {
		return nil, err
	}
	var out []byte
	last := 0
	for i, m := range pattern.FindAll(s) {
		if n > 0 && int64(i) >= n {
			break
		}
		out = append(out, s[last:m[0]]...)
		for _, part := range parts {
			switch g := 2 * part.group; {
			case part.group < 0:
				out = append(out, part.text...)
			case g+1 >= len(m):
				return nil, fmt.Errorf("the pattern has no group %d", part.group)
			case m[g] >= 0:
				out = append(out, s[m[g]:m[g+1]]...)
			}
		}
		if last = m[1]; len(out) > maxOutput {
			return nil, fmt.Errorf("the text is longer than %d bytes", maxOutput)
		}
	}
	return string(append(out, s[last:]...)), nil
}

// piece of a replacement: text, or a group of the match if that is not negative.
type piece struct {
	text  string
	group int
}

// replacement reads what Python writes in place of a match: \1 to \9, \g<number>, and a few escapes.
func replacement(s string) (pieces []piece, err error) {
	for s != "" {
		before, after, found := strings.Cut(s, `\`)
		pieces = append(pieces, piece{before, -1})
		if !found {
			break
		}
		if after == "" {
			return nil, fmt.Errorf(`the replacement ends with \`)
		}
		s = after[1:]
		switch c := after[0]; {
		case c >= '1' && c <= '9' && (s == "" || s[0] < '0' || s[0] > '9'):
			pieces = append(pieces, piece{"", int(c - '0')})
		case c == 'n' || c == 't' || c == '\\':
			pieces = append(pieces, piece{map[byte]string{'n': "\n", 't': "\t", '\\': `\`}[c], -1})
		case c == 'g' && strings.HasPrefix(s, "<"):
			number, rest, _ := strings.Cut(s[1:], ">")
			group, err := strconv.Atoi(number)
			if err != nil || group < 0 {
				return nil, fmt.Errorf(`\g<%s> in the replacement is not supported`, number)
			}
			pieces, s = append(pieces, piece{"", group}), rest
		default:
			return nil, fmt.Errorf(`\%c in the replacement is not supported`, c)
		}
	}
	return pieces, nil
}
