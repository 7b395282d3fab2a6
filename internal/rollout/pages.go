package rollout

import (
	"encoding/binary"
	"slices"
)

// page is one page of the cache.
type page struct {
	number  int32
	holders int    // sequences in flight that have it in their tables
	prefix  prefix // by which it can be found; none if it cannot
	fill    int    // numbers, from 1, what pages were filled with and can be found by; 0 if it cannot be found
}

// prefix names what a prompt begins with, up to the end of a page: the tokens of that page, and by its fill the page before, which
// stands for everything before. A fill is never given twice, so what followed a page that is lost cannot be found either.
type prefix struct {
	before int    // 0 at the beginning
	tokens string // bytes; empty for none
}

// pages is the account of the pages of a cache. A page that is filled from a prompt alone can be found by what it holds: while
// sequences hold it, and afterwards until it is handed out again. That comes last: pages that cannot be found are handed out
// before, and of the others the one that was given back first.
type pages struct {
	size  int     // tokens of a page
	free  []*page // held by no sequence, in the order in which they will be handed out
	found map[prefix]*page
	fills int // so far
}

func newPages(size int, order []int32) *pages {
	c := &pages{size: size, found: map[prefix]*page{}}
	for _, n := range order {
		c.free = append(c.free, &page{number: n})
	}
	return c
}

// take gives a sequence of up to total tokens its pages. The first shared tokens of its prompt are in them already; the one at read,
// where the head is read first, never is. So what is the page of that token, and of those after it, is filled even where another
// holds the same, and such a copy cannot be found.
func (c *pages) take(prompt []int32, total, read int) (held []*page, shared int) {
	var at prefix
	for first := 0; first < total; first += c.size {
		end := first + c.size
		if end > len(prompt) || first > 0 && at.before == 0 {
			held = append(held, c.hand(prefix{})) // not full of the prompt, or after a page that nothing names
			continue
		}
		at.tokens = key(prompt[first:end])
		p := c.found[at]
		if p != nil && end <= read {
			c.hold(p)
			shared = end
		} else {
			p = c.hand(at)
		}
		held = append(held, p)
		at.before = p.fill
	}
	return held, shared
}

// missing is the number of free pages that take would use up.
func (c *pages) missing(prompt []int32, total, read int) int {
	n := (total + c.size - 1) / c.size
	var at prefix
	for end := c.size; end <= min(read, len(prompt)); end += c.size {
		at.tokens = key(prompt[end-c.size : end])
		p := c.found[at]
		if p == nil {
			break
		}
		if p.holders > 0 {
			n--
		}
		at.before = p.fill
	}
	return n
}

// hold gives a page to one more sequence.
func (c *pages) hold(p *page) {
	if p.holders == 0 {
		i := slices.Index(c.free, p)
		c.free = slices.Delete(c.free, i, i+1)
	}
	p.holders++
}

// hand gives the next free page to a sequence that fills it with what at names. What the page held is lost.
func (c *pages) hand(at prefix) *page {
	p := c.free[0]
	delete(c.found, p.prefix)
	p.prefix, p.fill = prefix{}, 0
	if at.tokens != "" && c.found[at] == nil {
		c.fills++
		p.prefix, p.fill = at, c.fills
		c.found[at] = p
	}
	c.hold(p)
	return p
}

// give takes back the pages of a sequence that has ended, the last one first: it is of no use without those before it, which
// therefore outlast it.
func (c *pages) give(held []*page) {
	for _, p := range slices.Backward(held) {
		if p.holders--; p.holders > 0 {
			continue
		}
		if p.fill == 0 {
			c.free = slices.Insert(c.free, 0, p)
		} else {
			c.free = append(c.free, p)
		}
	}
}

// key is tokens as something to look up.
func key(tokens []int32) string {
	b := make([]byte, 0, 4*len(tokens))
	for _, id := range tokens {
		b = binary.LittleEndian.AppendUint32(b, uint32(id))
	}
	return string(b)
}
