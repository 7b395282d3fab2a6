package python

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxBrackets is how many brackets may be open at once, as in CPython's tokenizer.
const maxBrackets = 200

// Literal is ast.literal_eval(s) of Python 3.11 for strings, numbers, True, False, None, lists, tuples and dicts with string keys. It
// refuses what else Python takes: bytes, sets, complex numbers, Ellipsis, other keys, integers beyond 64 bits, characters by name
// (\N{...}) and halves of surrogate pairs. Errors name line and column, in characters from 1.
func Literal(s string) (any, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("literal: not UTF-8")
	}
	if strings.Contains(s, "\x00") {
		return nil, fmt.Errorf("literal: a null byte")
	}
	// Python's tokenizer sees one kind of line end, in strings too.
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	r := &literalReader{text: s}
	v, err := r.whole()
	if err != nil {
		line, column := position(s, r.at)
		return nil, fmt.Errorf("literal: line %d, column %d: %w", line, column, err)
	}
	return v, nil
}

// literalReader stands where the next token begins, or where an error is.
type literalReader struct {
	text     string
	at       int
	brackets int // open ones; inside them a line end is a space
}

// whole reads an expression, which commas without brackets make a tuple, and nothing after it but empty lines and comments.
func (r *literalReader) whole() (any, error) {
	if err := r.beginning(); err != nil {
		return nil, err
	}
	first, err := r.value()
	if err != nil {
		return nil, err
	}
	v := first.value
	if c, err := r.peek(); err != nil {
		return nil, err
	} else if c == ',' {
		if v, err = r.items(Tuple{v}, 0); err != nil {
			return nil, err
		}
	}
	return v, r.end()
}

// end skips lines that hold nothing. They may be indented, but for a last one that does not end.
func (r *literalReader) end() error {
	first := r.at
	if first < len(r.text) && r.text[first] != '\n' {
		return r.expected("the end")
	}
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case ' ', '\t', '\f', '\n':
			r.at++
		case '#':
			r.comment()
		case '\\':
			if err := r.continuation(); err != nil {
				return err
			}
		default:
			return r.expected("the end")
		}
	}
	last := r.text[first+strings.LastIndexAny(r.text[first:], "\n\f")+1:]
	if first < len(r.text) && last != "" && strings.Trim(last, " \t") == "" {
		return fmt.Errorf("the line is indented")
	}
	return nil
}

// beginning skips what may stand before the expression: spaces, which literal_eval strips, and lines that hold nothing. A later line
// must not be indented.
func (r *literalReader) beginning() error {
	r.at = len(r.text) - len(strings.TrimLeft(r.text, " \t"))
	indented := false
	for {
		rest := r.text[r.at:]
		switch {
		case rest == "":
			return nil
		case rest[0] == '\n':
			r.at++
			indented = false
		case rest[0] == '\f':
			r.at++
			indented = false
		case rest[0] == ' ', rest[0] == '\t':
			r.at++
			indented = true
		case rest[0] == '#':
			r.comment()
		case rest[0] == '\\':
			if err := r.continuation(); err != nil {
				return err
			}
		case indented:
			return fmt.Errorf("the line is indented")
		default:
			return nil
		}
	}
}

func (r *literalReader) comment() {
	if end := strings.IndexByte(r.text[r.at:], '\n'); end >= 0 {
		r.at += end
	} else {
		r.at = len(r.text)
	}
}

// continuation skips a backslash that ends its line; the text must not end there.
func (r *literalReader) continuation() error {
	if !strings.HasPrefix(r.text[r.at:], "\\\n") || r.at+2 == len(r.text) {
		return fmt.Errorf("a backslash that continues no line")
	}
	r.at += 2
	return nil
}

// peek skips spaces and is the next byte: 0 at the end of the text, and '\n' where a line ends outside brackets.
func (r *literalReader) peek() (byte, error) {
	for r.at < len(r.text) {
		switch c := r.text[r.at]; {
		case c == ' ', c == '\t', c == '\f', c == '\n' && r.brackets > 0:
			r.at++
		case c == '#':
			r.comment()
		case c == '\\':
			if err := r.continuation(); err != nil {
				return 0, err
			}
		default:
			return c, nil
		}
	}
	return 0, nil
}

func (r *literalReader) expected(what string) error {
	rest := r.text[r.at:]
	if rest == "" {
		return fmt.Errorf("expected %s, the text ends", what)
	}
	if word := identifier(rest); word != "" {
		return fmt.Errorf("expected %s, not %.40s", what, word)
	}
	c, _ := utf8.DecodeRuneInString(rest)
	return fmt.Errorf("expected %s, not %q", what, c)
}

// identifier is the name or the digits that a text begins with.
func identifier(s string) string {
	end := strings.IndexFunc(s, func(c rune) bool { return c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c) })
	if end < 0 {
		return s
	}
	return s[:end]
}

// operand is a value, and whether a sign may stand before it: a number without one. size is its absolute value where it is an
// integer, which may be one more than int64 holds.
type operand struct {
	value any
	plain bool
	size  uint64
}

const aValue = "a value (string, number, True, False, None, list, tuple or dict)"

