package tokenizer

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"
)

// jsonValue is the text of one JSON value, already known to be valid, without surrounding space.
// Walking the text keeps what encoding/json would hide: repeated keys, and the exact spelling of
// keys. Strings without escapes are returned as parts of the text, so a vocabulary costs no copies.
type jsonValue string

// validJSON reports a syntax error with its line and column, text that is not UTF-8, and escapes of
// half a surrogate pair, which encoding/json would silently replace.
func validJSON(src string) (jsonValue, error) {
	if !utf8.ValidString(src) {
		return "", fmt.Errorf("not valid UTF-8")
	}
	data := []byte(src)
	if !json.Valid(data) {
		var ignored json.RawMessage
		err := json.Unmarshal(data, &ignored)
		if syntax, ok := err.(*json.SyntaxError); ok {
			line, column := position(src, int(syntax.Offset)-1) // Offset is after the byte read last
			return "", fmt.Errorf("%d:%d: %v", line, column, err)
		}
		return "", fmt.Errorf("not valid JSON: %v", err)
	}
	if at := loneSurrogate(src); at >= 0 {
		line, column := position(src, at)
		return "", fmt.Errorf("%d:%d: %q is half a surrogate pair", line, column, src[at:at+6])
	}
	return jsonValue(strings.Trim(src, " \t\r\n")), nil
}

// position gives the line and column, from 1, of the byte at offset.
func position(src string, offset int) (line, column int) {
	before := src[:min(max(offset, 0), len(src))]
	return strings.Count(before, "\n") + 1, len(before) - strings.LastIndexByte(before, '\n')
}

// loneSurrogate gives the offset of the first \uD800..\uDFFF escape without its other half, or -1.
func loneSurrogate(src string) int {
	unit := func(i int) string { // the four hex digits of a \u escape at i, upper case
		if i+6 > len(src) || src[i] != '\\' || src[i+1] != 'u' {
			return ""
		}
		return strings.ToUpper(src[i+2 : i+6])
	}
	for i := 0; ; {
		next := strings.IndexByte(src[i:], '\\')
		if next < 0 {
			return -1
		}
		i += next
		switch hex := unit(i); {
		case hex >= "D800" && hex < "DC00":
			if low := unit(i + 6); low < "DC00" || low > "DFFF" {
				return i
			}
			i += 12
		case hex >= "DC00" && hex <= "DFFF":
			return i
		case hex != "":
			i += 6
		default:
			i += 2
		}
	}
}

func (v jsonValue) isNull() bool { return v == "null" }

func (v jsonValue) isObject() bool { return v != "" && v[0] == '{' }

func (v jsonValue) isArray() bool { return v != "" && v[0] == '[' }

// text gives the string that v holds; false when v is not a string.
func (v jsonValue) text() (string, bool) {
	if v == "" || v[0] != '"' {
		return "", false
	}
	inner := string(v[1 : len(v)-1])
	if strings.IndexByte(inner, '\\') < 0 {
		return inner, true
	}
	var s string
	if err := json.Unmarshal([]byte(v), &s); err != nil {
		return "", false
	}
	return s, true
}

// integer gives the number that v holds when it is a whole number from 0 to limit-1 in plain digits.
func (v jsonValue) integer(limit int32) (int32, bool) {
	if v == "" || len(v) > 10 {
		return 0, false
	}
	var n int64
	for _, c := range []byte(v) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return int32(n), n < int64(limit)
}

// members walks the keys and values of an object in file order.
func (v jsonValue) members() iter.Seq2[string, jsonValue] {
	return func(yield func(string, jsonValue) bool) {
		for i := v.space(1); v[i] != '}'; {
			keyEnd := v.end(i)
			key, _ := v[i:keyEnd].text()
			i = v.space(v.space(keyEnd) + 1) // past the colon
			valueEnd := v.end(i)
			if !yield(key, v[i:valueEnd]) {
				return
			}
			if i = v.space(valueEnd); v[i] == ',' {
				i = v.space(i + 1)
			}
		}
	}
}

// elements walks the values of an array.
func (v jsonValue) elements() iter.Seq2[int, jsonValue] {
	return func(yield func(int, jsonValue) bool) {
		for n, i := 0, v.space(1); v[i] != ']'; n++ {
			end := v.end(i)
			if !yield(n, v[i:end]) {
				return
			}
			if i = v.space(end); v[i] == ',' {
				i = v.space(i + 1)
			}
		}
	}
}

// space gives the first offset from i that is not white space.
func (v jsonValue) space(i int) int {
	for v[i] == ' ' || v[i] == '\n' || v[i] == '\r' || v[i] == '\t' {
		i++
	}
	return i
}

// end gives the offset after the value that starts at i.
func (v jsonValue) end(i int) int {
	switch v[i] {
	case '"':
		for i++; v[i] != '"'; i++ {
			if v[i] == '\\' {
				i++
			}
		}
		return i + 1
	case '{', '[':
		for depth := 0; ; {
			switch v[i] {
			case '"':
				i = v.end(i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			i++
			if depth == 0 {
				return i
			}
		}
	}
	for i < len(v) && strings.IndexByte(",]} \n\r\t", v[i]) < 0 {
		i++
	}
	return i
}
