package tokenizer

import (
	"sync"
	"unicode/utf8"
)

// Class bits of a character. The two low bits hold what the GPT-2 pattern asks (\p{L}, \p{N}, \s or
// none of them); the others are asked by Punctuation, Digits and the single_word flag.
const (
	classOther  = 0 // none of the three below
	classLetter = 1
	classNumber = 2
	classSpace  = 3
	classKind   = 3 // mask of the four above
	classPunct  = 4 // ASCII punctuation or category P, Unicode 8 as in the official library
	classDigits = 8 // numeric for Digits: categories Nd, Nl, No
	classWord   = 16
)

const pageSize = 256

// classes is a two-stage table from character to class bits.
type classes struct {
	index [(utf8.MaxRune + 1) / pageSize]uint16
	pages [][pageSize]uint8
}

// loadClasses spreads classRuns, once per process.
var loadClasses = sync.OnceValue(func() *classes {
	c := &classes{}
	uniform := map[uint8]uint16{} // class bits -> the page on which every character has them
	run := 0
	for page := range c.index {
		first := uint32(page * pageSize)
		for run+1 < len(classRuns) && classRuns[run+1]>>8 <= first {
			run++
		}
		if run+1 == len(classRuns) || classRuns[run+1]>>8 >= first+pageSize {
			bits := uint8(classRuns[run])
			if known, ok := uniform[bits]; ok {
				c.index[page] = known
				continue
			}
			uniform[bits] = uint16(len(c.pages))
		}
		var table [pageSize]uint8
		for i, at := 0, run; i < pageSize; i++ {
			if at+1 < len(classRuns) && classRuns[at+1]>>8 <= first+uint32(i) {
				at++
			}
			table[i] = uint8(classRuns[at])
		}
		c.index[page] = uint16(len(c.pages))
		c.pages = append(c.pages, table)
	}
	return c
})

// of gives the class bits of a character; an invalid byte arrives as utf8.RuneError.
func (c *classes) of(r rune) uint8 { return c.pages[c.index[r/pageSize]][r%pageSize] }

// at gives the class bits and the width of the character of s at i.
func (c *classes) at(s string, i int) (bits uint8, size int) {
	if b := s[i]; b < utf8.RuneSelf {
		return c.pages[0][b], 1
	}
	r, size := utf8.DecodeRuneInString(s[i:])
	return c.of(r), size
}

// word gives the length of the first match of the GPT-2 pattern in s, which is not empty:
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// Every character belongs to some match, so matches follow each other without gaps.
func (c *classes) word(s string) int {
	first, size := c.at(s, 0)
	switch {
	case s[0] == '\'':
		if n := contraction(s); n > 0 {
			return n
		}
	case s[0] == ' ' && len(s) > 1:
		if next, size := c.at(s, 1); next&classKind != classSpace {
			return c.run(s, 1+size, next&classKind)
		}
	}
	if first&classKind != classSpace {
		return c.run(s, size, first&classKind)
	}
	// White space: all of it at the end of the text; else all but its last character, which may
	// begin the next word; a single one stands alone.
	end, last := size, 0
	for end < len(s) {
		bits, size := c.at(s, end)
		if bits&classKind != classSpace {
			if last > 0 {
				return last
			}
			return end
		}
		last = end
		end += size
	}
	return end
}

// run gives the end of the run of characters of one kind that has reached offset i.
func (c *classes) run(s string, i int, kind uint8) int {
	ascii := &c.pages[0]
	for i < len(s) {
		if b := s[i]; b < utf8.RuneSelf {
			if ascii[b]&classKind != kind {
				return i
			}
			i++
			continue
		}
		bits, size := c.at(s, i)
		if bits&classKind != kind {
			return i
		}
		i += size
	}
	return i
}

// contraction gives the length of the English ending at the start of s ('s, 't, 're ...), or 0.
func contraction(s string) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case 's', 't', 'm', 'd':
		return 2
	}
	if len(s) > 2 {
		switch s[1:3] {
		case "re", "ve", "ll":
			return 3
		}
	}
	return 0
}
