package reward

import (
	"context"
	"errors"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"alfred/internal/config"
	"alfred/internal/rollout"
)

// said is a response with one token per word, and an end-of-document token behind them where it ends with one.
func said(text string, finish rollout.Finish) Item {
	ids := make([]int32, len(strings.Fields(text)))
	for i := range ids {
		ids[i] = int32(i + 1)
	}
	if finish == rollout.FinishEOD {
		ids = append(ids, 0)
	}
	return Item{ResponseText: text, Trajectory: rollout.Trajectory{Sequence: 7, Prompt: []int32{5}, Response: ids, Finish: finish}}
}

func TestRules(t *testing.T) {
	type answers map[string]float64
	for _, c := range []struct {
		rule config.Rule
		want answers
	}{
		{config.Rule{Rule: "contains", Text: "Straße"},
			answers{"Straße": 1, "in der Straße.": 1, "straße": 0, "STRASSE": 0, "Stra ße": 0, "": 0}},
		{config.Rule{Rule: "contains", Text: "Straße", IgnoreCase: true},
			// ẞ (U+1E9E) folds to ß simply; SS does only under full folding, which is not meant.
			answers{"die STRAẞE": 1, "straße": 1, "STRASSE": 0}},
		{config.Rule{Rule: "contains", Text: "kelvin", IgnoreCase: true}, answers{"\u212Aelvin": 1, "KELVIN": 1, "elvin": 0}},
		{config.Rule{Rule: "contains", Text: " yes "}, answers{"yes": 0, "oh yes indeed": 1}},
		{config.Rule{Rule: "contains", Text: "\xff", IgnoreCase: true}, answers{"a\xffb": 1, "\uFFFD": 0}},
		{config.Rule{Rule: "regex", Pattern: `^\d+$`}, answers{"123": 1, "12a": 0, " 123": 0, "": 0}},
		{config.Rule{Rule: "regex", Pattern: `b+`}, answers{"aabba": 1, "B": 0}},
		{config.Rule{Rule: "regex", Pattern: `(?i)b+`}, answers{"B": 1}},
		{config.Rule{Rule: "regex", Pattern: `^x`}, answers{"a\nx": 0, "x\na": 1}},
		{config.Rule{Rule: "length", Target: 4},
			answers{"": 0, "a": 0.25, "a b": 0.5, "a b c": 0.75, "a b c d": 1, "a b c d e": 0.75, "1 2 3 4 5 6 7": 0.25, "1 2 3 4 5 6 7 8": 0, strings.Repeat("a ", 50): 0}},
		{config.Rule{Rule: "length", Target: 1}, answers{"": 0, "a": 1, "a b": 0}},
		{config.Rule{Rule: "json"},
			answers{"{}": 1, " [1, 2.5e3, null]\n": 1, "3": 1, `"a"`: 1, "true": 1, "{} {}": 0, "{'a': 1}": 0, `{"a":1,}`: 0, "NaN": 0, "01": 0, "": 0,
				"\"\xff\"": 0, "hello": 0, "\u00a0{}": 0}},
		{config.Rule{Rule: "json", Keys: []string{"a", "b c"}},
			answers{`{"a":1,"b c":null}`: 1, `{"b\u0020c":{},"\u0061":[],"x":0}`: 1, `{"a":1}`: 0, `{"A":1,"B C":2}`: 0, `[{"a":1,"b c":2}]`: 0,
				`{"x":{"a":1,"b c":2}}`: 0, `"a"`: 0, "null": 0, `["a","b c"]`: 0}},
		{config.Rule{Rule: "exact", Text: " yes\n"}, answers{"yes": 1, "\t yes \u2003": 1, "yes.": 0, "Yes": 0, "ye s": 0, "oh yes": 0}},
		{config.Rule{Rule: "exact", Text: "Σίσυφος", IgnoreCase: true}, answers{"ΣΊΣΥΦΟΣ": 1, "σίσυφοσ": 1, "Σίσυφο": 0}},
		{config.Rule{Rule: "exact", Text: ""}, answers{"": 1, " ": 1, "x": 0}},
	} {
		r, err := NewRule(c.rule)
		if err != nil {
			t.Errorf("%+v: %v", c.rule, err)
			continue
		}
		for text, want := range c.want {
			for _, finish := range []rollout.Finish{rollout.FinishEOD, rollout.FinishLength} {
				got, err := r.Score(t.Context(), []Item{said(text, finish)})
				if err != nil || len(got) != 1 || got[0] != want {
					t.Errorf("%+v of %q (%s): %v, %v; want %v", c.rule, text, finish, got, err, want)
				}
			}
		}
	}
}

