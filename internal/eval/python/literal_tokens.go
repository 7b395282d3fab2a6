package python

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// stringStart says how a string begins: the length of its prefix, whether backslashes are ordinary in it, and the length of its quote,
// 0 where no string begins.
func stringStart(s string) (prefix int, raw bool, quote int) {
	if s != "" && strings.IndexByte("rRuU", s[0]) >= 0 {
		prefix, raw = 1, s[0] == 'r' || s[0] == 'R'
	}
	rest := s[prefix:]
	for _, q := range []string{`"""`, "'''", `"`, "'"} {
		if strings.HasPrefix(rest, q) {
			return prefix, raw, len(q)
		}
	}
	return 0, false, 0
}

// strings reads one string or several side by side, which are one.
func (r *literalReader) strings() (string, error) {
	var out []byte
	for {
		prefix, raw, quote := stringStart(r.text[r.at:])
		if quote == 0 {
			if word := identifier(r.text[r.at:]); word != "" {
				return "", r.expected("the end of the string, or another string")
			}
			return string(out), nil
		}
		var err error
		if out, err = r.oneString(out, prefix, raw, quote); err != nil {
			return "", err
		}
		if _, err := r.peek(); err != nil {
			return "", err
		}
	}
}

func (r *literalReader) oneString(out []byte, prefix int, raw bool, quote int) ([]byte, error) {
	begin := r.at
	end := r.text[r.at+prefix : r.at+prefix+quote]
	r.at += prefix + quote
	for {
		rest := r.text[r.at:]
		switch {
		case strings.HasPrefix(rest, end):
			r.at += quote
			return out, nil
		case rest == "" || rest[0] == '\n' && quote == 1:
			r.at = begin
			return nil, fmt.Errorf("a string without its closing quote")
		case rest[0] != '\\':
			out = append(out, rest[0])
			r.at++
		case len(rest) == 1:
			r.at = begin
			return nil, fmt.Errorf("a string without its closing quote")
		case raw: // the backslash stays, and what follows it ends nothing
			out = append(out, rest[:2]...)
			r.at += 2
		default:
			var err error
			if out, err = r.escape(out); err != nil {
				return nil, err
			}
		}
	}
}

// escape reads an escape of at least two characters. What is none stands for itself, with its backslash.
func (r *literalReader) escape(out []byte) ([]byte, error) {
	rest := r.text[r.at:]
	c := rest[1]
	if i := strings.IndexByte(`\'"abfnrtv`, c); i >= 0 {
		r.at += 2
		return append(out, "\\'\"\a\b\f\n\r\t\v"[i]), nil
	}
	switch c {
	case '\n':
		r.at += 2
		return out, nil
	case 'x':
		return r.hexadecimal(out, 2)
	case 'u':
		return r.hexadecimal(out, 4)
	case 'U':
		return r.hexadecimal(out, 8)
	case 'N':
		return nil, fmt.Errorf(`a character by its name (\N{...}) is not supported`)
	}
	digits := 0
	for digits < 3 && 1+digits < len(rest) && '0' <= rest[1+digits] && rest[1+digits] <= '7' {
		digits++
	}
	if digits == 0 {
		r.at++
		return append(out, '\\'), nil
	}
	n, _ := strconv.ParseUint(rest[1:1+digits], 8, 32) // octal digits by the loop above
	r.at += 1 + digits
	return utf8.AppendRune(out, rune(n)), nil
}

func (r *literalReader) hexadecimal(out []byte, digits int) ([]byte, error) {
	rest := r.text[r.at:]
	text := rest[:min(2+digits, len(rest))]
	n, err := strconv.ParseUint(text[2:], 16, 32)
	switch {
	case err != nil || len(text) < 2+digits:
		return nil, fmt.Errorf("the escape \\%c has %d hexadecimal digits", rest[1], digits)
	case n > unicode.MaxRune:
		return nil, fmt.Errorf("the escape %s is beyond Unicode", text)
	case utf16.IsSurrogate(rune(n)):
		return nil, fmt.Errorf("the escape %s is half of a surrogate pair", text)
	}
	r.at += len(text)
	return utf8.AppendRune(out, rune(n)), nil
}

// number reads a number without a sign.
func (r *literalReader) number() (operand, error) {
	text := r.text[r.at:]
	text = text[:numberEnd(text)]
	bad := fmt.Errorf("%.40s is not a number", text)
	lower := strings.ToLower(text)
	if len(lower) > 1 && lower[0] == '0' {
		if base := map[byte]int{'x': 16, 'o': 8, 'b': 2}[lower[1]]; base > 0 {
			return r.integer(text, strings.TrimPrefix(lower[2:], "_"), base, bad)
		}
	}
	switch {
	case strings.HasSuffix(lower, "j"):
		return operand{}, fmt.Errorf("%.40s is a complex number, which is not supported", text)
	case strings.ContainsAny(lower, ".e"):
		if text == "." {
			return operand{}, r.expected(aValue)
		}
		plain, ok := withoutUnderscores(lower, "0123456789")
		f, err := strconv.ParseFloat(plain, 64)
		// Out of range is infinite or zero, as in Python.
		if !ok || err != nil && !errors.Is(err, strconv.ErrRange) {
			return operand{}, bad
		}
		r.at += len(text)
		return operand{value: f, plain: true}, nil
	case text[0] == '0' && strings.Trim(text, "0_") != "":
		return operand{}, fmt.Errorf("%.40s: a decimal integer has no leading zeros", text)
	}
	return r.integer(text, lower, 10, bad)
}

func (r *literalReader) integer(text, digits string, base int, bad error) (operand, error) {
	plain, ok := withoutUnderscores(digits, "0123456789abcdef"[:base])
	if !ok || plain == "" || strings.ContainsAny(plain, "+-") {
		return operand{}, bad
	}
	n, err := strconv.ParseUint(plain, base, 64)
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		return operand{}, bad
	case err != nil || n > 1<<63:
		return operand{}, errTooLarge(text)
	}
	r.at += len(text)
	return operand{value: int64(n), plain: true, size: n}, nil
}

// numberEnd is how far the characters go that a number can have: letters, digits, points, and the sign of an exponent.
func numberEnd(s string) int {
	hexadecimal := len(s) > 1 && (s[1] == 'x' || s[1] == 'X')
	for i, c := range s {
		switch {
		case c == '.' || c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c):
		case (c == '+' || c == '-') && i > 0 && !hexadecimal && (s[i-1] == 'e' || s[i-1] == 'E'):
		default:
			return i
		}
	}
	return len(s)
}

// withoutUnderscores takes out underscores, which stand only between digits.
func withoutUnderscores(s, digits string) (string, bool) {
	for i := range len(s) {
		if s[i] == '_' && (i == 0 || i == len(s)-1 || strings.IndexByte(digits, s[i-1]) < 0 || strings.IndexByte(digits, s[i+1]) < 0) {
			return "", false
		}
	}
	return strings.ReplaceAll(s, "_", ""), true
}
