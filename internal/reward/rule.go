package reward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"alfred/internal/config"
	"alfred/internal/rollout"
)

// Rule scores a response from 0 to 1 by what it says or how long it is. What each rule means is written where it is
// configured: config.Rule. Every rank computes all scores by itself.
type Rule struct {
	name  string
	reads bool // the rule reads the text, so there must be one
	score func(Item) float64
}

// NewRule prepares a rule. All that is wrong with it is reported at once.
func NewRule(c config.Rule) (*Rule, error) {
	r := &Rule{name: c.Rule, reads: true}
	var problems []error
	demand := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf("reward: rule %s: %s", c.Rule, fmt.Sprintf(format, args...)))
		}
	}
	switch c.Rule {
	case "contains":
		demand(c.Text != "", "text is empty, and every response contains that")
		r.score = contains(c.Text, c.IgnoreCase)
	case "regex":
		pattern, err := regexp.Compile(c.Pattern)
		demand(err == nil, "pattern: %v", err)
		demand(c.Pattern != "", "pattern is empty, and every response matches that")
		r.score = func(it Item) float64 { return truth(pattern.MatchString(it.ResponseText)) }
	case "length":
		demand(c.Target >= 1, "target is %d tokens, at least 1 is needed", c.Target)
		r.reads = false
		r.score = func(it Item) float64 { return nearness(it.length(), c.Target) }
	case "json":
		r.score = func(it Item) float64 { return truth(isJSON(it.ResponseText, c.Keys)) }
	case "exact":
		r.score = exact(c.Text, c.IgnoreCase)
	default:
		demand(false, "there is no such rule: contains, regex, length, json or exact")
	}
	if problems != nil {
		return nil, errors.Join(problems...)
	}
	return r, nil
}

// Score applies the rule to each item. A rule about text fails on a response that has tokens and no text, with a *config.Errors:
// there is no tokenizer then, and 0 would look like an answer.
func (r *Rule) Score(ctx context.Context, items []Item) ([]float64, error) {
	scores := make([]float64, len(items))
	for i, it := range items {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("reward: rule %s: %w", r.name, err)
		}
		if r.reads && it.ResponseText == "" && it.length() > 0 {
			return nil, &config.Errors{Problems: []config.Problem{{Key: "model.reward.rule", Message: fmt.Sprintf(
				"%s: the response of sequence %d has %d tokens and no text; the rule needs a tokenizer, which model.tokenizer can name", r.name, it.Sequence, it.length())}}}
		}
		scores[i] = r.score(it)
	}
	return scores, nil
}

// length is the number of tokens of the response, its end-of-document token not counted.
func (it Item) length() int {
	if it.Finish == rollout.FinishEOD {
		return len(it.Response) - 1
	}
	return len(it.Response)
}

// contains looks for text anywhere in the response.
func contains(text string, ignoreCase bool) func(Item) float64 {
	same := comparison(ignoreCase)
	text = same(text)
	return func(it Item) float64 { return truth(strings.Contains(same(it.ResponseText), text)) }
}

// exact compares the response with text, without the white space around either.
func exact(text string, ignoreCase bool) func(Item) float64 {
	same := comparison(ignoreCase)
	text = same(strings.TrimSpace(text))
	return func(it Item) float64 { return truth(same(strings.TrimSpace(it.ResponseText)) == text) }
}

// nearness is 1 at the target and falls in a straight line to 0 at none and at twice as many.
func nearness(length, target int) float64 {
	return max(0, 1-math.Abs(float64(length-target))/float64(target))
}

// isJSON reports whether text is one JSON value (RFC 8259, which also demands UTF-8), white space around it allowed, and, where
// there are keys, an object that has all of them.
func isJSON(text string, keys []string) bool {
	if !utf8.ValidString(text) || !json.Valid([]byte(text)) {
		return false
	}
	if len(keys) == 0 {
		return true
	}
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &object) != nil {
		return false
	}
	for _, k := range keys {
		if _, ok := object[k]; !ok {
			return false
		}
	}
	return true
}

// comparison gives the form in which texts are compared.
func comparison(ignoreCase bool) func(string) string {
	if ignoreCase {
		return fold
	}
	return func(s string) string { return s }
}

// fold replaces each character by the least of those that differ from it in case only (Unicode simple folding), so that
// folded texts are equal if and only if the texts are equal but for case. Bytes that are not UTF-8 stay as they are.
func fold(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			b.WriteByte(s[i])
		} else {
			b.WriteRune(least(r))
		}
		i += n
	}
	return b.String()
}

// least is the smallest rune of r's orbit under unicode.SimpleFold, which lists an orbit in ascending order and then starts
// again.
func least(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