// value reads an expression without commas outside brackets.
func (r *literalReader) value() (operand, error) {
	c, err := r.peek()
	if err != nil {
		return operand{}, err
	}
	if c != '-' && c != '+' {
		start := r.at
		v, err := r.atom(c)
		if _, isInteger := v.value.(int64); err == nil && v.plain && isInteger && v.size == 1<<63 {
			r.at = start
			return v, errTooLarge(r.text[start:])
		}
		return v, err
	}
	r.at++
	next, err := r.peek()
	if err != nil {
		return operand{}, err
	}
	start := r.at
	v, err := r.atom(next)
	if err != nil {
		return operand{}, err
	}
	if !v.plain {
		r.at = start
		return operand{}, fmt.Errorf("a sign stands only before a number")
	}
	switch n := v.value.(type) {
	case float64:
		if c == '-' {
			n = -n
		}
		return operand{value: n}, nil
	case int64:
		if c == '-' {
			return operand{value: -n}, nil // -2^63 is its own negative
		}
	}
	if v.size == 1<<63 {
		r.at = start
		return operand{}, errTooLarge(r.text[start:])
	}
	return operand{value: v.value}, nil
}

func errTooLarge(text string) error {
	return fmt.Errorf("the integer %.40s is beyond 64 bits", identifier(text))
}

// atom reads a value that begins with c and has no sign.
func (r *literalReader) atom(c byte) (operand, error) {
	switch {
	case c == '[':
		items, err := r.bracketed(']')
		return operand{value: items}, err
	case c == '(':
		return r.parenthesis()
	case c == '{':
		dict, err := r.dict()
		return operand{value: dict}, err
	case '0' <= c && c <= '9', c == '.':
		return r.number()
	}
	if _, _, quote := stringStart(r.text[r.at:]); quote > 0 {
		s, err := r.strings()
		return operand{value: s}, err
	}
	word := identifier(r.text[r.at:])
	for _, constant := range []struct {
		name  string
		value any
	}{{"None", nil}, {"True", true}, {"False", false}} {
		if word == constant.name {
			r.at += len(word)
			return operand{value: constant.value}, nil
		}
	}
	if after := r.text[r.at+len(word):]; word != "" && (strings.HasPrefix(after, "'") || strings.HasPrefix(after, `"`)) {
		return operand{}, fmt.Errorf("a string cannot have the prefix %.40s", word)
	}
	return operand{}, r.expected(aValue)
}

// open steps into a bracket.
func (r *literalReader) open() error {
	if r.brackets == maxBrackets {
		return fmt.Errorf("more than %d brackets are open", maxBrackets)
	}
	r.brackets++
	r.at++
	return nil
}

func (r *literalReader) close() {
	r.brackets--
	r.at++
}

// bracketed reads the items between brackets.
func (r *literalReader) bracketed(end byte) ([]any, error) {
	if err := r.open(); err != nil {
		return nil, err
	}
	items := []any{}
	if c, err := r.peek(); err != nil {
		return nil, err
	} else if c == end {
		r.close()
		return items, nil
	}
	first, err := r.value()
	if err != nil {
		return nil, err
	}
	rest, err := r.items(Tuple{first.value}, end)
	if err != nil {
		return nil, err
	}
	r.close()
	return rest, nil
}

// items reads what follows the first item, up to the bracket that ends it, or up to the end of the line where that is 0. The last
// comma may have nothing after it.
func (r *literalReader) items(items Tuple, end byte) (Tuple, error) {
	ended := func(c byte) bool { return c == end || end == 0 && c == '\n' }
	for {
		c, err := r.peek()
		switch {
		case err != nil:
			return nil, err
		case ended(c):
			return items, nil
		case c != ',' && end == 0:
			return nil, r.expected("',' or the end")
		case c != ',':
			return nil, r.expected("',' or '" + string(rune(end)) + "'")
		}
		r.at++
		if c, err = r.peek(); err != nil {
			return nil, err
		} else if ended(c) {
			return items, nil
		}
		v, err := r.value()
		if err != nil {
			return nil, err
		}
		items = append(items, v.value)
	}
}

// parenthesis reads a tuple, or a value that only stands in parentheses and stays what it is.
func (r *literalReader) parenthesis() (operand, error) {
	if err := r.open(); err != nil {
		return operand{}, err
	}
	if c, err := r.peek(); err != nil {
		return operand{}, err
	} else if c == ')' {
		r.close()
		return operand{value: Tuple{}}, nil
	}
	first, err := r.value()
	if err != nil {
		return operand{}, err
	}
	c, err := r.peek()
	if err != nil {
		return operand{}, err
	}
	if c == ')' {
		r.close()
		return first, nil
	}
	items, err := r.items(Tuple{first.value}, ')')
	if err != nil {
		return operand{}, err
	}
	r.close()
	return operand{value: items}, nil
}

func (r *literalReader) dict() (*Dict, error) {
	if err := r.open(); err != nil {
		return nil, err
	}
	dict := NewDict()
	for {
		if c, err := r.peek(); err != nil {
			return nil, err
		} else if c == '}' {
			r.close()
			return dict, nil
		}
		start := r.at
		k, err := r.value()
		if err != nil {
			return nil, err
		}
		key, ok := k.value.(string)
		if !ok {
			r.at = start
			return nil, fmt.Errorf("a key of a dict must be a string")
		}
		if c, err := r.peek(); err != nil {
			return nil, err
		} else if c != ':' {
			return nil, r.expected("':'")
		}
		r.at++
		v, err := r.value()
		if err != nil {
			return nil, err
		}
		dict.Set(key, v.value)
		switch c, err := r.peek(); {
		case err != nil:
			return nil, err
		case c == ',':
			r.at++
		case c != '}':
			return nil, r.expected("',' or '}'")
		}
	}
}
