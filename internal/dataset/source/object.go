package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// object is one JSON object whose values are still undecoded.
type object struct {
	fields map[string]json.RawMessage
	crlf   bool // a text held CRLF
}

// checkRow finds what a JSON decoder would let pass or mend in silence.
func checkRow(row []byte) *problem {
	if !utf8.Valid(row) {
		return problemf(InvalidUTF8, "byte %d", validPrefix(row))
	}
	return nil
}

func validPrefix(b []byte) int {
	n := 0
	for n < len(b) {
		r, size := utf8.DecodeRune(b[n:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		n += size
	}
	return n
}

// decodeRow decodes a JSON object, with the problem that stops it.
func decodeRow(row []byte, into any) *problem {
	if p := checkRow(row); p != nil {
		return p
	}
	err := json.Unmarshal(row, into)
	if err == nil {
		return nil
	}
	var typeErr *json.UnmarshalTypeError
	var syntaxErr *json.SyntaxError
	switch {
	case errors.As(err, &typeErr) && typeErr.Field == "":
		return problemf(NotObject, "%s", typeErr.Value)
	case errors.As(err, &typeErr):
		return problemf(WrongType, "%q is a %s", typeErr.Field, typeErr.Value)
	case errors.As(err, &syntaxErr):
		return problemf(BrokenJSON, "byte %d: %v", syntaxErr.Offset, err)
	}
	return problemf(BrokenJSON, "%v", err)
}

func parseObject(row []byte) (*object, *problem) {
	o := &object{}
	if p := decodeRow(row, &o.fields); p != nil {
		return nil, p
	}
	if o.fields == nil { // the row was null
		return nil, problemf(NotObject, "null")
	}
	return o, nil
}

func (o *object) has(key string) bool {
	raw, ok := o.fields[key]
	return ok && !isNull(raw)
}

// text returns a required string field, checked and with LF line ends.
func (o *object) text(key string) (string, *problem) {
	if !o.has(key) {
		return "", problemf(MissingField, "%q", key)
	}
	return o.decodeText(key, o.fields[key])
}

// optionalText is text for a field that may be absent or null.
func (o *object) optionalText(key string) (string, *problem) {
	if !o.has(key) {
		return "", nil
	}
	return o.decodeText(key, o.fields[key])
}

func (o *object) decodeText(key string, raw json.RawMessage) (string, *problem) {
	s, crlf, p := decodeText(key, raw)
	o.crlf = o.crlf || crlf
	return s, p
}

// decodeText decodes a JSON string that holds text. CRLF becomes LF; NUL and lone surrogate escapes are refused.
func decodeText(key string, raw json.RawMessage) (text string, crlf bool, p *problem) {
	if len(raw) == 0 || isNull(raw) {
		return "", false, problemf(MissingField, "%q", key)
	}
	if raw[0] != '"' {
		return "", false, problemf(WrongType, "%q is not a string", key)
	}
	if at := loneSurrogate(raw); at >= 0 {
		return "", false, problemf(LoneSurrogate, "%q, byte %d", key, at)
	}
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", false, problemf(BrokenJSON, "%q: %v", key, err)
	}
	return checkText(key, text)
}

// checkText applies the rules of decodeText to a string that did not come from JSON.
func checkText(key, text string) (_ string, crlf bool, p *problem) {
	if !utf8.ValidString(text) {
		return "", false, problemf(InvalidUTF8, "%q, byte %d", key, validPrefix([]byte(text)))
	}
	if at := strings.IndexByte(text, 0); at >= 0 {
		return "", false, problemf(NULInText, "%q, byte %d", key, at)
	}
	if strings.Contains(text, "\r\n") {
		return strings.ReplaceAll(text, "\r\n", "\n"), true, nil
	}
	return text, false, nil
}

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

// loneSurrogate returns the offset of the first \uD800-\uDFFF escape in a JSON string that is not part of a pair, or -1.
// encoding/json would turn it into U+FFFD without a word.
func loneSurrogate(raw []byte) int {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		unit, ok := unicodeEscape(raw[i:])
		if !ok || unit < 0xd800 || unit > 0xdfff {
			i++ // over the escaped character, which may be another backslash
			continue
		}
		low, ok := unicodeEscape(raw[min(i+6, len(raw)):])
		if unit >= 0xdc00 || !ok || low < 0xdc00 || low > 0xdfff {
			return i
		}
		i += 11
	}
	return -1
}

// unicodeEscape reads \uXXXX at the start of b.
func unicodeEscape(b []byte) (uint64, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return v, err == nil
}
