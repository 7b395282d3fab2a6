package tokenizer

import (
	"io"
	"unicode/utf8"
)

// byteChars is the byte alphabet of GPT-2 (Radford et al. 2019, bytes_to_unicode in the published
// encoder): bytes that print as themselves in Latin-1 stand for themselves, the other 68 are
// U+0100 and up, in order.
var byteChars = func() (chars [256]rune) {
	next := rune(0x100)
	for b := range chars {
		switch {
		case b >= '!' && b <= '~', b >= 0xA1 && b <= 0xAC, b >= 0xAE:
			chars[b] = rune(b)
		default:
			chars[b] = next
			next++
		}
	}
	return chars
}()

// charBytes is the inverse of byteChars; -1 where a character below U+0144 is not in the alphabet.
var charBytes = func() (bytes [0x144]int16) {
	for i := range bytes {
		bytes[i] = -1
	}
	for b, c := range byteChars {
		bytes[c] = int16(b)
	}
	return bytes
}()

// tokenBytes gives the bytes that a token's text stands for: each character of the byte alphabet is
// one byte. A text with any other character stands for its own UTF-8 bytes; this is the rule of the
// official ByteLevel decoder, and it holds for added tokens too. mapped tells which case it was.
func tokenBytes(text string) (bytes string, mapped bool) {
	same := true
	for i := 0; i < len(text); i++ {
		if text[i] < '!' || text[i] > '~' {
			same = false
			break
		}
	}
	if same {
		return text, true
	}
	out := make([]byte, 0, len(text))
	for _, c := range text {
		if c >= rune(len(charBytes)) || charBytes[c] < 0 {
			return text, false
		}
		out = append(out, byte(charBytes[c]))
	}
	return string(out), true
}

// symbolByte gives the byte whose symbol is text, if text is one character of the alphabet.
func symbolByte(text string) (byte, bool) {
	c, size := utf8.DecodeRuneInString(text)
	if size == 0 || size != len(text) || c >= rune(len(charBytes)) || charBytes[c] < 0 {
		return 0, false
	}
	return byte(charBytes[c]), true
}

// byteReader reads a string as the characters of the byte alphabet, each of width 1, so that a
// regular expression over those characters gives offsets in bytes.
type byteReader struct {
	s string
	i int
}

func (r *byteReader) ReadRune() (rune, int, error) {
	if r.i >= len(r.s) {
		return 0, 0, io.EOF
	}
	c := byteChars[r.s[r.i]]
	r.i++
	return c, 1, nil
}
