package metric

import (
	"fmt"
	"strings"

	"alfred/internal/eval/python"
)

// ExactMatchOptions say what a comparison of texts does not look at, in the order in which it is taken away. Patterns have Python's
// meaning; see python.Pattern for those that are refused.
type ExactMatchOptions struct {
	RegexesToIgnore   []string
	IgnoreCase        bool
	IgnorePunctuation bool // ASCII's
	IgnoreNumbers     bool // the digits 0 to 9
}

// ExactMatch is lm-eval's metric exact_match: exact_match_hf_evaluate of lm_eval/api/metrics.py.
type ExactMatch struct {
	patterns []*python.Pattern
	options  ExactMatchOptions
}

// NewExactMatch compiles the patterns; the error names the first one that is refused.
func NewExactMatch(options ExactMatchOptions) (*ExactMatch, error) {
	m := &ExactMatch{options: options}
	for _, text := range options.RegexesToIgnore {
		pattern, err := python.CompilePattern(text)
		if err != nil {
			return nil, fmt.Errorf("metric: exact_match: regexes_to_ignore: %w", err)
		}
		m.patterns = append(m.patterns, pattern)
	}
	return m, nil
}

// Score is the share of predictions that equal the reference at the same place. Several references of one document are scored with the
// prediction repeated, as lm-eval does.
func (m *ExactMatch) Score(predictions, references []string) (float64, error) {
	if len(predictions) != len(references) || len(predictions) == 0 {
		return 0, fmt.Errorf("metric: exact_match: %d predictions and %d references", len(predictions), len(references))
	}
	p, r := m.reduce(predictions), m.reduce(references)
	same := 0
	for i := range p {
		if p[i] == r[i] {
			same++
		}
	}
	return float64(same) / float64(len(p)), nil
}

// reduce is what is compared of texts.
func (m *ExactMatch) reduce(texts []string) []string {
	out := make([]string, len(texts))
	width := 0 // of the longest text, characters
	for i, text := range texts {
		for _, pattern := range m.patterns {
			text = pattern.Remove(text)
		}
		out[i] = text
		width = max(width, python.Len(text))
	}
	for i, text := range out {
		if m.options.IgnoreCase {
			// numpy.char.lower writes into an array as wide as its longest text, and cuts off what a letter grows beyond that.
			text = firstCharacters(python.Lower(text), width)
		}
		if m.options.IgnorePunctuation {
			text = without(text, python.Punctuation)
		}
		if m.options.IgnoreNumbers {
			text = without(text, "0123456789")
		}
		out[i] = strings.TrimRight(text, "\x00") // an array of texts does not know NULs at the end
	}
	return out
}

func firstCharacters(text string, n int) string {
	if python.Len(text) <= n {
		return text
	}
	return string([]rune(text)[:n])
}

func without(text, characters string) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune(characters, c) {
			return -1
		}
		return c
	}, text)
}
