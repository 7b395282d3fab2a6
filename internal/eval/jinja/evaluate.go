package jinja

import (
	"fmt"

	"alfred/internal/eval/python"
)

// undefined is what a name or an attribute stands for that is not there. All that can be done with it is to ask whether it is defined.
type undefined struct{ what string }

// blank is what an if without else gives when its test is false. Unlike what is undefined, it prints as nothing.
type blank struct{}

// lazy is what Python gives piece by piece: it can be run over, and printing it would show an address.
type lazy []any

// defined is the value of an expression that must be there.
func (r *renderer) defined(e expr) (any, error) {
	v, err := r.eval(e)
	if u, ok := v.(undefined); ok && err == nil {
		return nil, problemf(e.at, "%s", u.what)
	}
	return v, err
}

func (r *renderer) truth(e expr) (bool, error) {
	v, err := r.defined(e)
	return truthOf(v), err
}

// all are the values of several expressions.
func (r *renderer) all(list []expr) ([]any, error) {
	values := make([]any, len(list))
	for i, e := range list {
		var err error
		if values[i], err = r.defined(e); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// eval is the value of an expression, undefined if it is not there.
func (r *renderer) eval(e expr) (any, error) {
	if err := r.step(e.at); err != nil {
		return nil, err
	}
	v, err := r.evalNode(e)
	if _, located := err.(*problem); err != nil && !located {
		err = problemf(e.at, "%w", err)
	}
	return v, err
}

func (r *renderer) evalNode(e expr) (any, error) {
	switch n := e.node.(type) {
	case constNode:
		return n.value, nil
	case nameNode:
		if v, ok := r.scope.get(n.name); ok {
			return v, nil
		}
		return undefined{fmt.Sprintf("%s is undefined", n.name)}, nil
	case listNode:
		return r.all(n.items)
	case tupleNode:
		v, err := r.all(n.items)
		return python.Tuple(v), err
	case dictNode:
		return r.dict(n)
	case unaryNode:
		return r.unary(n)
	case binaryNode:
		return r.binary(n)
	case compareNode:
		return r.compare(n)
	case ternaryNode:
		return r.ternary(n)
	case attrNode:
		of, err := r.defined(n.of)
		if err != nil {
			return nil, err
		}
		return attribute(of, n.name)
	case itemNode:
		v, err := r.all([]expr{n.of, n.key})
		if err != nil {
			return nil, err
		}
		return item(v[0], v[1])
	case sliceNode:
		return r.slice(n)
	case callNode:
		return r.call(n)
	case filterNode:
		return r.filter(n)
	case testNode:
		return r.test(n)
	}
	return nil, fmt.Errorf("%T is no expression", e.node)
}

func (r *renderer) dict(n dictNode) (any, error) {
	d := python.NewDict()
	for i := range n.keys {
		kv, err := r.all([]expr{n.keys[i], n.values[i]})
		if err != nil {
			return nil, err
		}
		key, ok := kv[0].(string)
		if !ok {
			return nil, fmt.Errorf("keys of a dict that are not text are not supported")
		}
		d.Set(key, kv[1])
	}
	return d, nil
}

func (r *renderer) ternary(n ternaryNode) (any, error) {
	yes, err := r.truth(n.test)
	switch {
	case err != nil:
		return nil, err
	case yes:
		return r.eval(n.then)
	case n.orElse.node == nil:
		return blank{}, nil
	}
	return r.eval(n.orElse)
}

// attribute is x.name: an attribute of the value, of which only dicts and loops have any, or else an item.
func attribute(of any, name string) (any, error) {
	switch v := of.(type) {
	case loop:
		if f := loopAttributes[name]; f != nil {
			return f(v), nil
		}
		return nil, fmt.Errorf("loop.%s is not supported", name)
	case *python.Dict:
		if pythonDict[name] {
			return nil, fmt.Errorf("%s is a method of every dict: write ['%s'] for the item", name, name)
		}
		if item, ok := v.Get(name); ok {
			return item, nil
		}
	}
	return undefined{fmt.Sprintf("%s has no attribute %s", typeOf(of), name)}, nil
}

// pythonDict are the attributes of Python's dict.
var pythonDict = map[string]bool{"clear": true, "copy": true, "fromkeys": true, "get": true, "items": true, "keys": true, "pop": true,
	"popitem": true, "setdefault": true, "update": true, "values": true}

// item is x[key].
func item(of, key any) (any, error) {
	switch v := of.(type) {
	case *python.Dict:
		if k, ok := key.(string); ok {
			if item, ok := v.Get(k); ok {
				return item, nil
			}
		}
		return undefined{fmt.Sprintf("the dict has no item %s", python.Repr(key))}, nil
	case string:
		runes := []rune(v)
		if i, ok := place(key, len(runes)); ok {
			return string(runes[i]), nil
		}
	case []any:
		if i, ok := place(key, len(v)); ok {
			return v[i], nil
		}
	case python.Tuple:
		if i, ok := place(key, len(v)); ok {
			return v[i], nil
		}
	}
	return undefined{fmt.Sprintf("%s has no item %s", typeOf(of), python.Repr(key))}, nil
}

// place is the index that a key stands for; negative ones count from the end.
func place(key any, n int) (int, bool) {
	i, ok := integer(key)
	if i < 0 {
		i += int64(n)
	}
	return int(i), ok && i >= 0 && i < int64(n)
}

func (r *renderer) slice(n sliceNode) (any, error) {
	of, err := r.defined(n.of)
	if err != nil {
		return nil, err
	}
	var bounds [3]*int64
	for i, e := range []expr{n.from, n.to, n.step} {
		if e.node == nil {
			continue
		}
		v, err := r.defined(e)
		if err != nil {
			return nil, err
		}
		if v == nil {
			continue
		}
		x, ok := integer(v)
		if !ok {
			return nil, fmt.Errorf("a slice needs integers, not %s", python.Repr(v))
		}
		bounds[i] = &x
	}
	switch v := of.(type) {
	case string:
		runes := []rune(v)
		at, err := places(len(runes), bounds)
		out := make([]rune, len(at))
		for i, p := range at {
			out[i] = runes[p]
		}
		return string(out), err
	case []any:
		return sliced(v, bounds)
	case python.Tuple:
		out, err := sliced(v, bounds)
		return python.Tuple(out), err
	}
	return nil, fmt.Errorf("%s cannot be sliced", typeOf(of))
}

func sliced(v []any, bounds [3]*int64) ([]any, error) {
	at, err := places(len(v), bounds)
	out := make([]any, len(at))
	for i, p := range at {
		out[i] = v[p]
	}
	return out, err
}

// places are the indices of a slice, as Python's slice.indices gives them.
func places(n int, bounds [3]*int64) (at []int, err error) {
	step := int64(1)
	if bounds[2] != nil {
		step = *bounds[2]
	}
	if step == 0 {
		return nil, fmt.Errorf("the step of a slice is 0")
	}
	low, high := int64(0), int64(n) // what bounds are clamped to
	if step < 0 {
		low, high = -1, int64(n)-1
	}
	clamp := func(x *int64, otherwise int64) int64 {
		if x == nil {
			return otherwise
		}
		v := *x
		if v < 0 {
			v += int64(n)
		}
		return min(max(v, low), high)
	}
	from, to := clamp(bounds[0], low), clamp(bounds[1], high)
	if step < 0 {
		from, to = clamp(bounds[0], high), clamp(bounds[1], low)
	}
	for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
		at = append(at, int(i))
		if step > int64(n) || step < -int64(n) {
			break // one element; further steps could overflow
		}
	}
	return at, nil
}
