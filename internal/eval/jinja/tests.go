package jinja

import (
	"fmt"

	"alfred/internal/eval/python"
)

// testArity is the number of arguments of each test.
var testArity = map[string]int{"defined": 0, "undefined": 0, "none": 0, "string": 0, "number": 0, "integer": 0, "float": 0, "boolean": 0, "mapping": 0, "sequence": 0,
	"iterable": 0, "true": 0, "false": 0, "odd": 0, "even": 0, "eq": 1, "equalto": 1, "ne": 1, "in": 1, "divisibleby": 1}

// ofType are the tests of what a value is, which Jinja2 can ask of what is undefined.
var ofType = map[string]bool{"none": true, "string": true, "number": true, "integer": true, "float": true, "boolean": true, "mapping": true, "sequence": true,
	"iterable": true, "true": true, "false": true}

func (r *renderer) test(n testNode) (any, error) {
	if n.name == "defined" || n.name == "undefined" {
		v, err := r.eval(n.of)
		_, absent := v.(undefined)
		if v == any(blank{}) {
			absent = true
		}
		return (absent == (n.name == "undefined")) != n.not, err
	}
	v, err := r.eval(n.of)
	if u, absent := v.(undefined); absent && err == nil {
		if !ofType[n.name] {
			return nil, fmt.Errorf("%s", u.what)
		}
		return n.not, nil // it is of no type
	}
	if err != nil {
		return nil, err
	}
	args, err := r.all(n.args)
	if err != nil {
		return nil, err
	}
	yes, err := check(n.name, v, args)
	return yes != n.not, err
}

func check(name string, v any, args []any) (bool, error) {
	_, isText := v.(string)
	_, isBool := v.(bool)
	_, isInt := v.(int64)
	_, isFloat := v.(float64)
	_, isDict := v.(*python.Dict)
	switch name {
	case "none":
		return v == nil, nil
	case "string":
		return isText, nil
	case "number":
		return isInt || isFloat || isBool, nil
	case "integer":
		return isInt, nil
	case "float":
		return isFloat, nil
	case "boolean":
		return isBool, nil
	case "mapping":
		return isDict, nil
	case "sequence", "iterable":
		_, err := iterate(v)
		return err == nil, nil
	case "true":
		return v == true, nil
	case "false":
		return v == false, nil
	case "eq", "equalto":
		return python.Equal(v, args[0]), nil
	case "ne":
		return !python.Equal(v, args[0]), nil
	case "in":
		return contains(args[0], v)
	}
	by := any(int64(2)) // odd, even
	if name == "divisibleby" {
		by = args[0]
	}
	a, aInt := integer(v)
	b, bInt := integer(by)
	if !aInt || !bInt {
		return false, wrong("the test "+name, v, args)
	}
	rest, err := integers("%", a, b)
	return (rest == any(int64(0))) == (name != "odd"), err
}
