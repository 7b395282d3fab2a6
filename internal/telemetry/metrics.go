package telemetry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Value is a number of a metric: an integer, a float, or a list of floats (one per optimizer step of an iteration). The
// zero Value is the integer 0.
type Value struct {
	kind    kind
	integer int64
	float   float64
	list    []float64
}

type kind uint8

const (
	integer kind = iota
	float
	list
)

// Int is a count.
func Int(n int64) Value { return Value{kind: integer, integer: n} }

// Float is a measurement; it may be NaN or infinite.
func Float(x float64) Value { return Value{kind: float, float: x} }

// List is a measurement per optimizer step. It keeps xs.
func List(xs []float64) Value { return Value{kind: list, list: xs} }

// Scalar returns the value as one number: a list's mean, NaN for an empty one.
func (v Value) Scalar() float64 {
	switch v.kind {
	case integer:
		return float64(v.integer)
	case float:
		return v.float
	}
	sum := 0.0
	for _, x := range v.list {
		sum += x
	}
	return sum / float64(len(v.list))
}

// IsInt says whether the value is a count.
func (v Value) IsInt() bool { return v.kind == integer }

// Elements returns the list, or the one number as a list.
func (v Value) Elements() []float64 {
	if v.kind == list {
		return v.list
	}
	return []float64{v.Scalar()}
}

// Metrics is the record of one step: values by name. The zero Metrics is empty and ready for use.
type Metrics struct {
	names  []Name // sorted by compareNames
	values map[Name]Value
}

// nonFinite is the key under which a record keeps what JSON numbers cannot say.
const nonFinite Name = "non_finite"

// Set records a value, replacing an earlier one of the same name. The names of the units and "non_finite" belong to the
// record itself; setting one is a programming error and panics.
func (m *Metrics) Set(name Name, v Value) {
	if reserved(name) {
		panic(fmt.Sprintf("telemetry: metric name %q is reserved", name))
	}
	i, found := slices.BinarySearchFunc(m.names, name, compareNames)
	if !found {
		m.names = slices.Insert(m.names, i, name)
	}
	if m.values == nil {
		m.values = map[Name]Value{}
	}
	m.values[name] = v
}

func reserved(name Name) bool {
	return name == Name(Iteration) || name == Name(Step) || name == nonFinite || name == ""
}

// SetFloat records a measurement.
func (m *Metrics) SetFloat(name Name, x float64) { m.Set(name, Float(x)) }

// SetInt records a count.
func (m *Metrics) SetInt(name Name, n int64) { m.Set(name, Int(n)) }

// SetList records a measurement per optimizer step.
func (m *Metrics) SetList(name Name, xs []float64) { m.Set(name, List(xs)) }

// Lookup returns a value and whether it was recorded.
func (m *Metrics) Lookup(name Name) (Value, bool) {
	v, found := m.values[name]
	return v, found
}

// All yields the values: known metrics in the order of Definitions, then the others by name.
func (m *Metrics) All() iter.Seq2[Name, Value] {
	return func(yield func(Name, Value) bool) {
		for _, n := range m.names {
			if !yield(n, m.values[n]) {
				return
			}
		}
	}
}

// Len counts the values.
func (m *Metrics) Len() int { return len(m.names) }

// appendFields appends `,"name":value` for every value, and a last field "non_finite" for numbers that JSON has no
// notation for: they are null in their place, and "non_finite" maps "name" or "name[index]" to "NaN", "+Inf" or "-Inf".
// Columns thus stay numeric for every reader, and nothing is lost.
//
// Floats are the shortest decimals that read back to the same bits, with ".0" where they would look like integers.
func (m *Metrics) appendFields(b []byte) []byte {
	var bad []byte
	number := func(b []byte, key string, x float64) []byte {
		if finite(x) {
			return appendFloat(b, x)
		}
		bad = appendKey(bad, key)
		bad = strconv.AppendQuote(bad, strconv.FormatFloat(x, 'g', -1, 64))
		return append(b, "null"...)
	}
	for name, v := range m.All() {
		b = appendKey(b, string(name))
		switch v.kind {
		case integer:
			b = strconv.AppendInt(b, v.integer, 10)
		case float:
			b = number(b, string(name), v.float)
		case list:
			b = append(b, '[')
			for i, x := range v.list {
				if i > 0 {
					b = append(b, ',')
				}
				b = number(b, fmt.Sprintf("%s[%d]", name, i), x)
			}
			b = append(b, ']')
		}
	}
	if bad != nil {
		b = appendKey(b, string(nonFinite))
		b = append(b, '{')
		b = append(b, bad[1:]...)
		b = append(b, '}')
	}
	return b
}

// appendKey appends `,"key":`.
func appendKey(b []byte, key string) []byte {
	quoted, _ := json.Marshal(key) // a string always encodes
	return append(append(append(b, ','), quoted...), ':')
}

func appendFloat(b []byte, x float64) []byte {
	format := byte('f')
	if a := math.Abs(x); a != 0 && (a < 1e-6 || a >= 1e21) { // the bounds of JavaScript and encoding/json
		format = 'e'
	}
	start := len(b)
	b = strconv.AppendFloat(b, x, format, -1, 64)
	if !bytes.ContainsAny(b[start:], ".e") {
		b = append(b, ".0"...)
	}
	return b
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// MarshalJSON writes the values as one object, as metrics.jsonl does.
func (m Metrics) MarshalJSON() ([]byte, error) {
	b := m.appendFields(nil)
	if len(b) == 0 {
		return []byte("{}"), nil
	}
	b[0] = '{'
	return append(b, '}'), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (m *Metrics) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	return m.read(fields)
}

func (m *Metrics) read(fields map[string]json.RawMessage) error {
	*m = Metrics{}
	var bad map[string]string
	if raw, found := fields[string(nonFinite)]; found {
		if err := json.Unmarshal(raw, &bad); err != nil {
			return fmt.Errorf("%s: %w", nonFinite, err)
		}
		delete(fields, string(nonFinite))
	}
	for key, raw := range fields {
		if reserved(Name(key)) {
			return fmt.Errorf("%q cannot be a metric", key)
		}
		v, err := readValue(key, raw, bad)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		m.Set(Name(key), v)
	}
	return nil
}

func readValue(key string, raw json.RawMessage, bad map[string]string) (Value, error) {
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && raw[0] == '[' {
		var elements []json.RawMessage
		if err := json.Unmarshal(raw, &elements); err != nil {
			return Value{}, err
		}
		xs := make([]float64, len(elements))
		for i, e := range elements {
			x, err := readFloat(fmt.Sprintf("%s[%d]", key, i), e, bad)
			if err != nil {
				return Value{}, err
			}
			xs[i] = x
		}
		return List(xs), nil
	}
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return Int(n), nil
	}
	x, err := readFloat(key, raw, bad)
	return Float(x), err
}

func readFloat(key string, raw json.RawMessage, bad map[string]string) (float64, error) {
	if string(raw) != "null" {
		var x float64
		err := json.Unmarshal(raw, &x)
		return x, err
	}
	switch what := bad[key]; what {
	case "+Inf":
		return math.Inf(1), nil
	case "-Inf":
		return math.Inf(-1), nil
	case "NaN", "":
		return math.NaN(), nil
	default:
		return 0, fmt.Errorf("%s is null and %s says %q", key, nonFinite, strings.ToValidUTF8(what, "?"))
	}
}
