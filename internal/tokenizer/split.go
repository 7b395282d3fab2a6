package tokenizer

import "regexp"

// matcher finds what a pre-tokenizer looks for.
type matcher interface {
	// find gives the first match in s at or after from; start < 0 when there is none. A match is
	// never empty.
	find(s string, from int) (start, end int)
}

// classMatcher matches single characters of a class.
type classMatcher struct {
	classes *classes
	mask    uint8
}

func (m classMatcher) find(s string, from int) (int, int) {
	for i := from; i < len(s); {
		bits, size := m.classes.at(s, i)
		if bits&m.mask != 0 {
			return i, i + size
		}
		i += size
	}
	return -1, -1
}

// byteClassMatcher is classMatcher after ByteLevel, where the characters are those of byteChars.
type byteClassMatcher [256]bool

func newByteClassMatcher(c *classes, mask uint8) *byteClassMatcher {
	m := &byteClassMatcher{}
	for b, char := range byteChars {
		m[b] = c.of(char)&mask != 0
	}
	return m
}

func (m *byteClassMatcher) find(s string, from int) (int, int) {
	for i := from; i < len(s); i++ {
		if m[s[i]] {
			return i, i + 1
		}
	}
	return -1, -1
}

// regexpMatcher matches an expression that never matches the empty string and looks at nothing
// around the match, so searching a tail of the text is the same as going on in the text.
type regexpMatcher struct{ re *regexp.Regexp }

func (m regexpMatcher) find(s string, from int) (int, int) {
	if found := m.re.FindStringIndex(s[from:]); found != nil {
		return from + found[0], from + found[1]
	}
	return -1, -1
}

// byteRegexpMatcher is regexpMatcher after ByteLevel.
type byteRegexpMatcher struct{ re *regexp.Regexp }

func (m byteRegexpMatcher) find(s string, from int) (int, int) {
	if found := m.re.FindReaderIndex(&byteReader{s: s, i: from}); found != nil {
		return from + found[0], from + found[1]
	}
	return -1, -1
}

// behavior says what becomes of matches; the names are those of tokenizer.json.
type behavior string

const (
	removed            behavior = "Removed"
	isolated           behavior = "Isolated"
	mergedWithPrevious behavior = "MergedWithPrevious"
	mergedWithNext     behavior = "MergedWithNext"
	contiguous         behavior = "Contiguous"
)

var behaviors = []string{
	string(removed), string(isolated), string(mergedWithPrevious), string(mergedWithNext), string(contiguous),
}

// joins tells whether a part belongs to the same piece as the part before it.
func (b behavior) joins(beforeIsMatch, isMatch bool) bool {
	switch b {
	case contiguous:
		return beforeIsMatch == isMatch
	case mergedWithPrevious:
		return isMatch && !beforeIsMatch
	case mergedWithNext:
		return !isMatch && beforeIsMatch
	}
	return false
}

// splitter is one pre-tokenizer: it cuts a piece where its matcher matches.
type splitter struct {
	matcher  matcher
	behavior behavior
	invert   bool // what the matcher does not match counts as the match
}

// split yields the pieces of s in order, none of them empty, and gives the number of bytes that
// the behaviour Removed took out.
func (p *splitter) split(s string, yield func(piece string)) (dropped int) {
	start, end := 0, 0 // the piece that may still grow
	endIsMatch := false
	part := func(to int, isMatch bool) {
		isMatch = isMatch != p.invert
		switch {
		case p.behavior == removed && isMatch:
			dropped += to - end
			if start < end {
				yield(s[start:end])
			}
			start = to
		case start < end && p.behavior.joins(endIsMatch, isMatch):
		default:
			if start < end {
				yield(s[start:end])
			}
			start = end
		}
		end, endIsMatch = to, isMatch
	}
	for end < len(s) {
		from, to := p.matcher.find(s, end)
		if from < 0 {
			from, to = len(s), len(s)
		}
		if from > end {
			part(from, false)
		}
		if to > from {
			part(to, true)
		}
	}
	if start < end {
		yield(s[start:end])
	}
	return dropped
}
