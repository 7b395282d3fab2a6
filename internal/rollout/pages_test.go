package rollout

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"alfred/internal/nn"
	"alfred/internal/pipeline"
)

// cache is what a paged cache holds while a scheduler's steps are carried out, token by token. It knows of the scheduler only
// what the steps say, and of the sequences what their prompts are and what was chosen.
type cache struct {
	t       *rapid.T
	limits  Limits
	prompts [][]int32
	text    [][]int32 // of each sequence: the prompt and what was chosen so far
	fed     []int
	tables  map[int][]int32 // of the sequences in flight
	shared  int             // prompt tokens that were not fed
	now     int             // steps so far

	// Of each place in the cache: whose key is there. It depends on the whole text up to its own token, so that is what stands for it.
	keys [][]int32
	// Of each page.
	given  []int     // when the last sequence that held it ended; 0: it never had one
	prompt [][]int32 // the beginning of a prompt that it ends; nil where the end of the page is not in the prompt, and for second copies
}

func newCache(t *rapid.T, limits Limits, requests []Request) *cache {
	n := limits.CachePages()
	c := &cache{t: t, limits: limits, fed: make([]int, len(requests)), tables: map[int][]int32{},
		keys: make([][]int32, n*limits.PageSize), given: make([]int, n), prompt: make([][]int32, n)}
	for _, r := range requests {
		c.prompts, c.text = append(c.prompts, r.Prompt), append(c.text, slices.Clone(r.Prompt))
	}
	return c
}

// step carries out one step as a layer does: all keys are written before any is read.
func (c *cache) step(active []*slot, chunks []nn.Chunk) {
	c.now++
	written := map[int]bool{}
	for i, chunk := range chunks {
		q := active[i].Sequence
		if c.tables[q] == nil {
			c.begin(q, chunk)
		}
		end := chunk.Start + len(chunk.IDs)
		switch {
		case chunk.Start != c.fed[q] || len(chunk.IDs) == 0 || end > len(c.text[q]) || !slices.Equal(chunk.IDs, c.text[q][chunk.Start:end]):
			c.t.Fatalf("sequence %d is fed %v at %d, after %d tokens of %v", q, chunk.IDs, chunk.Start, c.fed[q], c.text[q])
		case chunk.Read != (end >= len(c.prompts[q])):
			c.t.Fatalf("sequence %d: read after %d tokens is %v, its prompt has %d", q, end, chunk.Read, len(c.prompts[q]))
		case !slices.Equal(chunk.Pages, c.tables[q]):
			c.t.Fatalf("sequence %d had pages %v, now %v", q, c.tables[q], chunk.Pages)
		}
		for ; c.fed[q] < end; c.fed[q]++ {
			place := c.place(q, c.fed[q])
			if written[place] {
				c.t.Fatalf("place %d is written twice in a step", place)
			}
			written[place] = true
			for other, table := range c.tables { // those that share a page begin after it
				if j := slices.Index(table, c.tables[q][c.fed[q]/c.limits.PageSize]); other != q && j >= 0 && c.fed[other] > j*c.limits.PageSize {
					c.t.Fatalf("sequence %d writes to page %d, which sequence %d has begun to use", q, table[j], other)
				}
			}
			c.keys[place] = c.text[q][:c.fed[q]+1]
		}
	}
	for i, chunk := range chunks {
		q := active[i].Sequence
		for pos := range chunk.Start + len(chunk.IDs) {
			if have := c.keys[c.place(q, pos)]; !slices.Equal(have, c.text[q][:pos+1]) {
				c.t.Fatalf("sequence %d, %v, finds at position %d the key of %v", q, c.text[q], pos, have)
			}
		}
	}
}

// begin checks which pages a sequence is given: all that hold what its prompt begins with, and free ones.
func (c *cache) begin(q int, chunk nn.Chunk) {
	size, prompt := c.limits.PageSize, c.prompts[q]
	n := chunk.Start / size
	if chunk.Start%size != 0 || chunk.Start >= len(prompt) {
		c.t.Fatalf("sequence %d with a prompt of %d tokens begins at %d, pages are of %d", q, len(prompt), chunk.Start, size)
	}
	for i, p := range chunk.Pages[:n] {
		if !slices.Equal(c.prompt[p], prompt[:(i+1)*size]) {
			c.t.Fatalf("sequence %d, %v, shares page %d, which holds %v", q, prompt, p, c.prompt[p])
		}
	}
	if more := (n + 1) * size; more < len(prompt) {
		if p := c.find(prompt[:more]); p >= 0 {
			c.t.Fatalf("sequence %d, %v, begins at %d although page %d holds %v", q, prompt, chunk.Start, p, c.prompt[p])
		}
	}
	c.tables[q], c.fed[q] = slices.Clone(chunk.Pages[:n]), chunk.Start
	c.shared += chunk.Start
	for i, p := range chunk.Pages[n:] {
		end := (n + i + 1) * size
		if p < 0 || int(p) >= len(c.prompt) || c.held(p) {
			c.t.Fatalf("sequence %d is given page %d, which is held or does not exist", q, p)
		}
		for other := range int32(len(c.prompt)) {
			if c.held(other) || c.prompt[p] == nil || other == p {
				continue
			}
			if c.prompt[other] == nil || c.given[other] < c.given[p] {
				c.t.Fatalf("sequence %d is given page %d, which holds %v since %d, although page %d holds %v since %d",
					q, p, c.prompt[p], c.given[p], other, c.prompt[other], c.given[other])
			}
		}
		c.prompt[p] = nil
		if end <= len(prompt) && c.find(prompt[:end]) < 0 {
			c.prompt[p] = prompt[:end]
		}
		c.tables[q] = append(c.tables[q], p)
	}
}

