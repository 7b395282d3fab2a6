package jinja

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"alfred/internal/eval/python"
)

// typeOf is Python's name of a value's type, for messages.
func typeOf(v any) string {
	switch v.(type) {
	case nil:
		return "None"
	case bool:
		return "a bool"
	case int64:
		return "an int"
	case float64:
		return "a float"
	case string:
		return "a str"
	case []any:
		return "a list"
	case python.Tuple:
		return "a tuple"
	case *python.Dict:
		return "a dict"
	}
	return "a value of another kind"
}

// show is how a value prints.
func show(v any) (string, error) {
	switch v.(type) {
	case blank:
		return "", nil
	case lazy, loop:
		return "", fmt.Errorf("this prints an address in Python: add |list or |join")
	}
	return python.Str(v), nil
}

// truthOf is Python's bool().
func truthOf(v any) bool {
	switch v := v.(type) {
	case nil, blank:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case python.Tuple:
		return len(v) > 0
	case *python.Dict:
		return v.Len() > 0
	}
	return true
}

// integer is a value that Python takes as an index: bools are integers.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// real is a number as a float.
func real(v any) (float64, bool) {
	if f, ok := v.(float64); ok {
		return f, true
	}
	i, ok := integer(v)
	return float64(i), ok
}

// iterate is what a for runs over.
func iterate(v any) ([]any, error) {
	switch v := v.(type) {
	case []any:
		return v, nil
	case python.Tuple:
		return v, nil
	case lazy:
		return v, nil
	case blank:
		return nil, nil
	case string:
		var list []any
		for _, r := range v {
			list = append(list, string(r))
		}
		return list, nil
	case *python.Dict:
		var list []any
		for _, key := range v.Keys() {
			list = append(list, key)
		}
		return list, nil
	}
	return nil, fmt.Errorf("%s cannot be run over", typeOf(v))
}

func (r *renderer) unary(n unaryNode) (any, error) {
	v, err := r.defined(n.of)
	if err != nil {
		return nil, err
	}
	if n.op == "not" {
		return !truthOf(v), nil
	}
	sign := int64(1)
	if n.op == "-" {
		sign = -1
	}
	if i, ok := integer(v); ok {
		if i == math.MinInt64 && sign < 0 {
			return nil, errOverflow
		}
		return sign * i, nil
	}
	if f, ok := v.(float64); ok {
		return float64(sign) * f, nil
	}
	return nil, fmt.Errorf("%s cannot have a sign", typeOf(v))
}

var errOverflow = fmt.Errorf("the result has more than 64 bits, which is not supported")

func (r *renderer) binary(n binaryNode) (any, error) {
	if n.op == "and" || n.op == "or" {
		a, err := r.defined(n.a)
		if err != nil || truthOf(a) == (n.op == "or") {
			return a, err
		}
		return r.eval(n.b)
	}
	v, err := r.all([]expr{n.a, n.b})
	if err != nil {
		return nil, err
	}
	a, b := v[0], v[1]
	if n.op == "~" {
		x, err := show(a)
		if err != nil {
			return nil, err
		}
		y, err := show(b)
		return x + y, err
	}
	if _, isText := a.(string); isText && n.op == "%" {
		return nil, fmt.Errorf("filling in text with %% is not supported")
	}
	if out, ok, err := joined(n.op, a, b); ok || err != nil {
		return out, err
	}
	x, isInt := integer(a)
	y, alsoInt := integer(b)
	if isInt && alsoInt {
		return integers(n.op, x, y)
	}
	f, ok := real(a)
	g, also := real(b)
	if !ok || !also {
		return nil, fmt.Errorf("%s cannot be done with %s and %s", n.op, typeOf(a), typeOf(b))
	}
	return floats(n.op, f, g)
}

// joined are + and * of what is no number.
func joined(op string, a, b any) (out any, ok bool, err error) {
	if op == "*" {
		if _, isInt := integer(a); isInt {
			a, b = b, a
		}
		n, isInt := integer(b)
		n = max(n, 0)
		switch a := a.(type) {
		case string:
			if isInt && int64(len(a))*n > maxOutput || n > maxOutput {
				return nil, true, fmt.Errorf("the text is longer than %d bytes", maxOutput)
			}
			return strings.Repeat(a, int(n)), isInt, nil
		case []any:
			if isInt && (int64(len(a))*n > maxOutput || n > maxOutput) {
				return nil, true, fmt.Errorf("the list is too long")
			}
			return slices.Repeat(a, int(n)), isInt, nil
		}
		return nil, false, nil
	}
	if op != "+" {
		return nil, false, nil
	}
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			return a + b, true, nil
		}
	case []any:
		if b, ok := b.([]any); ok {
			return slices.Concat(a, b), true, nil
		}
	case python.Tuple:
		if b, ok := b.(python.Tuple); ok {
			return slices.Concat(a, b), true, nil
		}
	}
	return nil, false, nil
}

