package jinja

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"alfred/internal/eval/python"
)

// kind of a token.
type kind int

const (
	tokenData  kind = iota // text between tags
	tokenOpen              // {{ or {%
	tokenClose             // }} or %}
	tokenName
	tokenString // value: decoded
	tokenInteger
	tokenFloat
	tokenOperator
	tokenEnd // of the template
)

type token struct {
	kind  kind
	value string
	at    int // byte of the source
}

func (t token) String() string {
	switch t.kind {
	case tokenEnd:
		return "the end of the template"
	case tokenString:
		return fmt.Sprintf("the text %q", t.value)
	}
	return fmt.Sprintf("%q", t.value)
}

// lexer cuts a template into tokens.
type lexer struct {
	source string
	pos    int
	tokens []token
}

// problem is an error at a place of the template.
type problem struct {
	at  int
	err error
}

func (p *problem) Error() string { return p.err.Error() }

func problemf(at int, format string, args ...any) *problem {
	return &problem{at, fmt.Errorf(format, args...)}
}

var (
	nameToken     = regexp.MustCompile(`^[\pL_][\pL\pN_]*`)
	floatToken    = regexp.MustCompile(`^[0-9](_?[0-9])*((\.[0-9](_?[0-9])*)?[eE][+-]?[0-9](_?[0-9])*|\.[0-9](_?[0-9])*)`)
	integerToken  = regexp.MustCompile(`^(0[bB](_?[01])+|0[oO](_?[0-7])+|0[xX](_?[0-9a-fA-F])+|[1-9](_?[0-9])*|0(_?0)*)`)
	operatorToken = regexp.MustCompile(`^(//|\*\*|==|!=|>=|<=|[-+*/%~()\[\]{}><=.:|,])`)
	rawEnd        = regexp.MustCompile(`\{%[-+]?\s*endraw\s*[-+]?%\}`)
	rawBegin      = regexp.MustCompile(`^\{%([-+]?)\s*raw\s*([-]?)%\}`)
)

// A minus beside a tag takes white space away.
func trimLeft(s string) string  { return python.LStrip(s) }
func trimRight(s string) string { return python.RStrip(s) }

func lex(source string) ([]token, error) {
	l := &lexer{source: strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(source)}
	if !utf8.ValidString(source) {
		return nil, problemf(0, "the template is not UTF-8")
	}
	for l.pos < len(l.source) {
		if err := l.next(); err != nil {
			return nil, err
		}
	}
	l.emit(tokenEnd, "")
	return l.tokens, nil
}

func (l *lexer) emit(k kind, value string) { l.tokens = append(l.tokens, token{k, value, l.pos}) }

// rest is the source that is left.
func (l *lexer) rest() string { return l.source[l.pos:] }

// data adds text, unless it is empty.
func (l *lexer) data(s string) {
	if s != "" {
		l.emit(tokenData, s)
	}
}

// next takes text up to a tag, and the tag.
func (l *lexer) next() error {
	rest, begin := l.rest(), -1
	for i := 0; i+1 < len(rest); i++ {
		if rest[i] == '{' && strings.IndexByte("{%#", rest[i+1]) >= 0 {
			begin = i
			break
		}
	}
	if begin < 0 {
		l.data(rest)
		l.pos = len(l.source)
		return nil
	}
	text, tag := rest[:begin], rest[begin:]
	if len(tag) > 2 && tag[2] == '-' {
		text = trimRight(text)
	}
	l.data(text)
	l.pos += begin
	switch {
	case tag[1] == '#':
		return l.comment(tag)
	case rawBegin.MatchString(tag):
		return l.raw(tag)
	}
	return l.tag(tag)
}

func (l *lexer) comment(tag string) error {
	end := strings.Index(tag[2:], "#}")
	if end < 0 {
		return problemf(l.pos, "the comment does not end")
	}
	end += 2
	l.pos += end + 2
	if end > 2 && tag[end-1] == '-' {
		l.skipSpace()
	}
	return nil
}

func (l *lexer) skipSpace() { l.pos = len(l.source) - len(trimLeft(l.rest())) }

// raw takes what is between {% raw %} and {% endraw %} as text.
func (l *lexer) raw(tag string) error {
	head := rawBegin.FindStringSubmatch(tag)
	inside := tag[len(head[0]):]
	end := rawEnd.FindStringIndex(inside)
	if end == nil {
		return problemf(l.pos, "raw does not end")
	}
	text, tail := inside[:end[0]], inside[end[0]:end[1]]
	if head[2] == "-" {
		text = trimLeft(text)
	}
	if tail[2] == '-' {
		text = trimRight(text)
	}
	l.data(text)
	l.pos += len(head[0]) + end[1]
	if tail[len(tail)-3] == '-' {
		l.skipSpace()
	}
	return nil
}

