package tokenizer

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// compilePattern compiles the Regex of a Split. The official library runs Oniguruma with Ruby's
// syntax; Go has RE2. Only expressions made of what both read alike are accepted: literal
// characters, escaped punctuation, \t \n \r \f \v, the dot, simple character classes, groups
// ( ) and (?: ), |, and the greedy * + ? {n} {n,} {n,m}. Both then find the same leftmost match,
// the one that tries alternatives in order. Left out, because it differs or exists on one side only:
// ^ $ and \b (lines, Unicode), \s \w \d \p{..} (ASCII, edition of Unicode), look-around, flags,
// lazy and possessive repetition, nested classes and &&, and expressions that match nothing.
func compilePattern(pattern string) (*regexp.Regexp, error) {
	if at, what := foreignSyntax(pattern); what != "" {
		return nil, fmt.Errorf("pattern %q: %s at offset %d is not supported", pattern, what, at)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("pattern %q is not supported: %v", pattern, err)
	}
	if re.MatchString("") {
		return nil, fmt.Errorf("pattern %q matches the empty string, which is not supported", pattern)
	}
	return re, nil
}

// foreignSyntax gives the first construct outside the common subset, or "".
func foreignSyntax(pattern string) (at int, what string) {
	for i := 0; i < len(pattern); {
		switch c := pattern[i]; c {
		case '^', '$':
			return i, fmt.Sprintf("the anchor %q", c)
		case '\\':
			n, what := escape(pattern[i:])
			if what != "" {
				return i, what
			}
			i += n
		case '[':
			n, at, what := characterClass(pattern[i:])
			if what != "" {
				return i + at, what
			}
			i += n
		case '(':
			i++
			if strings.HasPrefix(pattern[i:], "?:") {
				i += 2
			} else if i < len(pattern) && pattern[i] == '?' {
				return i - 1, "a look-around, flag or named group"
			}
		case '*', '+', '?', '{':
			n := 1
			if c == '{' {
				if n = repetition(pattern[i:]); n == 0 {
					return i, "a brace that is no {n}, {n,} or {n,m}"
				}
			}
			i += n
			if i < len(pattern) && strings.IndexByte("*+?{", pattern[i]) >= 0 {
				return i, "a lazy, possessive or repeated repetition"
			}
		case ']', '}':
			return i, fmt.Sprintf("a bare %q", c)
		default:
			_, size := utf8.DecodeRuneInString(pattern[i:])
			i += size
		}
	}
	return 0, ""
}

// escape gives the length of the escape at the start of s.
func escape(s string) (n int, what string) {
	if len(s) < 2 {
		return 0, "a trailing backslash"
	}
	if strings.IndexByte(`\.+*?()|[]{}^$-/tnrfv`, s[1]) < 0 {
		_, size := utf8.DecodeRuneInString(s[1:])
		return 0, fmt.Sprintf("the escape %q", s[:1+size])
	}
	return 2, ""
}

// characterClass gives the length of the class at the start of s, or what is wrong and where.
func characterClass(s string) (n, at int, what string) {
	i := 1
	if strings.HasPrefix(s[i:], "^") {
		i++
	}
	for first := true; ; first = false {
		if i >= len(s) {
			return 0, 0, "an open character class"
		}
		if s[i] == ']' {
			if first {
				return 0, i, "an empty character class"
			}
			return i + 1, 0, ""
		}
		n, what := classMember(s[i:])
		if what != "" {
			return 0, i, what
		}
		i += n
		if i+1 < len(s) && s[i] == '-' && s[i+1] != ']' {
			n, what := classMember(s[i+1:])
			if what != "" {
				return 0, i + 1, what
			}
			i += 1 + n
		}
	}
}

// classMember gives the length of one character of a class.
func classMember(s string) (n int, what string) {
	switch s[0] {
	case '\\':
		return escape(s)
	case '[', '&', '-', '^':
		return 0, fmt.Sprintf("a bare %q in a character class", s[0])
	}
	_, size := utf8.DecodeRuneInString(s)
	return size, ""
}

// repetition gives the length of {n}, {n,} or {n,m} at the start of s, or 0.
func repetition(s string) int {
	i, digits, comma := 1, 0, false
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == ',' && digits > 0 && !comma:
			comma = true
		case c == '}' && digits > 0:
			return i + 1
		default:
			return 0
		}
	}
	return 0
}
