package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// addedToken is an entry of added_tokens.
type addedToken struct {
	content    string
	id         int32
	singleWord bool // only when no word character touches it
	lstrip     bool // takes the white space before it
	rstrip     bool // takes the white space after it
	normalized bool // looked for after the tokens that are not
	special    bool // plain text to Encode
}

// addedMatcher finds added tokens in text: leftmost, then longest.
type addedMatcher struct {
	classes *classes
	tokens  []addedToken
	nodes   []trieNode
	first   [256]bool // bytes that begin a token
	only    int       // the single byte that begins all tokens, or -1
}

// trieNode is a node of the tree of the tokens' bytes.
type trieNode struct {
	children map[byte]int32
	token    int32 // index of the token that ends here, or -1
}

func newAddedMatcher(c *classes, tokens []addedToken) *addedMatcher {
	m := &addedMatcher{classes: c, tokens: tokens, nodes: []trieNode{{token: -1}}, only: -1}
	begins := 0
	for t, token := range tokens {
		if b := token.content[0]; !m.first[b] {
			m.first[b], m.only = true, int(b)
			begins++
		}
		node := int32(0)
		for _, b := range []byte(token.content) {
			child, ok := m.nodes[node].children[b]
			if !ok {
				child = int32(len(m.nodes))
				if m.nodes[node].children == nil {
					m.nodes[node].children = map[byte]int32{}
				}
				m.nodes[node].children[b] = child
				m.nodes = append(m.nodes, trieNode{token: -1})
			}
			node = child
		}
		m.nodes[node].token = int32(t)
	}
	if begins != 1 {
		m.only = -1
	}
	return m
}

// find gives the leftmost longest token in s at or after from; nil when there is none.
func (m *addedMatcher) find(s string, from int) (token *addedToken, start, end int) {
	for i := from; i < len(s); i++ {
		if m.only >= 0 {
			skip := strings.IndexByte(s[i:], byte(m.only))
			if skip < 0 {
				return nil, 0, 0
			}
			i += skip
		} else if !m.first[s[i]] {
			continue
		}
		longest, length := int32(-1), 0
		node := int32(0)
		for j := i; j < len(s); j++ {
			child, ok := m.nodes[node].children[s[j]]
			if !ok {
				break
			}
			if node = child; m.nodes[node].token >= 0 {
				longest, length = m.nodes[node].token, j+1-i
			}
		}
		if longest >= 0 {
			return &m.tokens[longest], i, i + length
		}
	}
	return nil, 0, 0
}

// cut walks s as the official library does: plain gets the text between tokens, never empty, and
// found gets each token, with the number of bytes of white space that its strip flags took. A match
// that is refused (special while specials are plain text, or part of a word) is passed over whole.
func (m *addedMatcher) cut(s string, specials bool, plain func(string), found func(t *addedToken, stripped int)) {
	done := 0
	for from := 0; ; {
		token, start, end := m.find(s, from)
		if token == nil {
			break
		}
		from = end
		if token.special && !specials || token.singleWord && m.touchesWord(s, start, end) {
			continue
		}
		before, after := start, end
		if token.lstrip {
			before = max(m.spaceBefore(s, start), done)
		}
		if token.rstrip {
			after = m.spaceAfter(s, end)
		}
		if done < before {
			plain(s[done:before])
		}
		// A token that begins with white space may overlap what an rstrip before it took.
		found(token, max(start-before, 0)+after-end)
		done = after
	}
	if done < len(s) {
		plain(s[done:])
	}
}

// touchesWord tells whether a word character (\w) stands next to s[start:end].
func (m *addedMatcher) touchesWord(s string, start, end int) bool {
	if before, size := utf8.DecodeLastRuneInString(s[:start]); size > 0 && m.classes.of(before)&classWord != 0 {
		return true
	}
	after, size := utf8.DecodeRuneInString(s[end:])
	return size > 0 && m.classes.of(after)&classWord != 0
}

// spaceBefore gives the start of the white space that ends at i.
func (m *addedMatcher) spaceBefore(s string, i int) int {
	for i > 0 {
		r, size := utf8.DecodeLastRuneInString(s[:i])
		if m.classes.of(r)&classKind != classSpace {
			break
		}
		i -= size
	}
	return i
}

// spaceAfter gives the end of the white space that starts at i.
func (m *addedMatcher) spaceAfter(s string, i int) int {
	for i < len(s) {
		bits, size := m.classes.at(s, i)
		if bits&classKind != classSpace {
			break
		}
		i += size
	}
	return i
}