var errDivision = fmt.Errorf("division by zero")

func integers(op string, a, b int64) (any, error) {
	switch op {
	case "+":
		if s := a + b; (s > a) == (b > 0) {
			return s, nil
		}
		return nil, errOverflow
	case "-":
		if s := a - b; (s < a) == (b > 0) {
			return s, nil
		}
		return nil, errOverflow
	case "*":
		if a == 0 || b == 0 {
			return int64(0), nil
		}
		if s := a * b; s/b == a && !(a == -1 && b == math.MinInt64) && !(b == -1 && a == math.MinInt64) {
			return s, nil
		}
		return nil, errOverflow
	case "**":
		if b < 0 {
			return floats(op, float64(a), float64(b))
		}
		out := any(int64(1))
		for range b {
			var err error
			if out, err = integers("*", out.(int64), a); err != nil {
				return nil, err
			}
			if a == 0 || a == 1 {
				break
			}
			if a == -1 {
				return 1 - 2*(b%2), nil
			}
		}
		return out, nil
	}
	if b == 0 {
		return nil, errDivision
	}
	if a == math.MinInt64 && b == -1 {
		return nil, errOverflow
	}
	quotient, rest := a/b, a%b
	if rest != 0 && (rest < 0) != (b < 0) { // Python rounds down
		quotient, rest = quotient-1, rest+b
	}
	switch op {
	case "/":
		return float64(a) / float64(b), nil
	case "//":
		return quotient, nil
	}
	return rest, nil
}

func floats(op string, a, b float64) (any, error) {
	switch op {
	case "+":
		return a + b, nil
	case "-":
		return a - b, nil
	case "*":
		return a * b, nil
	case "**": // math.Pow is not as exact as C's
		return nil, fmt.Errorf("** with floats or a negative exponent is not supported")
	}
	if b == 0 {
		return nil, errDivision
	}
	if op == "/" {
		return a / b, nil
	}
	rest := math.Mod(a, b)
	quotient := (a - rest) / b
	if rest != 0 && (b < 0) != (rest < 0) {
		rest, quotient = rest+b, quotient-1
	}
	if op == "%" {
		if rest == 0 {
			return math.Copysign(0, b), nil
		}
		return rest, nil
	}
	floor := math.Floor(quotient)
	if quotient-floor > 0.5 {
		floor++
	}
	return floor, nil
}

func (r *renderer) compare(n compareNode) (any, error) {
	a, err := r.defined(n.first)
	if err != nil {
		return nil, err
	}
	for i, op := range n.ops {
		b, err := r.defined(n.rest[i])
		if err != nil {
			return nil, err
		}
		if yes, err := compare(op, a, b); err != nil || !yes {
			return false, err
		}
		a = b
	}
	return true, nil
}

func compare(op string, a, b any) (bool, error) {
	switch op {
	case "==":
		return python.Equal(a, b), nil
	case "!=":
		return !python.Equal(a, b), nil
	case "in":
		return contains(b, a)
	case "not in":
		yes, err := contains(b, a)
		return !yes, err
	}
	c, err := order(a, b)
	switch op {
	case "<":
		return c < 0, err
	case "<=":
		return c <= 0, err
	case ">":
		return c > 0, err
	}
	return c >= 0, err
}

// order compares two numbers, two texts, or two lists of such.
func order(a, b any) (int, error) {
	if s, ok := a.(string); ok {
		if t, ok := b.(string); ok {
			return strings.Compare(s, t), nil // by code points, which UTF-8 keeps in order
		}
	}
	f, ok := real(a)
	g, also := real(b)
	if ok && also {
		switch {
		case f < g:
			return -1, nil
		case f > g:
			return 1, nil
		}
		return 0, nil
	}
	x, ok := a.([]any)
	y, also := b.([]any)
	if ok && also {
		for i := range min(len(x), len(y)) {
			if !python.Equal(x[i], y[i]) {
				return order(x[i], y[i])
			}
		}
		return len(x) - len(y), nil
	}
	return 0, fmt.Errorf("%s and %s have no order", typeOf(a), typeOf(b))
}

func contains(in, what any) (bool, error) {
	if s, ok := in.(string); ok {
		part, ok := what.(string)
		if !ok {
			return false, fmt.Errorf("%s cannot be in a str", typeOf(what))
		}
		return strings.Contains(s, part), nil
	}
	items, err := iterate(in)
	for _, item := range items {
		if python.Equal(item, what) {
			return true, nil
		}
	}
	return false, err
}
