package config

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a config.
type Problem struct {
	File    string // name of the file, or "--set KEY=VALUE" for what a flag brought in
	Line    int    // 1-based; 0 when the problem has no place in the file
	Col     int    // 1-based, in characters
	Key     string // dotted path, list elements by index: data.0.path; "" when no key is concerned
	Message string
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Col)
	}
	if p.Key != "" {
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(p.Key)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Errors is everything that is wrong with a config, in the order of the file,
// then of the --set flags.
type Errors struct{ Problems []Problem }

// Error puts each problem on a line of its own.
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// DidYouMean is the tail `; did you mean "x"?` for a word near one of the
// candidates, or "".
func DidYouMean(word string, candidates []string) string {
	// A third of the letters may be wrong: near enough to be a slip of the finger.
	limit := max(1, len([]rune(word))/3)
	best := ""
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), c, limit); d <= limit {
			if d == limit && best != "" {
				continue
			}
			best, limit = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is the least number of insertions, deletions, replacements and
// swaps of neighbours that turn a into b (optimal string alignment), or
// something above limit when it is above limit.
func distance(a, b string, limit int) int {
	s, t := []rune(a), []rune(b)
	if gap := len(s) - len(t); gap > limit || -gap > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(t)+1), make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(s); i++ {
		row[0] = i
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(t)]
}

func quoted(words []string) string {
	list := slices.Clone(words)
	if n := len(list); n > 1 {
		return strings.Join(list[:n-1], ", ") + " or " + list[n-1]
	}
	return strings.Join(list, "")
}
