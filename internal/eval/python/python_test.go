package python

import (
	"math"
	"strings"
	"testing"
)

func TestLiteralErrorsNameThePlace(t *testing.T) {
	for text, want := range map[string]string{
		"[1,\n 2 3]":            `literal: line 2, column 4: expected ',' or ']', not 3`,
		"{'é': x}":              `literal: line 1, column 7: expected a value (string, number, True, False, None, list, tuple or dict), not x`,
		"{1: 2}":                `literal: line 1, column 2: a key of a dict must be a string`,
		"['a":                   `literal: line 1, column 2: a string without its closing quote`,
		"[1":                    `literal: line 1, column 3: expected ',' or ']', the text ends`,
		"":                      `literal: line 1, column 1: expected a value (string, number, True, False, None, list, tuple or dict), the text ends`,
		"b'a'":                  `literal: line 1, column 1: a string cannot have the prefix b`,
		`'a\N{DIGIT ONE}'`:      `literal: line 1, column 3: a character by its name (\N{...}) is not supported`,
		`'\ud83d'`:              `literal: line 1, column 2: the escape \ud83d is half of a surrogate pair`,
		"12345678901234567890":  `literal: line 1, column 1: the integer 12345678901234567890 is beyond 64 bits`,
		"- 9223372036854775809": `literal: line 1, column 3: the integer 9223372036854775809 is beyond 64 bits`,
		"2j":                    `literal: line 1, column 1: 2j is a complex number, which is not supported`,
		"1 + 1":                 `literal: line 1, column 3: expected the end, not '+'`,
		"\n 1":                  `literal: line 2, column 2: the line is indented`,
		"--1":                   `literal: line 1, column 2: ` + "expected a value (string, number, True, False, None, list, tuple or dict), not '-'",
		"-None":                 `literal: line 1, column 2: a sign stands only before a number`,
		"\xff":                  `literal: not UTF-8`,
		"'\x00'":                `literal: a null byte`,
	} {
		if v, err := Literal(text); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, %v\nwant %s", text, v, err, want)
		}
	}
}

func TestJSONErrorsNameThePlace(t *testing.T) {
	for text, want := range map[string]string{
		"[1,\n 2 3]":            `JSON: line 2, column 4: expected ',' or ']', not '3'`,
		`{"é": x}`:              `JSON: line 1, column 7: expected a value, not 'x'`,
		`{"a" 1}`:               `JSON: line 1, column 6: expected ':', not '1'`,
		`["\ud83d"]`:            `JSON: line 1, column 3: \ud83d is half of a surrogate pair`,
		`["\q"]`:                `JSON: line 1, column 3: not an escape: "\\q\"]"`,
		"[9223372036854775808]": `JSON: line 1, column 2: the integer 9223372036854775808 is beyond 64 bits`,
		"1 2":                   `JSON: line 1, column 3: more after the value`,
		"":                      `JSON: line 1, column 1: expected a value, the text ends`,
		"\"a\nb\"":              `JSON: line 1, column 3: the control character '\n' in a text`,
		"\xff":                  `JSON: not UTF-8`,
	} {
		if v, err := ParseJSON([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, %v\nwant %s", text, v, err, want)
		}
	}
}

// TestDeepNestingIsRefused: no input takes the stack with it.
func TestDeepNestingIsRefused(t *testing.T) {
	for _, text := range []string{strings.Repeat("[", 1<<22), strings.Repeat(`{"a":`, 1<<20), strings.Repeat("(", 1<<22), strings.Repeat("-", 1<<22)} {
		if _, err := ParseJSON([]byte(text)); err == nil {
			t.Errorf("JSON %.10s...: read", text)
		}
		if _, err := Literal(text); err == nil {
			t.Errorf("literal %.10s...: read", text)
		}
	}
	if _, err := ParseJSON([]byte(strings.Repeat("[", maxNesting) + strings.Repeat("]", maxNesting))); err != nil {
		t.Error(err)
	}
}

func TestReprOfContainers(t *testing.T) {
	v := []any{Tuple{}, Tuple{int64(1)}, Tuple{int64(1), "a"}, []any{}, NewDict("k", nil, "it's", true), -0.5, math.Inf(1), false}
	if got, want := Repr(v), `[(), (1,), (1, 'a'), [], {'k': None, "it's": True}, -0.5, inf, False]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := Str([]any{"a"}), "['a']"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := string(AppendJSON([]byte("x"), v[:3], 1)), "x[\n [],\n [\n  1\n ],\n [\n  1,\n  \"a\"\n ]\n]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRandomAtItsEdges(t *testing.T) {
	r := NewRandom(1)
	for _, nk := range [][2]int{{3, 4}, {0, 1}, {3, -1}, {-1, 0}} {
		if s, err := r.Sample(nk[0], nk[1]); err == nil {
			t.Errorf("a sample of %d from %d: got %v", nk[1], nk[0], s)
		}
	}
	if a, b := r.Below(0), r.Choice(-3); a != 0 || b != 0 {
		t.Errorf("below nothing: got %d and %d", a, b)
	}
	if a, b := r.Bits(-1), len(r.Choices(3, -1)); a != 0 || b != 0 {
		t.Errorf("none: got %d and %d", a, b)
	}
}

// TestPatternTakesNoExponentialTime: backtracking alone would need 2^40 steps here.
func TestPatternTakesNoExponentialTime(t *testing.T) {
	p, err := CompilePattern("(a|a)*(a|a)*b")
	if err != nil {
		t.Fatal(err)
	}
	if got := p.FindAll(strings.Repeat("a", 2000)); got != nil {
		t.Errorf("got %v", got)
	}
}

func FuzzLiteral(f *testing.F) {
	for _, c := range readGolden(f).Literals {
		f.Add(*c[0])
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := Literal(text)
		if err != nil || strings.Contains(Repr(v), "inf") { // what is infinite prints as no literal
			return
		}
		again, err := Literal(Repr(v))
		if err != nil || !Equal(v, again) || Repr(v) != Repr(again) {
			t.Errorf("%q is %s, which is read as %v, %v", text, Repr(v), again, err)
		}
	})
}

func FuzzParseJSON(f *testing.F) {
	g := readGolden(f)
	for _, c := range g.JSON {
		f.Add([]byte(c[0]))
	}
	for _, text := range g.RefusedJSON {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := ParseJSON(text)
		if err != nil {
			return
		}
		for _, indent := range []int{0, 2} {
			written := AppendJSON(nil, v, indent)
			if strings.Contains(string(written), "Infinity") { // Python's, and not JSON
				return
			}
			again, err := ParseJSON(written)
			if err != nil || !Equal(v, again) || Repr(v) != Repr(again) {
				t.Errorf("%q is %s, which is read as %v, %v", text, written, again, err)
			}
		}
	})
}

func FuzzPattern(f *testing.F) {
	for _, c := range readGolden(f).Patterns {
		f.Add(c.Pattern, c.Text)
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 100 || len(text) > 200 {
			return
		}
		p, err := CompilePattern(pattern)
		if err != nil {
			return
		}
		at := 0
		for _, match := range p.FindAll(text) {
			if match[0] < at || match[1] < match[0] || match[1] > len(text) {
				t.Errorf("%q in %q: %v after %d", pattern, text, match, at)
			}
			at = match[1]
		}
	})
}

func BenchmarkRandom(b *testing.B) {
	r := NewRandom(1)
	for b.Loop() {
		r.Random()
	}
}
