package tokenizer

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// patternLine is a line of patterns.jsonl.gz after the header.
type patternLine struct {
	Split  json.RawMessage `json:"split"`
	Text   string          `json:"text"`
	Pieces []string        `json:"pieces"`
}

// Random expressions of the accepted subset cut texts as Oniguruma does in the official library.
func TestGoldenPatterns(t *testing.T) {
	for i, line := range readGoldenLines[patternLine](t, "patterns.jsonl.gz")[1:] {
		r := pretokenizerReader{problems: &problems{}, classes: loadClasses()}
		r.component("pre_tokenizer", jsonValue(line.Split))
		if err := r.err(); err != nil {
			t.Fatalf("case %d: %s: %v", i+1, line.Split, err)
		}
		var pieces []string
		dropped := r.result.before[0].split(line.Text, func(piece string) { pieces = append(pieces, piece) })
		if !slices.Equal(pieces, line.Pieces) {
			t.Fatalf("case %d: %s on %q\n got %q\nwant %q; %s", i+1, line.Split, line.Text, pieces, line.Pieces, regenerate)
		}
		if kept := len(strings.Join(pieces, "")); dropped != len(line.Text)-kept {
			t.Errorf("case %d: %d bytes dropped, %d of %d kept", i+1, dropped, kept, len(line.Text))
		}
	}
}

// A matcher after ByteLevel sees the byte alphabet, and gives offsets in bytes.
func TestByteRegexpMatcher(t *testing.T) {
	re, err := compilePattern("\u0120[0-9]\u00bd?") // space, digit, byte BD
	if err != nil {
		t.Fatal(err)
	}
	m := byteRegexpMatcher{re}
	text := "\u00e9 1\xBD 2"
	for _, want := range [][3]int{{0, 2, 5}, {3, 5, 7}, {6, -1, -1}} {
		if start, end := m.find(text, want[0]); start != want[1] || end != want[2] {
			t.Errorf("find(%q, %d) = %d, %d, want %d, %d", text, want[0], start, end, want[1], want[2])
		}
	}
}

func TestForeignPatternsAreRefused(t *testing.T) {
	for pattern, want := range map[string]string{
		`\s+(?!\S)`:       `the escape "\\s" at offset 0`,
		`a(?!b)`:          `a look-around, flag or named group at offset 1`,
		`(?i:a)`:          `a look-around, flag or named group at offset 0`,
		`(?P<n>a)`:        `a look-around, flag or named group at offset 0`,
		`ab\b`:            `the escape "\\b" at offset 2`,
		`\p{L}+`:          `the escape "\\p" at offset 0`,
		`[\d]`:            `the escape "\\d" at offset 1`,
		"a\\\u00e9":       "the escape \"\\\\\u00e9\" at offset 1",
		`^a`:              `the anchor '^' at offset 0`,
		`a$`:              `the anchor '$' at offset 1`,
		`a+?`:             `a lazy, possessive or repeated repetition at offset 2`,
		`a++`:             `a lazy, possessive or repeated repetition at offset 2`,
		`a{2}?`:           `a lazy, possessive or repeated repetition at offset 4`,
		`a{2}{3}`:         `a lazy, possessive or repeated repetition at offset 4`,
		`a{,2}`:           `a brace that is no {n}, {n,} or {n,m} at offset 1`,
		`a{b`:             `a brace that is no {n}, {n,} or {n,m} at offset 1`,
		`a}`:              `a bare '}' at offset 1`,
		`a]`:              `a bare ']' at offset 1`,
		`[a[b]]`:          `a bare '[' in a character class at offset 2`,
		`[a-z&&b]`:        `a bare '&' in a character class at offset 4`,
		`[a-c-e]`:         `a bare '-' in a character class at offset 4`,
		`[[:alpha:]]`:     `a bare '[' in a character class at offset 1`,
		`[]a]`:            `an empty character class at offset 1`,
		`[^]`:             `an empty character class at offset 2`,
		`[a`:              `an open character class at offset 0`,
		`[a-`:             `a bare '-' in a character class at offset 2`,
		`a\`:              `a trailing backslash at offset 1`,
		`a*`:              `matches the empty string`,
		``:                `matches the empty string`,
		`(a`:              `missing closing )`,
		`[z-a]`:           `invalid character class range`,
		`a{2000}`:         `invalid repeat count`,
		`*a`:              `missing argument to repetition operator`,
		`(?:a|b)(*c)`:     `missing argument to repetition operator`,
		`((a{100}){100})`: `invalid repeat count`,
	} {
		re, err := compilePattern(pattern)
		if err == nil {
			t.Errorf("pattern %q was accepted as %v", pattern, re)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("pattern %q: error %q, want %q in it", pattern, err, want)
		}
	}
}
