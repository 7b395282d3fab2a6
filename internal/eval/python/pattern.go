package python

import (
	"fmt"
	"regexp/syntax"
	"strings"
	"sync"
	"unicode"
)

// Pattern is a regular expression with the meaning that it has in Python's re for str. Go parses it, and so refuses what its syntax
// lacks: lookaround, back-references, possessive and atomic groups. What both have and take to mean different things is done as
// Python does (\d, \w, \s and \b know all of Unicode, $ also matches before the last line end) or refused where it cannot be. Two
// differences stay. Case-insensitive matching folds as Go does, to which the Turkish letters ı and İ, four Greek letters and the
// ligatures of st equal no other letter. And a group that is repeated and can be empty, such as (a*)*, is repeated as Go does: the
// offsets of the group, and rarely those of the match, may differ.
type Pattern struct {
	text     string
	program  *syntax.Prog
	captures int // groups with a number, the whole match among them
}

// CompilePattern reads a pattern; the error names it.
func CompilePattern(text string) (*Pattern, error) {
	translated, err := toGoSyntax(text)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", text, err)
	}
	tree, err := syntax.Parse(translated, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w (supported is what Go's regexp has: no lookaround, no back-references)", text, err)
	}
	captures := tree.MaxCap() + 1
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", text, err)
	}
	return &Pattern{text: text, program: program, captures: captures}, nil
}

// String is the pattern as it was given.
func (p *Pattern) String() string { return p.text }

// classes are what \d, \w and \s stand for, and their opposites, as the inside of a Go class. They take a walk through Unicode, made when
// the first pattern needs it.
var classes = map[byte]func() string{
	'd': sync.OnceValue(func() string { return classOf(isDecimal) }),
	'w': sync.OnceValue(func() string { return classOf(isWord) }),
	's': sync.OnceValue(func() string { return classOf(IsSpace) }),
	'D': sync.OnceValue(func() string { return classOf(func(c rune) bool { return !isDecimal(c) }) }),
	'W': sync.OnceValue(func() string { return classOf(func(c rune) bool { return !isWord(c) }) }),
	'S': sync.OnceValue(func() string { return classOf(func(c rune) bool { return !IsSpace(c) }) }),
}

// classOf lists the ranges of characters that belong.
func classOf(belongs func(rune) bool) string {
	var b strings.Builder
	start := rune(-1)
	for c := rune(0); c <= unicode.MaxRune+1; c++ {
		switch in := c <= unicode.MaxRune && belongs(c); {
		case in && start < 0:
			start = c
		case !in && start >= 0:
			fmt.Fprintf(&b, `\x{%x}-\x{%x}`, start, c-1)
			start = -1
		}
	}
	return b.String()
}

// toGoSyntax writes the classes out and refuses what Go would take for something else than Python does.
func toGoSyntax(text string) (string, error) {
	var b strings.Builder
	class := -1 // where the first item of the class around stands
	start := 0  // where what is no flag begins
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		switch c := text[i]; {
		case c == '\\' && len(rest) > 1:
			i++
			if ranges := classes[rest[1]]; ranges != nil && class >= 0 {
				b.WriteString(ranges())
			} else if ranges != nil {
				b.WriteString("[" + ranges() + "]")
			} else if strings.IndexByte("pPQEzCx", rest[1]) >= 0 && !hexEscape(rest) {
				return "", fmt.Errorf("%s is not in Python's syntax", rest[:2])
			} else if class >= 0 && rest[1] == 'b' {
				b.WriteString(`\x08`) // a backspace, in a class
			} else {
				b.WriteString(rest[:2])
			}
			continue
		case class < 0 && c == '[':
			class = i + 1
			if strings.HasPrefix(rest, "[^") {
				class, i = i+2, i+1
				b.WriteByte('[')
				c = '^'
			}
			b.WriteByte(c)
			continue
		case class >= 0 && c == ']' && i > class:
			class = -1
		case class >= 0 && c == '[': // Go reads [:name:] inside a class
			b.WriteString(`\[`)
			continue
		case class < 0 && strings.HasPrefix(rest, "{,"):
			return "", fmt.Errorf("{,n} is not in Go's syntax: write {0,n}")
		case class < 0 && strings.HasPrefix(rest, "(?<") && !strings.HasPrefix(rest, "(?<=") && !strings.HasPrefix(rest, "(?<!"):
			return "", fmt.Errorf("(?<name>...) is not in Python's syntax: write (?P<name>...)")
		case class < 0 && strings.HasPrefix(rest, "(?)"):
			return "", fmt.Errorf("(?) has no flags")
		case class < 0 && strings.HasPrefix(rest, "(?") && flagsOf(rest) != "":
			flags := flagsOf(rest)
			if strings.ContainsAny(flags, "UaLux") {
				return "", fmt.Errorf("the flags of %.12s are not supported", rest)
			}
			if global := "(?" + flags + ")"; strings.HasPrefix(rest, global) {
				if i > start {
					return "", fmt.Errorf("%s is not at the beginning", global)
				}
				start = i + len(global)
			}
		}
		b.WriteByte(text[i])
	}
	return b.String(), nil
}

// hexEscape is whether a backslash begins \xHH, which both have.
func hexEscape(s string) bool { return len(s) > 3 && s[1] == 'x' && s[2] != '{' }

// flagsOf are the letters after "(?" up to the end of the flags; a named group has none.
func flagsOf(s string) string {
	s = s[2:]
	end := strings.IndexFunc(s, func(c rune) bool { return !unicode.IsLetter(c) && c != '-' })
	if end < 0 || s[end] != ')' && s[end] != ':' {
		return ""
	}
	return s[:end]
}
