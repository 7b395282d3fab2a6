package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

const quotes = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle

var (
	integerForm = regexp.MustCompile(`^[-+]?(0|[1-9][0-9_]*)$`)
	decimalForm = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)
	nonZero     = regexp.MustCompile(`^[-+]?[0.]*[1-9]`)
)

// scalar decodes a scalar and checks it against the key's words and range. It
// is false, with a problem noted, when the value is not accepted; v then keeps
// what it had.
func (d *decoder) scalar(v reflect.Value, n *yaml.Node, f field, path string) bool {
	x, err := reflect.Value{}, error(nil)
	switch {
	case n.Kind != yaml.ScalarNode:
		err = fmt.Errorf("expects %s, got %s", kindName(v.Type()), describe(n))
	case v.Type() == reflect.TypeFor[time.Duration]():
		x, err = duration(n)
	default:
		switch v.Kind() {
		case reflect.String:
			x, err = text(n)
		case reflect.Bool:
			x, err = boolean(n)
		case reflect.Int:
			x, err = integer(n)
		case reflect.Uint64:
			x, err = unsigned(n)
		case reflect.Float64:
			x, err = decimal(n)
		default:
			panic("config: no decoding for a key of type " + v.Type().String())
		}
	}
	if err == nil {
		err = f.accepts(x)
	}
	if err != nil {
		d.problem(n, path, err.Error())
		return false
	}
	v.Set(x.Convert(v.Type()))
	return true
}

// accepts holds a value against the key's words and range.
func (f field) accepts(x reflect.Value) error {
	var amount float64
	switch x.Kind() {
	case reflect.String:
		if word := x.String(); f.words != nil && !slices.Contains(f.words, word) {
			return fmt.Errorf("must be %s, is %q%s", quoted(f.words), shorten(word), DidYouMean(word, f.words))
		}
		return nil
	case reflect.Int:
		amount = float64(x.Int())
	case reflect.Float64:
		amount = x.Float()
	case reflect.Int64: // time.Duration
		amount = time.Duration(x.Int()).Seconds()
	default:
		return nil
	}
	if f.bounds != nil && !f.bounds.contains(amount) {
		return fmt.Errorf("must be %s, is %s", f.bounds, number(amount))
	}
	return nil
}

func text(n *yaml.Node) (x reflect.Value, err error) {
	plain := n.Style&quotes == 0
	fromFlag := n.Line < 0 // a shell has eaten the quotes
	switch tag := n.ShortTag(); {
	case strings.ContainsRune(n.Value, 0):
		return x, errors.New("text cannot hold a NUL character")
	case plain && !fromFlag && (tag == "!!int" || tag == "!!float" || tag == "!!bool"):
		return x, fmt.Errorf("expects text, got %s; quote it: %q", describe(n), shorten(n.Value))
	}
	return reflect.ValueOf(n.Value), nil
}

func boolean(n *yaml.Node) (x reflect.Value, err error) {
	if n.ShortTag() == "!!bool" && n.Style&quotes == 0 {
		return reflect.ValueOf(strings.EqualFold(n.Value, "true")), nil
	}
	meant := map[string]string{"yes": "true", "on": "true", "y": "true", "true": "true", "1": "true",
		"no": "false", "off": "false", "n": "false", "false": "false", "0": "false"}[strings.ToLower(n.Value)]
	if meant != "" {
		return x, fmt.Errorf("expects true or false, got %s; write %s", describe(n), meant)
	}
	return x, fmt.Errorf("expects true or false, got %s", describe(n))
}

