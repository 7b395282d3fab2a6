package official

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"alfred/internal/eval/python"
)

// fields takes the fields of one row out of a JSON object or one of its parts. The first problem sticks and the row is skipped
// for it; what the methods return after that means nothing.
type fields struct {
	from *python.Dict
	path string // of the part in the row: "question.", empty for the row itself
	row  *rowState
}

// rowState is shared by all parts of a row.
type rowState struct {
	problem *problem
	notes   []*problem
}

func newFields(from *python.Dict) *fields { return &fields{from: from, row: &rowState{}} }

func (f *fields) fail(r Reason, format string, args ...any) {
	if f.row.problem == nil {
		f.row.problem = problemf(r, format, args...)
	}
}

func (f *fields) note(r Reason, format string, args ...any) {
	f.row.notes = append(f.row.notes, problemf(r, format, args...))
}

// has says whether a field is there and not null.
func (f *fields) has(key string) bool {
	v, ok := f.from.Get(key)
	return ok && v != nil
}

func field[T any](f *fields, key, want string) T {
	v, _ := f.from.Get(key)
	t, ok := v.(T)
	switch {
	case v == nil:
		f.fail(MissingField, "%s%s", f.path, key)
	case !ok:
		f.fail(WrongType, "%s%s is %s, not %s", f.path, key, kind(v), want)
	}
	return t
}

func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a truth value"
	case int64, float64:
		return "a number"
	case string:
		return "text"
	case []any:
		return "a list"
	}
	return "an object"
}

func (f *fields) text(key string) string   { return field[string](f, key, "text") }
func (f *fields) list(key string) []any    { return field[[]any](f, key, "a list") }
func (f *fields) integer(key string) int64 { return field[int64](f, key, "a whole number") }

// nullable is a text that may be missing; it is nil then, as on the hub.
func (f *fields) nullable(key string) any {
	if !f.has(key) {
		return nil
	}
	return f.text(key)
}

// object is a part of the row with fields of its own.
func (f *fields) object(key string) *fields {
	return f.part(field[*python.Dict](f, key, "an object"), f.path+key+".")
}

func (f *fields) part(from *python.Dict, path string) *fields {
	if from == nil {
		from = python.NewDict()
	}
	return &fields{from, path, f.row}
}

// objects is a list of parts.
func (f *fields) objects(key string) []*fields {
	var parts []*fields
	for i, v := range f.list(key) {
		d, ok := v.(*python.Dict)
		if !ok {
			f.fail(WrongType, "%s%s[%d] is %s, not an object", f.path, key, i, kind(v))
		}
		parts = append(parts, f.part(d, fmt.Sprintf("%s%s[%d].", f.path, key, i)))
	}
	return parts
}

// texts is a list of texts.
func (f *fields) texts(key string) []any {
	list := f.list(key)
	for i, v := range list {
		if _, ok := v.(string); !ok {
			f.fail(WrongType, "%s%s[%d] is %s, not text", f.path, key, i, kind(v))
		}
	}
	return list
}

// choice is a text that a model chooses or not. An empty one cannot be scored in a meaningful way, so it is noted.
func (f *fields) choice(key string) string {
	s := f.text(key)
	if f.row.problem == nil && python.Strip(s) == "" {
		f.note(EmptyChoice, "%s%s", f.path, key)
	}
	return s
}

// choices is a list of texts to choose from, at least two.
func (f *fields) choices(key string) []any {
	list := f.texts(key)
	if len(list) < 2 {
		f.fail(WrongForm, "%s%s has %d choices", f.path, key, len(list))
	}
	for i, v := range list {
		if s, ok := v.(string); ok && python.Strip(s) == "" {
			f.note(EmptyChoice, "%s%s[%d]", f.path, key, i)
		}
	}
	return list
}

// labelled is a list of {text, label} as the hub's dict of two lists, and the labels.
func (f *fields) labelled(key string) (choices *python.Dict, labels []any) {
	texts := []any{}
	labels = []any{}
	for _, c := range f.objects(key) {
		texts = append(texts, c.choice("text"))
		labels = append(labels, c.text("label"))
	}
	if len(texts) < 2 {
		f.fail(WrongForm, "%s%s has %d choices", f.path, key, len(texts))
	}
	return python.NewDict("text", texts, "label", labels), labels
}

// oneOf is a text among others.
func (f *fields) oneOf(key string, among ...string) string {
	s := f.text(key)
	if !slices.Contains(among, s) {
		f.fail(UnknownAnswer, "%s%s is %q", f.path, key, s)
	}
	return s
}

// class is the number of a named class.
func (f *fields) class(key string, names ...string) int64 {
	return int64(slices.Index(names, f.oneOf(key, names...)))
}

// int32 is a whole number of 32 bits, as which the hub stores ids and offsets.
func (f *fields) int32(key string) int64 {
	n := f.integer(key)
	if n < math.MinInt32 || n > math.MaxInt32 {
		f.fail(WrongType, "%s%s is %d: more than 32 bits", f.path, key, n)
	}
	return n
}

// written is a whole number of 32 bits that the file holds as text.
func (f *fields) written(key string) int64 {
	s := f.text(key)
	n, err := strconv.ParseInt(python.Strip(s), 10, 32)
	if err != nil {
		f.fail(WrongType, "%s%s is %q, not a whole number", f.path, key, s)
	}
	return n
}
