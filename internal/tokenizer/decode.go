package tokenizer

import "unicode/utf8"

// DecodeBytes gives the bytes that ids stand for, special tokens included. For a vocabulary with
// all byte symbols, DecodeBytes(Encode(text)) is text, valid UTF-8 or not. An id that the tokenizer
// does not know gives U+FFFD (the official library leaves it out silently).
func (t *Tokenizer) DecodeBytes(ids []int32) []byte {
	out := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		out = append(out, t.bytesOf(id)...)
	}
	return out
}

// Decode gives the text that ids stand for, special tokens included. Bytes that are not UTF-8
// become U+FFFD, one for each maximal ill-formed part, as in the official decoder.
func (t *Tokenizer) Decode(ids []int32) string {
	bytes := t.DecodeBytes(ids)
	if utf8.Valid(bytes) {
		return string(bytes)
	}
	text, rest := appendText(make([]byte, 0, len(bytes)+8), bytes)
	if len(rest) > 0 {
		text = append(text, "\uFFFD"...)
	}
	return string(text)
}

// bytesOf gives the bytes of one token.
func (t *Tokenizer) bytesOf(id int32) string {
	if id < 0 || int(id) >= len(t.tokens) || !t.tokens[id].known {
		return "\uFFFD"
	}
	return t.tokens[id].bytes
}

// Stream decodes ids one after another. The concatenation of all Push results and of Flush is what
// Decode gives for all ids. It serves one goroutine at a time.
type Stream struct {
	t    *Tokenizer
	tail []byte // bytes of a character that may still become complete; at most 3
}

// NewStream begins a streaming decoder.
func (t *Tokenizer) NewStream() *Stream { return &Stream{t: t} }

// Push gives the text that id completes: always whole characters, possibly none.
func (s *Stream) Push(id int32) string {
	bytes := append(s.tail, s.t.bytesOf(id)...)
	text, rest := appendText(nil, bytes)
	s.tail = append(s.tail[:0], rest...)
	return string(text)
}

// Flush ends the text: an incomplete character becomes U+FFFD. The Stream can be used again.
func (s *Stream) Flush() string {
	if len(s.tail) == 0 {
		return ""
	}
	s.tail = s.tail[:0]
	return "\uFFFD"
}

// appendText appends the text of bytes to dst, U+FFFD for each maximal ill-formed part, and gives
// the incomplete character at the end, which further bytes might complete.
func appendText(dst, bytes []byte) (text, rest []byte) {
	for len(bytes) > 0 {
		if !utf8.FullRune(bytes) {
			return dst, bytes
		}
		r, size := utf8.DecodeRune(bytes)
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, "\uFFFD"...)
			size = illFormed(bytes)
		} else {
			dst = append(dst, bytes[:size]...)
		}
		bytes = bytes[size:]
	}
	return dst, nil
}

// illFormed gives the length of the maximal ill-formed part at the start of bytes: the longest
// beginning of a well-formed character, at least one byte (Unicode standard, table 3-7).
func illFormed(bytes []byte) int {
	low, high, length := byte(0x80), byte(0xBF), 0
	switch lead := bytes[0]; {
	case lead >= 0xC2 && lead <= 0xDF:
		length = 2
	case lead >= 0xE0 && lead <= 0xEF:
		length = 3
		if lead == 0xE0 {
			low = 0xA0
		} else if lead == 0xED {
			high = 0x9F
		}
	case lead >= 0xF0 && lead <= 0xF4:
		length = 4
		if lead == 0xF0 {
			low = 0x90
		} else if lead == 0xF4 {
			high = 0x8F
		}
	}
	n := 1
	for n < length && n < len(bytes) && bytes[n] >= low && bytes[n] <= high {
		n++
		low, high = 0x80, 0xBF
	}
	return n
}
