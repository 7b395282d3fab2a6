package python

import (
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// FindAll is where the pattern matches, from left to right, as re.finditer finds it: for each match the offsets, in bytes, of the
// beginning and end of the whole and of every group; -1 where a group took no part. A match may be empty right after another one.
func (p *Pattern) FindAll(text string) [][]int {
	m := &matcher{Pattern: p, text: text}
	var found [][]int
	at, refused := 0, -1
	for at <= len(text) {
		match := m.search(at, refused)
		if match == nil {
			break
		}
		found = append(found, match)
		// After an empty match the next one begins at the same place and must not be empty.
		at, refused = match[1], -1
		if match[0] == match[1] {
			refused = at
		}
	}
	return found
}

// Remove is re.sub(pattern, "", text).
func (p *Pattern) Remove(text string) string {
	var b strings.Builder
	end := 0
	for _, match := range p.FindAll(text) {
		b.WriteString(text[end:match[0]])
		end = match[1]
	}
	b.WriteString(text[end:])
	return b.String()
}

// matcher runs a pattern's program over a text with backtracking, so the first alternative that matches wins, as in Python. It enters no
// instruction twice at one place: that could only fail again, and it bounds the time by program times text.
type matcher struct {
	*Pattern
	text    string
	visited map[visit]bool
	groups  []int
	refused int // no empty match here
	start   int
}

type visit struct {
	instruction uint32
	at          int
}

// search is the first match that begins at a place or after it.
func (m *matcher) search(from, refused int) []int {
	m.refused = refused
	// What one beginning has visited failed, whatever the beginning; only a refused empty match depends on it.
	m.visited = map[visit]bool{}
	m.groups = make([]int, 2*m.captures)
	for at := from; at <= len(m.text); {
		m.start = at
		for i := range m.groups {
			m.groups[i] = -1
		}
		if m.run(at) {
			return m.groups
		}
		if at == refused {
			clear(m.visited)
		}
		_, size := utf8.DecodeRuneInString(m.text[at:])
		at += max(size, 1)
	}
	return nil
}

// step is a place to go on from, or, with a group, that group's old offset to put back first.
type step struct {
	visit
	group, offset int
}

// run matches from a place on. It keeps its own stack: a pattern's recursion is as deep as the text is long.
func (m *matcher) run(at int) bool {
	stack := []step{{visit: visit{uint32(m.program.Start), at}, group: -1}}
	for len(stack) > 0 {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if s.group >= 0 {
			m.groups[s.group] = s.offset
			continue
		}
		pc, at := s.instruction, s.at
	thread:
		for {
			if m.visited[visit{pc, at}] {
				break
			}
			m.visited[visit{pc, at}] = true
			in := &m.program.Inst[pc]
			switch in.Op {
			case syntax.InstAlt, syntax.InstAltMatch:
				stack = append(stack, step{visit: visit{in.Arg, at}, group: -1})
			case syntax.InstCapture:
				if group := int(in.Arg); group < len(m.groups) {
					stack = append(stack, step{group: group, offset: m.groups[group]})
					m.groups[group] = at
				}
			case syntax.InstEmptyWidth:
				if !m.holds(syntax.EmptyOp(in.Arg), at) {
					break thread
				}
			case syntax.InstNop:
			case syntax.InstMatch:
				if at == m.start && at == m.refused {
					break thread
				}
				m.groups[0], m.groups[1] = m.start, at
				return true
			case syntax.InstFail:
				break thread
			default: // the instructions that take one character
				c, size := utf8.DecodeRuneInString(m.text[at:])
				if size == 0 || !in.MatchRune(c) {
					break thread
				}
				at += size
			}
			pc = in.Out
		}
	}
	return false
}

// holds is whether a condition on a place is met: $ is that of Python, and a word is made of Python's \w.
func (m *matcher) holds(op syntax.EmptyOp, at int) bool {
	before, _ := utf8.DecodeLastRuneInString(m.text[:at])
	after, _ := utf8.DecodeRuneInString(m.text[at:])
	first, last := at == 0, at == len(m.text)
	boundary := (!first && isWord(before)) != (!last && isWord(after))
	switch op {
	case syntax.EmptyBeginText:
		return first
	case syntax.EmptyBeginLine:
		return first || before == '\n'
	case syntax.EmptyEndText:
		return last || m.text[at:] == "\n"
	case syntax.EmptyEndLine:
		return last || after == '\n'
	case syntax.EmptyWordBoundary:
		return boundary
	}
	// Of Python's \B an empty text has none.
	return !boundary && m.text != ""
}
