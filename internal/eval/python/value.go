package python

// Tuple is a Python tuple.
type Tuple []any

// Dict is a Python dict with string keys: it remembers the order in which its keys came.
type Dict struct {
	keys   []string
	values map[string]any
}

// NewDict makes a dict of alternating keys and values.
func NewDict(pairs ...any) *Dict {
	d := &Dict{}
	for i := 0; i+1 < len(pairs); i += 2 {
		d.Set(pairs[i].(string), pairs[i+1])
	}
	return d
}

// Set gives a key its value. A key that is there already keeps its place.
func (d *Dict) Set(key string, value any) {
	if d.values == nil {
		d.values = map[string]any{}
	}
	if _, ok := d.values[key]; !ok {
		d.keys = append(d.keys, key)
	}
	d.values[key] = value
}

// Get is the value of a key.
func (d *Dict) Get(key string) (value any, ok bool) {
	value, ok = d.values[key]
	return value, ok
}

// Keys are in the order in which they were set first; they must not be changed.
func (d *Dict) Keys() []string { return d.keys }

// Len is the number of keys.
func (d *Dict) Len() int { return len(d.keys) }

// Equal is Python's ==: numbers compare by value whatever their type (True == 1 == 1.0), lists and tuples element by element,
// dicts without regard to order; a list never equals a tuple.
func Equal(a, b any) bool {
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x.equal(y)
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case string:
		b, ok := b.(string)
		return ok && a == b
	case []any:
		b, ok := b.([]any)
		return ok && equalAll(a, b)
	case Tuple:
		b, ok := b.(Tuple)
		return ok && equalAll(a, b)
	case *Dict:
		b, ok := b.(*Dict)
		if !ok || a.Len() != b.Len() {
			return false
		}
		for _, key := range a.keys {
			other, ok := b.Get(key)
			if !ok || !Equal(a.values[key], other) {
				return false
			}
		}
		return true
	}
	return false
}

func equalAll(a, b []any) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// numeric is a number of either type.
type numeric struct {
	integer int64
	real    float64
	isReal  bool
}

func number(v any) (numeric, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return numeric{integer: 1}, true
		}
		return numeric{}, true
	case int64:
		return numeric{integer: v}, true
	case float64:
		return numeric{real: v, isReal: true}, true
	}
	return numeric{}, false
}

// equal compares exactly: an integer that float64 cannot hold equals no float.
func (a numeric) equal(b numeric) bool {
	switch {
	case a.isReal && b.isReal:
		return a.real == b.real
	case a.isReal:
		return b.equal(a)
	case b.isReal:
		const exact = 1 << 63 // the first float64 that is no int64
		return b.real >= -exact && b.real < exact && int64(b.real) == a.integer && float64(int64(b.real)) == b.real
	}
	return a.integer == b.integer
}
