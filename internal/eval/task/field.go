package task

import (
	"gopkg.in/yaml.v3"

	"alfred/internal/eval/jinja"
	"alfred/internal/eval/python"
)

// field is a doc_to_* of a task: what to make of a document. It is one of a fixed value, a function, and text, which names a column of the
// document or else is a Jinja template.
type field struct {
	key      string
	at       Place
	fixed    any // int64, []any; nil if it is something else
	function *function
	text     string
	template *jinja.Template
	broken   error // why text is no template; it may still name a column
}

// field reads a key; nil if it has no value.
func (r *reader) field(key string) *field {
	if !r.has(key) {
		return nil
	}
	n := r.m.nodes[key].resolve()
	f := &field{key: key, at: n.place()}
	if _, ok := n.function(); ok {
		f.function = r.function(key, fieldFunction)
		return f
	}
	v, err := n.value()
	if err != nil {
		r.fail(err)
		return f
	}
	switch v := v.(type) {
	case int64, []any:
		f.fixed = v
	case bool:
		f.fixed = number(v)
	case *python.Dict:
		if n.Kind != yaml.MappingNode || key != "doc_to_choice" {
			r.fail(f.at.errorf("%s cannot be a mapping", key))
			return f
		}
		list := []any{}
		for _, k := range v.Keys() {
			item, _ := v.Get(k)
			list = append(list, item)
		}
		f.fixed = list
	case string:
		f.text = v
		if f.template, f.broken = jinja.Parse(f.at.String(), v); f.broken != nil && !isName(v) {
			r.fail(f.at.errorf("%s: %w", key, f.broken))
		}
	default:
		r.fail(f.at.errorf("%s: %s is neither text nor an integer nor a list", key, python.Repr(v)))
	}
	return f
}

// number is what Python's True and False are.
func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// isName tells whether text could be the name of a column and nothing else.
func isName(s string) bool {
	for _, r := range s {
		if r == '{' || r == '}' || r == '%' || r == '\n' {
			return false
		}
	}
	return s != ""
}

// raw is the field for a document: a column as it is, or what the function or the template makes.
func (f *field) raw(doc *python.Dict, columns map[string]bool) (v any, rendered bool, err error) {
	switch {
	case f.fixed != nil:
		return f.fixed, false, nil
	case f.function != nil:
		v, err = f.function.field(doc)
	case columns[f.text]:
		v, _ = doc.Get(f.text)
		return v, false, nil
	case f.template == nil:
		err = f.broken
	default:
		v, err = f.template.Render(doc)
		rendered = true
	}
	if err != nil {
		return nil, false, f.at.errorf("%s: %w", f.key, err)
	}
	return v, rendered, nil
}

// question is doc_to_text: text, or for tasks with choices a number.
func (f *field) question(doc *python.Dict, columns map[string]bool, choices bool) (any, error) {
	v, rendered, err := f.raw(doc, columns)
	if s, _ := v.(string); rendered && choices && python.IsDigit(s) {
		return f.literal(s)
	}
	return v, err
}

// answer is doc_to_target: text, a number for tasks with choices, or a list of answers.
func (f *field) answer(doc *python.Dict, columns map[string]bool, choices bool) (any, error) {
	v, rendered, err := f.raw(doc, columns)
	s, _ := v.(string)
	switch {
	case err != nil || !rendered:
		return v, err
	case choices && python.IsDigit(s):
		return f.literal(s)
	case len(s) >= 2 && s[0] == '[' && s[len(s)-1] == ']':
		if list, err := python.Literal(s); err == nil {
			return list, nil
		}
	}
	return s, nil
}

// options is doc_to_choice.
func (f *field) options(doc *python.Dict, columns map[string]bool) ([]string, error) {
	v, rendered, err := f.raw(doc, columns)
	if s, _ := v.(string); rendered && err == nil {
		v, err = f.literal(s)
	}
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, f.at.errorf("%s gives %s, no list", f.key, shortened(python.Repr(v)))
	}
	choices := make([]string, len(list))
	for i, item := range list {
		if choices[i], ok = item.(string); !ok {
			return nil, f.at.errorf("%s gives %s among its choices, which is no text", f.key, shortened(python.Repr(item)))
		}
	}
	return choices, nil
}

// word is a field that must be text: description, gen_prefix. A nil field is "".
func (f *field) word(doc *python.Dict) (string, error) {
	if f == nil || f.text == "" {
		return "", nil
	}
	if v, ok := doc.Get(f.text); ok {
		if s, ok := v.(string); ok {
			return s, nil
		}
		return "", f.at.errorf("%s: the column %s is %s, no text", f.key, f.text, shortened(python.Repr(v)))
	}
	v, _, err := f.raw(doc, nil)
	if err != nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", f.at.errorf("%s gives %s, no text", f.key, shortened(python.Repr(v)))
	}
	return s, nil
}

func (f *field) literal(s string) (any, error) {
	v, err := python.Literal(s)
	if err != nil {
		return nil, f.at.errorf("%s gives %s, which is no Python literal: %w", f.key, shortened(s), err)
	}
	return v, nil
}

// shortened is text for an error message.
func shortened(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}