func TestRuleScoresInOrder(t *testing.T) {
	r, err := NewRule(config.Rule{Rule: "contains", Text: "a"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Score(t.Context(), []Item{said("a", "length"), said("b", "eod"), said("ba", "eod")})
	if err != nil || len(got) != 3 || got[0] != 1 || got[1] != 0 || got[2] != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := r.Score(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("no items: %v, %v", got, err)
	}
}

func TestBadRules(t *testing.T) {
	for want, c := range map[string]config.Rule{
		"no such rule":      {Rule: "contians", Text: "x"},
		"text is empty":     {Rule: "contains"},
		"missing closing )": {Rule: "regex", Pattern: "("},
		"pattern is empty":  {Rule: "regex"},
		"target is 0":       {Rule: "length"},
		"target is -1":      {Rule: "length", Target: -1},
	} {
		if r, err := NewRule(c); err == nil || r != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, %v; want %q", c, r, err, want)
		}
	}
}

// Without a tokenizer there is no text. A rule about text must not take that for an answer; one about length does not mind.
func TestRulesAboutTextNeedText(t *testing.T) {
	mute := Item{Trajectory: rollout.Trajectory{Sequence: 7, Response: []int32{4, 4, 0}, Finish: rollout.FinishEOD}}
	silent := Item{Trajectory: rollout.Trajectory{Sequence: 8, Response: []int32{0}, Finish: rollout.FinishEOD}} // says nothing, and that is its text
	for _, c := range []config.Rule{{Rule: "contains", Text: "x"}, {Rule: "regex", Pattern: "^$"}, {Rule: "json"}, {Rule: "exact"}} {
		r, err := NewRule(c)
		if err != nil {
			t.Fatal(err)
		}
		var wrong *config.Errors
		if got, err := r.Score(t.Context(), []Item{silent, mute}); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "sequence 7") || !strings.Contains(err.Error(), "tokenizer") {
			t.Errorf("%s: %v, %v", c.Rule, got, err)
		}
		if _, err := r.Score(t.Context(), []Item{silent}); err != nil {
			t.Errorf("%s of an empty response: %v", c.Rule, err)
		}
	}
	r, err := NewRule(config.Rule{Rule: "length", Target: 2})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Score(t.Context(), []Item{mute, silent}); err != nil || got[0] != 1 || got[1] != 0 {
		t.Errorf("length: %v, %v", got, err)
	}
}

func TestRuleStopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := NewRule(config.Rule{Rule: "json"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Score(ctx, []Item{said("a", "eod")}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestFoldIsEqualFold: folded texts are equal exactly when strings.EqualFold says so, for every character of the two planes
// that have letters, and for random texts.
func TestFoldIsEqualFold(t *testing.T) {
	for r := rune(0); r <= 0x1ffff; r++ {
		if r >= 0xd800 && r < 0xe000 { // surrogates are no characters
			continue
		}
		if f := fold(string(r)); !strings.EqualFold(f, string(r)) || fold(f) != f {
			t.Fatalf("%U folds to %q", r, f)
		}
		if s := unicode.SimpleFold(r); fold(string(s)) != fold(string(r)) {
			t.Fatalf("%U and %U fold apart", r, s)
		}
	}
	letters := rapid.StringOf(rapid.SampledFrom([]rune("aAbBkK\u212AsSſßẞσςΣiİıI\uFFFD \u0345ιΙ\u1fbe")))
	rapid.Check(t, func(t *rapid.T) {
		a, b := letters.Draw(t, "a"), letters.Draw(t, "b")
		if (fold(a) == fold(b)) != strings.EqualFold(a, b) {
			t.Fatalf("%q and %q", a, b)
		}
		within, as, bs := false, []rune(a), []rune(b)
		for i := 0; i+len(bs) <= len(as); i++ {
			within = within || strings.EqualFold(string(as[i:i+len(bs)]), b)
		}
		if got := contains(b, true)(Item{ResponseText: a}) == 1; got != within {
			t.Fatalf("%q contains %q: %v, want %v", a, b, got, within)
		}
	})
}
