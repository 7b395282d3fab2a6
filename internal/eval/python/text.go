package python

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// Punctuation is string.punctuation.
const Punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

// IsSpace is str.isspace of one character, which is also what \s of a regular expression matches in a str. Go's unicode.IsSpace lacks
// the four separators U+001C to U+001F.
func IsSpace(c rune) bool { return unicode.IsSpace(c) || 0x1c <= c && c <= 0x1f }

// Strip is s.strip().
func Strip(s string) string { return strings.TrimFunc(s, IsSpace) }

// LStrip is s.lstrip().
func LStrip(s string) string { return strings.TrimLeftFunc(s, IsSpace) }

// RStrip is s.rstrip().
func RStrip(s string) string { return strings.TrimRightFunc(s, IsSpace) }

// IsDigit is s.isdigit(): at least one character, all of them decimal digits of some script or other digits ("²", "①").
func IsDigit(s string) bool {
	for _, c := range s {
		if !isDecimal(c) && !unicode.Is(otherDigits, c) {
			return false
		}
	}
	return s != ""
}

// isDecimal is str.isdecimal of one character.
func isDecimal(c rune) bool { return unicode.Is(unicode.Nd, c) && !unicode.Is(afterUnicode14, c) }

// isWord is what \w of a regular expression matches in a str.
func isWord(c rune) bool {
	return c == '_' || unicode.In(c, unicode.L, unicode.N) && !unicode.Is(afterUnicode14, c)
}

// otherDigits are the characters with Numeric_Type=Digit of Unicode: digits that are not part of a decimal system.
var otherDigits = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x00b2, 0x00b3, 1}, {0x00b9, 0x00b9, 1}, {0x1369, 0x1371, 1}, {0x19da, 0x19da, 1}, {0x2070, 0x2070, 1}, {0x2074, 0x2079, 1},
		{0x2080, 0x2089, 1}, {0x2460, 0x2468, 1}, {0x2474, 0x247c, 1}, {0x2488, 0x2490, 1}, {0x24ea, 0x24ea, 1}, {0x24f5, 0x24fd, 1},
		{0x24ff, 0x24ff, 1}, {0x2776, 0x277e, 1}, {0x2780, 0x2788, 1}, {0x278a, 0x2792, 1},
	},
	R32: []unicode.Range32{
		{0x10a40, 0x10a43, 1}, {0x10e60, 0x10e68, 1}, {0x11052, 0x1105a, 1}, {0x1f100, 0x1f10a, 1},
	},
	LatinOffset: 2,
}

// Len is len(s): code points.
func Len(s string) int { return utf8.RuneCountInString(s) }

// Lower is s.lower(): "İ" becomes two characters, and a sigma that ends a word is "ς". (The package cases looks for the end of a word no
// further than 30 characters.)
func Lower(s string) string {
	var b strings.Builder
	for i, c := range s {
		switch {
		case c == 'İ':
			b.WriteString("i\u0307")
		case c == 'Σ' && isFinal(s, i):
			b.WriteRune('ς')
		default:
			b.WriteRune(unicode.ToLower(c))
		}
	}
	return b.String()
}

// isFinal is whether the sigma at a place ends a word: a letter with cases comes before it and none after it, not counting characters
// without meaning for cases (Final_Sigma of the Unicode Standard, table 3-17).
func isFinal(s string, at int) bool {
	before := strings.TrimRightFunc(s[:at], isCaseIgnorable)
	after := strings.TrimLeftFunc(s[at+len("Σ"):], isCaseIgnorable)
	last, _ := utf8.DecodeLastRuneInString(before)
	next, _ := utf8.DecodeRuneInString(after)
	return isCased(last) && !isCased(next)
}

// isCased is the property Cased.
func isCased(c rune) bool {
	return unicode.In(c, unicode.Lower, unicode.Other_Lowercase, unicode.Upper, unicode.Other_Uppercase, unicode.Lt) &&
		!unicode.Is(afterUnicode14, c)
}

// isCaseIgnorable is the property Case_Ignorable: marks, modifiers, formats, and what stands inside words.
func isCaseIgnorable(c rune) bool {
	if unicode.In(c, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) {
		return !unicode.Is(afterUnicode14, c) && (c < 0x13439 || c > 0x1343f) // controls of Unicode 15, which are not printable
	}
	return strings.ContainsRune("'.:·\u0387\u055f\u05f4‘’\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a", c)
}

// Upper is s.upper(): one character may become several ("ß" is "SS").
func Upper(s string) string { return cases.Upper(language.Und).String(s) }

// Capitalize is s.capitalize(): the first character in title case ("ǆ" is "ǅ"), all others in lower case.
func Capitalize(s string) string {
	_, size := utf8.DecodeRuneInString(s)
	first := s[:size]
	// A sigma that ends a word looks back to the first character, so the whole is made lower.
	rest := strings.TrimPrefix(Lower(s), Lower(first))
	return cases.Title(language.Und, cases.NoLower).String(first) + rest
}

// SplitSpace is re.split(r"\s+", s): a space at either end leaves an empty string there, and "" is one empty string.
func SplitSpace(s string) []string {
	var parts []string
	for {
		start := strings.IndexFunc(s, IsSpace)
		if start < 0 {
			return append(parts, s)
		}
		parts = append(parts, s[:start])
		s = LStrip(s[start:])
	}
}
