package jinja

import (
	"fmt"
	"slices"
	"strings"

	"alfred/internal/eval/python"
)

// method is a method of Python's str, list or dict, for values of that type.
type method func(of any, args []any) (any, error)

// methods by name; one that several types have asks what it is given.
var methods map[string]method

func knownMethod(name string) bool { return methods[name] != nil }

func init() {
	methods = map[string]method{
		"strip":      stripping(strings.Trim, python.Strip),
		"lstrip":     stripping(strings.TrimLeft, python.LStrip),
		"rstrip":     stripping(strings.TrimRight, python.RStrip),
		"lower":      plain(python.Lower),
		"upper":      plain(python.Upper),
		"capitalize": plain(python.Capitalize),
		"split":      split, "replace": replace, "join": join, "index": index, "count": count, "find": find,
		"startswith": affix(strings.HasPrefix), "endswith": affix(strings.HasSuffix),
		"get": dictGet, "keys": dictView(func(k string, v any) any { return k }), "values": dictView(func(k string, v any) any { return v }),
		"items": dictView(func(k string, v any) any { return python.Tuple{k, v} }),
	}
}

func (r *renderer) call(n callNode) (any, error) {
	args, err := r.all(n.args)
	if err != nil {
		return nil, err
	}
	if n.method == "range" {
		return rangeOf(args)
	}
	of, err := r.defined(n.of)
	if err != nil {
		return nil, err
	}
	if d, ok := of.(*python.Dict); ok && !pythonDict[n.method] {
		if _, ok := d.Get(n.method); ok {
			return nil, fmt.Errorf("the item %s of the dict cannot be called", n.method)
		}
	}
	return methods[n.method](of, args)
}

func wrong(name string, of any, args []any) error {
	types := make([]string, len(args))
	for i, a := range args {
		types[i] = typeOf(a)
	}
	return fmt.Errorf("%s of %s with arguments %s is not supported", name, typeOf(of), list(types))
}

// plain is a method of str without arguments.
func plain(f func(string) string) method {
	return func(of any, args []any) (any, error) {
		s, ok := of.(string)
		if !ok || len(args) > 0 {
			return nil, wrong("this method", of, args)
		}
		return f(s), nil
	}
}

// stripping is a method of str that takes characters away, or without an argument white space.
func stripping(cut func(s, set string) string, space func(string) string) method {
	return func(of any, args []any) (any, error) {
		s, ok := of.(string)
		switch {
		case ok && (len(args) == 0 || len(args) == 1 && args[0] == nil):
			return space(s), nil
		case ok && len(args) == 1:
			if set, ok := args[0].(string); ok {
				return cut(s, set), nil
			}
		}
		return nil, wrong("strip", of, args)
	}
}

func affix(has func(s, part string) bool) method {
	return func(of any, args []any) (any, error) {
		s, ok := of.(string)
		if ok && len(args) == 1 {
			switch part := args[0].(type) {
			case string:
				return has(s, part), nil
			case python.Tuple:
				for _, p := range part {
					t, ok := p.(string)
					if !ok {
						return nil, wrong("startswith or endswith", of, args)
					}
					if has(s, t) {
						return true, nil
					}
				}
				return false, nil
			}
		}
		return nil, wrong("startswith or endswith", of, args)
	}
}

// split is str.split: by white space without a separator, and at most so many times.
func split(of any, args []any) (any, error) {
	s, ok := of.(string)
	most := int64(-1)
	if len(args) == 2 {
		var isInt bool
		most, isInt = integer(args[1])
		ok = ok && isInt
	}
	if !ok || len(args) > 2 {
		return nil, wrong("split", of, args)
	}
	out := []any{}
	if len(args) == 0 || args[0] == nil {
		for rest := python.LStrip(s); rest != ""; rest = python.LStrip(rest) {
			end := strings.IndexFunc(rest, python.IsSpace)
			if end < 0 || most == 0 {
				return append(out, rest), nil // when the splits are used up, with the white space at its end
			}
			out, rest = append(out, rest[:end]), rest[end:]
			most--
		}
		return out, nil
	}
	separator, ok := args[0].(string)
	if !ok || separator == "" {
		return nil, wrong("split", of, args)
	}
	n := -1
	if most >= 0 {
		n = int(min(most, 1<<30)) + 1
	}
	for _, part := range strings.SplitN(s, separator, n) {
		out = append(out, part)
	}
	return out, nil
}

