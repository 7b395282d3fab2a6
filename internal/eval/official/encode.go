package official

import (
	"fmt"
	"strconv"

	"alfred/internal/eval/python"
)

// encode appends a document as Python's json.dumps(document, ensure_ascii=False) prints it. It is the only place that decides
// how a prepared file looks.
func encode(b []byte, document *python.Dict) ([]byte, error) { return appendValue(b, document) }

func appendValue(b []byte, v any) (_ []byte, err error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case string:
		return appendText(b, v), nil
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ", "...)
			}
			if b, err = appendValue(b, e); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case *python.Dict:
		b = append(b, '{')
		for i, key := range v.Keys() {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(appendText(b, key), ": "...)
			value, _ := v.Get(key)
			if b, err = appendValue(b, value); err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
		}
		return append(b, '}'), nil
	}
	return nil, fmt.Errorf("official: no reader makes a %T", v)
}

func appendText(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\b':
			b = append(b, `\b`...)
		case c == '\f':
			b = append(b, `\f`...)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
