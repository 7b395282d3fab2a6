package python

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxNesting is how deep lists and objects of one JSON text lie in each other. Python gives up at about a thousand, wherever its stack
// happens to stand.
const maxNesting = 500

// ParseJSON reads one JSON text as json.loads does, except that it refuses what JSON does not have (NaN, Infinity), integers beyond
// 64 bits, text that is not UTF-8, surrogates that stand alone, and nesting deeper than 500. Of a key that comes twice the last value
// counts, in the place of the first. A float too large for float64 is infinite. Errors name line and column, in characters from 1.
func ParseJSON(text []byte) (any, error) {
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("JSON: not UTF-8")
	}
	r := &jsonReader{text: string(text)}
	v, err := r.value(0)
	if err == nil && r.peek() != 0 {
		err = fmt.Errorf("more after the value")
	}
	if err != nil {
		line, column := position(r.text, r.at)
		return nil, fmt.Errorf("JSON: line %d, column %d: %w", line, column, err)
	}
	return v, nil
}

// position is the place of a byte, counted in lines and characters from 1.
func position(text string, at int) (line, column int) {
	before := text[:at]
	start := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[start:]) + 1
}

// jsonReader stands where the next token begins, or where an error is.
type jsonReader struct {
	text string
	at   int
}

// peek is the next byte that is no space, 0 at the end. A NUL in the text is an error wherever it stands, so it never passes for the end.
func (r *jsonReader) peek() byte {
	for r.at < len(r.text) {
		switch c := r.text[r.at]; c {
		case ' ', '\t', '\n', '\r':
			r.at++
		case 0:
			return 1
		default:
			return c
		}
	}
	return 0
}

func (r *jsonReader) value(depth int) (any, error) {
	switch c := r.peek(); {
	case c == '"':
		return r.str()
	case (c == '[' || c == '{') && depth == maxNesting:
		return nil, fmt.Errorf("nested deeper than %d", maxNesting)
	case c == '[':
		return r.list(depth + 1)
	case c == '{':
		return r.dict(depth + 1)
	case c == '-' || '0' <= c && c <= '9':
		return r.number()
	}
	for _, word := range []struct {
		text  string
		value any
	}{{"null", nil}, {"true", true}, {"false", false}} {
		if strings.HasPrefix(r.text[r.at:], word.text) {
			r.at += len(word.text)
			return word.value, nil
		}
	}
	return nil, r.expected("a value")
}

func (r *jsonReader) expected(what string) error {
	if r.at >= len(r.text) {
		return fmt.Errorf("expected %s, the text ends", what)
	}
	c, _ := utf8.DecodeRuneInString(r.text[r.at:])
	return fmt.Errorf("expected %s, not %q", what, c)
}

func (r *jsonReader) list(depth int) (any, error) {
	list := []any{}
	r.at++
	if r.peek() == ']' {
		r.at++
		return list, nil
	}
	for {
		v, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		switch r.peek() {
		case ',':
			r.at++
		case ']':
			r.at++
			return list, nil
		default:
			return nil, r.expected("',' or ']'")
		}
	}
}

func (r *jsonReader) dict(depth int) (any, error) {
	dict := NewDict()
	r.at++
	if r.peek() == '}' {
		r.at++
		return dict, nil
	}
	for {
		if r.peek() != '"' {
			return nil, r.expected("a key in double quotes")
		}
		key, err := r.str()
		if err != nil {
			return nil, err
		}
		if r.peek() != ':' {
			return nil, r.expected("':'")
		}
		r.at++
		v, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		dict.Set(key, v)
		switch r.peek() {
		case ',':
			r.at++
		case '}':
			r.at++
			return dict, nil
		default:
			return nil, r.expected("',' or '}'")
		}
	}
}

func (r *jsonReader) number() (any, error) {
	start, real := r.at, false
	r.skip("-")
	if !r.skip("0") && r.digits() == 0 {
		return nil, r.expected("a digit")
	}
	// What looks like a fraction or an exponent and lacks its digits is no part of the number, so it is "more after the value", as
	// in Python.
	if end := r.at; r.skip(".") {
		if r.digits() > 0 {
			real = true
		} else {
			r.at = end
		}
	}
	if end := r.at; r.skip("e") || r.skip("E") {
		_ = r.skip("+") || r.skip("-")
		if r.digits() > 0 {
			real = true
		} else {
			r.at = end
		}
	}
	text := r.text[start:r.at]
	if real {
		f, _ := strconv.ParseFloat(text, 64) // the only error left is the range, where the value is infinite as in Python
		return f, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		r.at = start
		return nil, fmt.Errorf("the integer %.40s is beyond 64 bits", text)
	}
	return n, nil
}

func (r *jsonReader) skip(s string) bool {
	found := strings.HasPrefix(r.text[r.at:], s)
	if found {
		r.at += len(s)
	}
	return found
}

func (r *jsonReader) digits() (n int) {
	for r.at < len(r.text) && '0' <= r.text[r.at] && r.text[r.at] <= '9' {
		r.at++
		n++
	}
	return n
}

func (r *jsonReader) str() (string, error) {
	r.at++
	var out []byte
	for start := r.at; ; {
		if r.at >= len(r.text) {
			return "", r.expected("'\"'")
		}
		switch c := r.text[r.at]; {
		case c == '"':
			out = append(out, r.text[start:r.at]...)
			r.at++
			return string(out), nil
		case c < ' ':
			return "", fmt.Errorf("the control character %q in a text", c)
		case c == '\\':
			out = append(out, r.text[start:r.at]...)
			var err error
			if out, err = r.escape(out); err != nil {
				return "", err
			}
			start = r.at
		default:
			r.at++
		}
	}
}

func (r *jsonReader) escape(out []byte) ([]byte, error) {
	if r.at+1 < len(r.text) {
		if i := strings.IndexByte(`"\/bfnrt`, r.text[r.at+1]); i >= 0 {
			r.at += 2
			return append(out, "\"\\/\b\f\n\r\t"[i]), nil
		}
	}
	c, ok := r.unicodeEscape(r.at)
	if !ok {
		return nil, fmt.Errorf("not an escape: %.6q", r.text[r.at:])
	}
	if !utf16.IsSurrogate(c) {
		r.at += 6
		return utf8.AppendRune(out, c), nil
	}
	second, _ := r.unicodeEscape(r.at + 6)
	if c = utf16.DecodeRune(c, second); c == utf8.RuneError {
		return nil, fmt.Errorf("%s is half of a surrogate pair", r.text[r.at:r.at+6])
	}
	r.at += 12
	return utf8.AppendRune(out, c), nil
}

// unicodeEscape reads \uXXXX at a place.
func (r *jsonReader) unicodeEscape(at int) (rune, bool) {
	if len(r.text) < at+6 || r.text[at] != '\\' || r.text[at+1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(r.text[at+2:at+6], 16, 32)
	return rune(n), err == nil
}