// tag takes the tokens of an expression or a statement.
func (l *lexer) tag(tag string) error {
	open, end := tag[:2], map[string]string{"{{": "}}", "{%": "%}"}[tag[:2]]
	begin := l.pos
	l.emit(tokenOpen, open)
	l.pos += 2
	if len(tag) > 2 && (tag[2] == '-' || tag[2] == '+' && open == "{%") {
		l.pos++
	}
	var brackets []byte
	for {
		l.skipSpace()
		rest := l.rest()
		if rest == "" {
			return problemf(begin, "the tag %s does not end", open)
		}
		if len(brackets) == 0 {
			if closed, strip := closes(rest, end); closed > 0 {
				l.emit(tokenClose, end)
				l.pos += closed
				if strip {
					l.skipSpace()
				}
				return nil
			}
		}
		value, err := l.token(rest)
		if err != nil {
			return err
		}
		switch value {
		case "(", "[", "{":
			brackets = append(brackets, value[0])
		case ")", "]", "}":
			want := map[string]byte{")": '(', "]": '[', "}": '{'}[value]
			if len(brackets) == 0 || brackets[len(brackets)-1] != want {
				return problemf(l.pos-1, "%s without its opening bracket", value)
			}
			brackets = brackets[:len(brackets)-1]
		}
	}
}

// closes tells how long the end of a tag is that rest begins with, 0 if it is none, and whether it takes white space away.
func closes(rest, end string) (length int, strip bool) {
	switch {
	case strings.HasPrefix(rest, end):
		return 2, false
	case strings.HasPrefix(rest, "-"+end):
		return 3, true
	case strings.HasPrefix(rest, "+"+end) && end == "%}":
		return 3, false
	}
	return 0, false
}

// token takes one token, and gives its text if it is an operator.
func (l *lexer) token(rest string) (operator string, err error) {
	take := func(k kind, text, value string) {
		l.emit(k, value)
		l.pos += len(text)
	}
	switch {
	case rest[0] == '"' || rest[0] == '\'':
		text := quoted(rest)
		if text == "" {
			return "", problemf(l.pos, "the text that begins here does not end")
		}
		value, err := unescape(text[1 : len(text)-1])
		if err != nil {
			return "", problemf(l.pos, "%w", err)
		}
		take(tokenString, text, value)
	case nameToken.MatchString(rest):
		text := nameToken.FindString(rest)
		take(tokenName, text, text)
	case floatToken.MatchString(rest):
		text := floatToken.FindString(rest)
		take(tokenFloat, text, strings.ReplaceAll(text, "_", ""))
	case integerToken.MatchString(rest):
		text := integerToken.FindString(rest)
		take(tokenInteger, text, strings.ReplaceAll(text, "_", ""))
	case operatorToken.MatchString(rest):
		text := operatorToken.FindString(rest)
		take(tokenOperator, text, text)
		return text, nil
	default:
		r, _ := utf8.DecodeRuneInString(rest)
		return "", problemf(l.pos, "the character %q cannot stand here", r)
	}
	return "", nil
}

// quoted is the text in quotes that s begins with, "" if it does not end.
func quoted(s string) string {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return s[:i+1]
		}
	}
	return ""
}

// unescape decodes the escapes of a Python string; unknown ones stay as they are.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			i++
			continue
		}
		if i+1 == len(s) {
			return "", fmt.Errorf("a text ends with \\")
		}
		c := s[i+1]
		i += 2
		switch {
		case c == '\n':
		case strings.IndexByte(`\'"`, c) >= 0:
			b.WriteByte(c)
		case strings.IndexByte("abfnrtv", c) >= 0:
			b.WriteByte("\a\b\f\n\r\t\v"[strings.IndexByte("abfnrtv", c)])
		case c >= '0' && c <= '7':
			v, n := 0, i-1
			for n < len(s) && n < i+2 && s[n] >= '0' && s[n] <= '7' {
				v = v*8 + int(s[n]-'0')
				n++
			}
			b.WriteRune(rune(v))
			i = n
		case c == 'x' || c == 'u' || c == 'U':
			width := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
			var v rune
			if _, err := fmt.Sscanf(s[i:min(i+width, len(s))], fmt.Sprintf("%%%dx", width), &v); err != nil || i+width > len(s) || strings.ContainsAny(s[i:i+width], " +-_") || !utf8.ValidRune(v) {
				return "", fmt.Errorf(`\%c must be followed by %d hexadecimal digits of a character`, c, width)
			}
			b.WriteRune(v)
			i += width
		case c == 'N':
			return "", fmt.Errorf(`\N{...} is not supported`)
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}
