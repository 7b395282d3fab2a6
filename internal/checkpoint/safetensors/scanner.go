package safetensors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner walks over JSON strictly, without building a tree and without recursion beyond a small depth: what is
// expected next is always known. encoding/json is not used because it takes duplicate keys, replaces broken UTF-8
// silently, and needs several times the header's size in memory.
type scanner struct {
	data []byte
	pos  int
	text int // bytes of decoded strings, bounded by maxText
}

func (s *scanner) errorf(format string, args ...any) error {
	return fmt.Errorf("byte %d: %s", s.pos, fmt.Sprintf(format, args...))
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// next takes the byte c, which must come next.
func (s *scanner) next(c byte) error {
	if got := s.peek(); got != c || s.pos >= len(s.data) {
		return s.errorf("expected %q, found %s", c, s.found())
	}
	s.pos++
	return nil
}

func (s *scanner) found() string {
	if s.pos >= len(s.data) {
		return "the end"
	}
	return strconv.QuoteRune(rune(s.data[s.pos]))
}

// list walks over the elements between open and end: item is called at the start of each.
func (s *scanner) list(open, end byte, item func() error) error {
	if err := s.next(open); err != nil {
		return err
	}
	if s.peek() == end {
		return s.next(end)
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if s.peek() == end {
			return s.next(end)
		}
		if err := s.next(','); err != nil {
			return err
		}
	}
}

// object walks over the members of an object: member is called at the start of each value.
func (s *scanner) object(member func(key string) error) error {
	return s.list('{', '}', func() error {
		key, err := s.string()
		if err != nil {
			return err
		}
		if err := s.next(':'); err != nil {
			return err
		}
		return member(key)
	})
}

// number reads a non-negative integer; anything else that JSON calls a number is an error.
func (s *scanner) number() (int, error) {
	s.peek()
	start, n := s.pos, 0
	for ; s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9'; s.pos++ {
		digit := int(s.data[s.pos] - '0')
		if n > (math.MaxInt64-digit)/10 {
			return 0, s.errorf("integer overflows")
		}
		n = 10*n + digit
	}
	if s.pos == start {
		return 0, s.errorf("expected a non-negative integer, found %s", s.found())
	}
	if s.data[start] == '0' && s.pos > start+1 {
		return 0, s.errorf("integer with a leading zero")
	}
	if s.pos < len(s.data) && bytes.IndexByte([]byte(".eE"), s.data[s.pos]) >= 0 {
		return 0, s.errorf("expected an integer, found a fraction or an exponent")
	}
	return n, nil
}

// string reads a string into memory of its own.
func (s *scanner) string() (string, error) {
	if err := s.next('"'); err != nil {
		return "", err
	}
	start, escaped := s.pos, false
	for {
		if s.pos >= len(s.data) {
			return "", s.errorf("string without an end")
		}
		if s.pos-start > maxText-s.text {
			return "", s.errorf("more than %d bytes of names and metadata", maxText)
		}
		c := s.data[s.pos]
		if c < 0x20 {
			return "", s.errorf("control character in a string")
		}
		s.pos++
		if c == '"' {
			break
		}
		if c == '\\' {
			escaped = true
			s.pos++ // whatever is escaped does not end the string
		}
	}
	raw := s.data[start : s.pos-1]
	s.text += len(raw)
	if !utf8.Valid(raw) {
		return "", s.errorf("string is not valid UTF-8")
	}
	if !escaped {
		return string(raw), nil
	}
	text, err := unescape(raw)
	if err != nil {
		return "", s.errorf("%v", err)
	}
	return text, nil
}

var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func unescape(raw []byte) (string, error) {
	out := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		at := bytes.IndexByte(raw, '\\')
		if at < 0 {
			return string(append(out, raw...)), nil
		}
		out = append(out, raw[:at]...)
		raw = raw[at:]
		if plain, ok := escapes[raw[1]]; ok {
			out = append(out, plain)
			raw = raw[2:]
			continue
		}
		unit, ok := hex4(raw)
		if !ok {
			return "", fmt.Errorf("invalid escape in a string")
		}
		raw = raw[6:]
		if utf16.IsSurrogate(unit) {
			low, ok := hex4(raw)
			unit = utf16.DecodeRune(unit, low)
			if !ok || unit == utf8.RuneError {
				return "", fmt.Errorf("unpaired surrogate in a string")
			}
			raw = raw[6:]
		}
		out = utf8.AppendRune(out, unit)
	}
	return string(out), nil
}

// hex4 decodes a \uXXXX at the start of raw.
func hex4(raw []byte) (rune, bool) {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0, false
	}
	var unit rune
	for _, c := range raw[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		unit = unit<<4 | rune(c)
	}
	return unit, true
}

// skip passes over any value that does not matter here.
func (s *scanner) skip(depth int) error {
	if depth == 0 {
		return s.errorf("nested too deeply")
	}
	switch s.peek() {
	case '{':
		return s.object(func(string) error { return s.skip(depth - 1) })
	case '[':
		return s.list('[', ']', func() error { return s.skip(depth - 1) })
	case '"':
		_, err := s.string()
		return err
	default:
		const longest = 400 // digits of any number that somebody would write
		start := s.pos
		for s.pos < len(s.data) && s.pos-start < longest && bytes.IndexByte([]byte(",]} \t\r\n"), s.data[s.pos]) < 0 {
			s.pos++
		}
		if !json.Valid(s.data[start:s.pos]) { // a number or a word
			s.pos = start
			return s.errorf("expected a value, found %s", s.found())
		}
		return nil
	}
}
