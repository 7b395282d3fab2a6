package python

import (
	"fmt"
	"math"
	"strconv"
)

// AppendJSON appends json.dumps(v, ensure_ascii=False, indent=indent), where an indent of 0 is Python's None: one line, ", " and ": "
// between. Floats that JSON does not have are NaN, Infinity and -Infinity, as in Python. It panics on a type that is none of the
// package's.
func AppendJSON(b []byte, v any, indent int) []byte {
	return appendJSON(b, v, indent, 0)
}

func appendJSON(b []byte, v any, indent, level int) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case float64:
		switch {
		case math.IsNaN(v):
			return append(b, "NaN"...)
		case math.IsInf(v, 1):
			return append(b, "Infinity"...)
		case math.IsInf(v, -1):
			return append(b, "-Infinity"...)
		}
		return appendFloat(b, v)
	case string:
		return appendJSONText(b, v)
	case Tuple:
		return appendJSON(b, []any(v), indent, level)
	case []any:
		b = append(b, '[')
		for i, item := range v {
			b = appendJSON(appendBreak(b, i, indent, level+1), item, indent, level+1)
		}
		return append(closing(b, len(v), indent, level), ']')
	case *Dict:
		b = append(b, '{')
		for i, key := range v.keys {
			b = appendJSONText(appendBreak(b, i, indent, level+1), key)
			b = appendJSON(append(b, ": "...), v.values[key], indent, level+1)
		}
		return append(closing(b, v.Len(), indent, level), '}')
	}
	panic(fmt.Sprintf("python: %T is not the type of a Python value", v))
}

// appendBreak appends what stands before item i of a container.
func appendBreak(b []byte, i, indent, level int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	if indent <= 0 {
		if i > 0 {
			b = append(b, ' ')
		}
		return b
	}
	return appendLine(b, indent*level)
}

// closing appends what stands before the closing bracket of n items.
func closing(b []byte, n, indent, level int) []byte {
	if n == 0 || indent <= 0 {
		return b
	}
	return appendLine(b, indent*level)
}

func appendLine(b []byte, spaces int) []byte {
	b = append(b, '\n')
	for range spaces {
		b = append(b, ' ')
	}
	return b
}

func appendJSONText(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			if c < ' ' {
				b = fmt.Appendf(b, `\u%04x`, c)
			} else {
				b = append(b, c)
			}
		}
	}
	return append(b, '"')
}