func replace(of any, args []any) (any, error) {
	s, ok := of.(string)
	if ok && (len(args) == 2 || len(args) == 3) {
		from, isText := args[0].(string)
		to, alsoText := args[1].(string)
		n, isInt := int64(-1), true
		if len(args) == 3 {
			n, isInt = integer(args[2])
		}
		if isText && alsoText && isInt {
			if len(to) > 0 && (strings.Count(s, from)+1)*len(to) > maxOutput {
				return nil, fmt.Errorf("the text is longer than %d bytes", maxOutput)
			}
			return strings.Replace(s, from, to, int(max(-1, min(n, 1<<30)))), nil
		}
	}
	return nil, wrong("replace", of, args)
}

func join(of any, args []any) (any, error) {
	s, ok := of.(string)
	if !ok || len(args) != 1 {
		return nil, wrong("join", of, args)
	}
	items, err := iterate(args[0])
	if err != nil {
		return nil, err
	}
	parts := make([]string, len(items))
	for i, item := range items {
		if parts[i], ok = item.(string); !ok {
			return nil, fmt.Errorf("join of %s, which is no str", typeOf(item))
		}
	}
	return strings.Join(parts, s), nil
}

// index is list.index, and str.index without bounds.
func index(of any, args []any) (any, error) {
	if len(args) == 1 {
		switch v := of.(type) {
		case string:
			i, err := find(of, args)
			if err == nil && i.(int64) < 0 {
				err = fmt.Errorf("%s is not in the str", python.Repr(args[0]))
			}
			return i, err
		case []any:
			i := slices.IndexFunc(v, func(item any) bool { return python.Equal(item, args[0]) })
			if i < 0 {
				return nil, fmt.Errorf("%s is not in the list", python.Repr(args[0]))
			}
			return int64(i), nil
		}
	}
	return nil, wrong("index", of, args)
}

func find(of any, args []any) (any, error) {
	s, ok := of.(string)
	if ok && len(args) == 1 {
		if part, ok := args[0].(string); ok {
			i := strings.Index(s, part)
			if i > 0 {
				i = python.Len(s[:i])
			}
			return int64(i), nil
		}
	}
	return nil, wrong("find", of, args)
}

func count(of any, args []any) (any, error) {
	if len(args) == 1 {
		switch v := of.(type) {
		case string:
			if part, ok := args[0].(string); ok {
				return int64(strings.Count(v, part)), nil
			}
		case []any:
			n := int64(0)
			for _, item := range v {
				if python.Equal(item, args[0]) {
					n++
				}
			}
			return n, nil
		}
	}
	return nil, wrong("count", of, args)
}

func dictGet(of any, args []any) (any, error) {
	d, ok := of.(*python.Dict)
	if !ok || len(args) < 1 || len(args) > 2 {
		return nil, wrong("get", of, args)
	}
	if key, ok := args[0].(string); ok {
		if v, ok := d.Get(key); ok {
			return v, nil
		}
	}
	if len(args) == 2 {
		return args[1], nil
	}
	return nil, nil
}

func dictView(of func(key string, v any) any) method {
	return func(v any, args []any) (any, error) {
		d, ok := v.(*python.Dict)
		if !ok || len(args) > 0 {
			return nil, wrong("this method", v, args)
		}
		view := lazy{}
		for _, key := range d.Keys() {
			item, _ := d.Get(key)
			view = append(view, of(key, item))
		}
		return view, nil
	}
}

// rangeOf is range(stop), range(start, stop) or range(start, stop, step).
func rangeOf(args []any) (any, error) {
	bounds := []int64{0, 0, 1}
	for i, a := range args {
		n, ok := integer(a)
		if !ok || len(args) > 3 {
			return nil, wrong("range", nil, args)
		}
		if len(args) == 1 {
			bounds[1] = n
		} else {
			bounds[i] = n
		}
	}
	if bounds[2] == 0 || len(args) == 0 {
		return nil, wrong("range", nil, args)
	}
	const most = 1 << 20
	view := lazy{}
	for i := bounds[0]; bounds[2] > 0 && i < bounds[1] || bounds[2] < 0 && i > bounds[1]; i += bounds[2] {
		if view = append(view, i); len(view) > most {
			return nil, fmt.Errorf("a range of more than %d numbers", most)
		}
	}
	return view, nil
}
