package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
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

// parseObject reads a row that is one JSON object.
func parseObject(row []byte) (*object, *problem) {
	if p := checkRow(row); p != nil {
		return nil, p
	}
	return members(row)
}

// members splits a JSON object. A key that comes twice is refused: decoders differ in which of its values they take.
func members(row []byte) (*object, *problem) {
	d := json.NewDecoder(bytes.NewReader(row))
	broken := func(err error) *problem {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = errors.New("it ends within the object")
		}
		return problemf(BrokenJSON, "byte %d: %v", d.InputOffset(), err)
	}
	start, err := d.Token()
	if err != nil {
		return nil, broken(err)
	}
	if start != json.Delim('{') {
		if !json.Valid(row) {
			return nil, problemf(BrokenJSON, "it starts with %v", start)
		}
		return nil, problemf(NotObject, "%.20s", row)
	}
	o := &object{fields: map[string]json.RawMessage{}}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, broken(err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, broken(err)
		}
		name := key.(string) // Token returns no other key
		if _, twice := o.fields[name]; twice {
			return nil, problemf(AmbiguousField, "%q comes twice", name)
		}
		o.fields[name] = value
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return nil, broken(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, broken(errors.New("more follows the object"))
	}
	return o, nil
}

// list splits a JSON list; absent and null are an empty one.
func (o *object) list(key string) ([]json.RawMessage, *problem) {
	var items []json.RawMessage
	if o.has(key) && json.Unmarshal(o.fields[key], &items) != nil {
		return nil, problemf(WrongType, "%q is not a list", key)
	}
	return items, nil
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