// integer takes plain decimal digits only: 010, 0x10, 3.0 and 1e3 mean
// different things to different readers of YAML.
func integer(n *yaml.Node) (x reflect.Value, err error) {
	if err := numeric(n, "a whole number"); err != nil {
		return x, err
	}
	if !integerForm.MatchString(n.Value) {
		hint := ""
		if f, err := strconv.ParseFloat(clean(n.Value), 64); err == nil && f == math.Trunc(f) && math.Abs(f) <= math.MaxInt32 {
			hint = fmt.Sprintf("; write %d", int64(f))
		}
		return x, fmt.Errorf("expects a whole number in plain digits, got %s%s", shorten(n.Value), hint)
	}
	i, err := strconv.ParseInt(clean(n.Value), 10, 64)
	if err != nil || i > math.MaxInt32 || i < math.MinInt32 {
		return x, fmt.Errorf("%s is too large; the limit is %d", shorten(n.Value), math.MaxInt32)
	}
	return reflect.ValueOf(int(i)), nil
}

func unsigned(n *yaml.Node) (x reflect.Value, err error) {
	if err := numeric(n, "a whole number"); err != nil {
		return x, err
	}
	if !integerForm.MatchString(n.Value) {
		return x, fmt.Errorf("expects a whole number in plain digits, got %s", shorten(n.Value))
	}
	u, err := strconv.ParseUint(strings.TrimPrefix(clean(n.Value), "+"), 10, 64)
	if err != nil {
		return x, fmt.Errorf("must be between 0 and %d, is %s", uint64(math.MaxUint64), shorten(n.Value))
	}
	return reflect.ValueOf(u), nil
}

func decimal(n *yaml.Node) (x reflect.Value, err error) {
	if err := numeric(n, "a number"); err != nil {
		return x, err
	}
	switch strings.ToLower(strings.TrimLeft(n.Value, "+-")) {
	case ".nan", ".inf":
		return x, fmt.Errorf("must be finite, is %s", n.Value)
	}
	if !decimalForm.MatchString(n.Value) {
		return x, fmt.Errorf("expects a decimal number, got %s", shorten(n.Value))
	}
	f, err := strconv.ParseFloat(clean(n.Value), 64)
	switch {
	case err != nil:
		return x, fmt.Errorf("%s is too large for a float64", shorten(n.Value))
	case f == 0 && nonZero.MatchString(n.Value):
		return x, fmt.Errorf("%s is too small for a float64, which makes it 0", shorten(n.Value))
	}
	return reflect.ValueOf(f), nil
}

// duration takes a number of seconds, or Go's notation: 500ms, 1m30s.
func duration(n *yaml.Node) (x reflect.Value, err error) {
	if n.ShortTag() == "!!str" {
		t, err := time.ParseDuration(n.Value)
		if err != nil {
			return x, fmt.Errorf("expects seconds, or a time such as 500ms or 1m30s; got %s", describe(n))
		}
		return reflect.ValueOf(t), nil
	}
	x, err = decimal(n)
	if err != nil {
		return x, err
	}
	ns := x.Float() * float64(time.Second)
	if math.Abs(ns) >= math.MaxInt64 {
		return x, fmt.Errorf("%s seconds is too large", shorten(n.Value))
	}
	return reflect.ValueOf(time.Duration(ns)), nil
}

// numeric refuses what is not written as a number. The parser tags a number
// too large for a float64 as text, so the form counts as well.
func numeric(n *yaml.Node, want string) error {
	tag, plain, digits := n.ShortTag(), n.Style&quotes == 0, decimalForm.MatchString(n.Value)
	switch {
	case tag == "!!int", tag == "!!float", plain && digits:
		return nil
	case digits:
		return fmt.Errorf("expects %s, got %s; take the quotes away", want, describe(n))
	}
	return fmt.Errorf("expects %s, got %s", want, describe(n))
}

func clean(digits string) string { return strings.ReplaceAll(digits, "_", "") }

// kindName says what a key of a type expects.
func kindName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a time"
	case t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int, t.Kind() == reflect.Uint64:
		return "a whole number"
	}
	return "a number"
}

// describe says what a node is, for messages.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "the number " + shorten(n.Value)
	case "!!bool", "!!null":
		return cmp.Or(shorten(n.Value), "nothing")
	}
	return fmt.Sprintf("the text %q", shorten(n.Value))
}

// shorten keeps messages readable when a value is not.
func shorten(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}

// resolve follows an alias to its anchor.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Style&quotes == 0 && n.ShortTag() == "!!null"
}