// find is the page that ends the beginning of a prompt, or -1.
func (c *cache) find(beginning []int32) int {
	return slices.IndexFunc(c.prompt, func(have []int32) bool { return slices.Equal(have, beginning) })
}

func (c *cache) held(page int32) bool {
	for _, table := range c.tables {
		if slices.Contains(table, page) {
			return true
		}
	}
	return false
}

func (c *cache) place(q, pos int) int {
	size := c.limits.PageSize
	return int(c.tables[q][pos/size])*size + pos%size
}

func (c *cache) end(q int) {
	table := c.tables[q]
	delete(c.tables, q)
	for _, p := range table {
		if !c.held(p) {
			c.given[p] = c.now
		}
	}
}

// allCameBack checks the scheduler's account at the end.
func (c *cache) allCameBack(s *Scheduler) {
	seen := map[int32]bool{}
	for _, p := range s.pages.free {
		seen[p.number] = true
		if p.holders != 0 {
			c.t.Errorf("page %d is free and has %d holders", p.number, p.holders)
		}
	}
	if n := c.limits.CachePages(); len(seen) != n || len(s.pages.free) != n {
		c.t.Errorf("%d of %d pages came back, %d different ones", len(s.pages.free), n, len(seen))
	}
	if s.Shared() != c.shared {
		c.t.Errorf("%d prompt tokens are said to be shared, %d were not fed", s.Shared(), c.shared)
	}
}

// fedTokens is how many tokens of each prompt are fed, in a cache that is large enough for slots sequences.
func fedTokens(t *testing.T, limits Limits, prompts ...[]int32) []int {
	t.Helper()
	var requests []Request
	for i, p := range prompts {
		requests = append(requests, Request{Sequence: i, Prompt: p, Max: 1})
	}
	s, err := NewScheduler(limits, requests)
	if err != nil {
		t.Fatal(err)
	}
	fed := make([]int, len(prompts))
	for chunks, asks := s.Next(); len(chunks) > 0; chunks, asks = s.Next() {
		for i, c := range chunks {
			fed[s.active[i].Sequence] += len(c.IDs)
		}
		s.Took(pipeline.Chosen{Tokens: make([]int32, len(asks))})
	}
	return fed
}

// text is the numbers from first on.
func text(first, n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(first + i)
	}
	return ids
}

func TestWhatIsFedOfPrompts(t *testing.T) {
	a, b := text(0, 100), text(500, 100)
	fork := slices.Concat(a[:20], b[:20])
	other := slices.Concat(b[:16], a[16:40]) // a page as in a, but after another
	for name, tc := range map[string]struct {
		slots, tokens int
		prompts       [][]int32
		want          []int
	}{
		"equal":                           {4, 1000, [][]int32{a[:40], a[:40], a[:40], a[:40]}, []int{40, 8, 8, 8}},
		"equal, in pieces":                {4, 7, [][]int32{a[:40], a[:40], a[:40], a[:40]}, []int{40, 8, 8, 8}},
		"equal, one after another":        {1, 1000, [][]int32{a[:40], a[:40]}, []int{40, 8}},
		"whole pages":                     {2, 1000, [][]int32{a[:32], a[:32]}, []int{32, 16}},
		"a token more than whole pages":   {2, 1000, [][]int32{a[:33], a[:33]}, []int{33, 1}},
		"shorter than a page":             {2, 1000, [][]int32{a[:15], a[:15]}, []int{15, 15}},
		"nested":                          {3, 1000, [][]int32{a[:20], a[:80], a[:50]}, []int{20, 64, 2}},
		"nested, whole pages":             {3, 1000, [][]int32{a[:32], a[:64], a[:48]}, []int{32, 32, 16}},
		"partly shared":                   {2, 1000, [][]int32{a[:40], fork}, []int{40, 24}},
		"equal pages after other pages":   {2, 1000, [][]int32{a[:40], other}, []int{40, 40}},
		"nothing shared":                  {2, 1000, [][]int32{a[:40], b[:40]}, []int{40, 40}},
		"again, after others":             {2, 1000, [][]int32{a[:40], b[:10], b[:10], b[:10], b[:10], b[:10], b[:10], b[:10], a[:40]}, []int{40, 10, 10, 10, 10, 10, 10, 10, 8}},
		"the beginning outlasts the rest": {1, 1000, [][]int32{a[:98], b[:34], a[:98]}, []int{98, 34, 34}},
		"what was used again stays":       {1, 1000, [][]int32{a[:49], b[:33], a[:49], a[50:99], a[:49]}, []int{49, 33, 1, 49, 1}},
		"what was used first goes":        {1, 1000, [][]int32{a[:49], b[:33], a[50:99], b[:33], a[:49]}, []int{49, 33, 49, 1, 33}},
	} {
		t.Run(name, func(t *testing.T) {
			limits := Limits{Slots: tc.slots, Tokens: tc.tokens, PageSize: 16, Longest: 112, EOD: -1}
			if got := fedTokens(t, limits, tc.prompts...); !slices.Equal(got, tc.want) {
				t.Errorf("fed %d, want %d", got, tc.want)
			}
		})
	}
}
