package document

import (
	"fmt"

	"alfred/internal/eval/python"
)

// schema is the type of a column: what a table needs to hold all its values. The zero schema is that of null.
type schema struct {
	kind   kind
	fields []string // of a dict, in order
	dict   map[string]*schema
	list   *schema
}

type kind int

const (
	null kind = iota
	boolean
	integer
	real
	text
	list
	dict
)

var kindNames = [...]string{"null", "bool", "int", "float", "text", "list", "dict"}

// Align gives all documents the same columns, of one type each, as a table has them: what is missing is null, and integers beside other
// numbers become those. It changes the documents. A column whose values do not go together is an error.
func Align(docs []*python.Dict) error {
	table := &schema{kind: dict, dict: map[string]*schema{}}
	for i, doc := range docs {
		if err := table.widen(doc); err != nil {
			return fmt.Errorf("document %d: %w", i, err)
		}
	}
	for i, doc := range docs {
		docs[i] = table.align(doc).(*python.Dict)
	}
	return nil
}

// widen makes room for a value.
func (s *schema) widen(v any) error {
	k, err := kindOf(v)
	if err != nil || k == null {
		return err
	}
	switch {
	case s.kind == null:
		s.kind = k
	case s.kind == k || s.kind == real && k == integer:
	case s.kind == integer && k == real:
		s.kind = real
	default:
		return fmt.Errorf("%s where other documents have %s", kindNames[k], kindNames[s.kind])
	}
	switch v := v.(type) {
	case []any:
		if s.list == nil {
			s.list = &schema{}
		}
		for _, item := range v {
			if err := s.list.widen(item); err != nil {
				return err
			}
		}
	case *python.Dict:
		if s.dict == nil {
			s.dict = map[string]*schema{}
		}
		for _, key := range v.Keys() {
			if s.dict[key] == nil {
				s.dict[key] = &schema{}
				s.fields = append(s.fields, key)
			}
			item, _ := v.Get(key)
			if err := s.dict[key].widen(item); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	return nil
}

func kindOf(v any) (kind, error) {
	switch v.(type) {
	case nil:
		return null, nil
	case bool:
		return boolean, nil
	case int64:
		return integer, nil
	case float64:
		return real, nil
	case string:
		return text, nil
	case []any:
		return list, nil
	case *python.Dict:
		return dict, nil
	}
	return null, fmt.Errorf("a document cannot hold %T", v)
}

// align makes a value one of the schema.
func (s *schema) align(v any) any {
	switch v := v.(type) {
	case int64:
		if s.kind == real {
			return float64(v)
		}
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = s.list.align(item)
		}
		return out
	case *python.Dict:
		out := python.NewDict()
		for _, key := range s.fields {
			item, _ := v.Get(key)
			out.Set(key, s.dict[key].align(item))
		}
		return out
	}
	return v
}
