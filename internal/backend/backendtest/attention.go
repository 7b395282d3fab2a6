package backendtest

import (
	"fmt"
	"math"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// heads is the shape of an attention: query heads, groups, head dimension, the size of its scores, and whether it has ALiBi.
type heads struct {
	h, g, k   int
	deviation float64 // of the scores, about
	alibi     bool
}

func attentionCases() []testCase {
	var cases []testCase
	for _, c := range []struct {
		heads
		lengths []int
	}{
		{heads{1, 1, 1, 1, false}, nil},
		{heads{2, 1, 3, 1, false}, []int{0}},
		{heads{1, 1, 2, 1, false}, []int{1}},
		{heads{2, 2, 7, 1, true}, []int{1, 0, 2, 0}},
		{heads{4, 2, 8, 1, false}, []int{64}},
		{heads{3, 1, 16, 1, true}, []int{65, 63, 1, 17}},
		{heads{4, 4, 33, 1, false}, []int{130, 7, 0, 64, 33}},
		{heads{6, 2, 64, 1, true}, []int{3, 200, 65}},
		{heads{71, 1, 8, 1, false}, []int{17, 66}},
		{heads{2, 1, 64, 30, false}, []int{70, 33}}, // scores around ±80: the largest probability is nearly 1
		{heads{2, 2, 16, 30, true}, []int{129}},
	} {
		n := 0
		for _, l := range c.lengths {
			n += l
		}
		name := label("", c.heads, c.lengths)
		cases = append(cases,
			testCase{"Attention" + name, n, func(r *rig) {
				q, k, v, a := c.operands(r, n)
				seqs := r.sequences(c.lengths)
				for _, withLSE := range []bool{true, false} {
					o := r.output(c.tolerance(), "o", r.storage, n, c.h, c.k)
					var lse *operand
					if withLSE {
						lse = r.output(logarithms(4*c.deviation), "lse", r.wide, n, c.h)
					}
					r.do(func(s side) { s.Attention(s.of(o), s.of(lse), s.of(q), s.of(k), s.of(v), seqs(s), a(s)) })
				}
			}},
			testCase{"AttentionBackward" + name, n, func(r *rig) {
				q, k, v, a := c.operands(r, n)
				seqs := r.sequences(c.lengths)
				o, lse := r.attended(q, k, v, seqs, a)
				do := r.random("do", r.storage, 1, n, c.h, c.k)
				dq := r.output(c.tolerance(), "dq", r.storage, n, c.h, c.k)
				dk, dv := r.output(c.tolerance(), "dk", r.storage, n, c.g, c.k), r.output(c.tolerance(), "dv", r.storage, n, c.g, c.k)
				r.do(func(s side) {
					s.AttentionBackward(s.of(dq), s.of(dk), s.of(dv), s.of(do), s.of(o), s.of(lse), s.of(q), s.of(k), s.of(v), seqs(s), a(s))
				})
			}})
	}
	return append(cases, pagedCases()...)
}

func (h heads) tolerance() tolerance { return exponentials(4 * h.deviation) }

// operands are q, k, v of n tokens and the options.
func (h heads) operands(r *rig, n int) (q, k, v *operand, a func(side) backend.Attention) {
	q = r.random("q", r.storage, h.deviation, n, h.h, h.k)
	k, v = r.random("k", r.storage, 1, n, h.g, h.k), r.random("v", r.storage, 1, n, h.g, h.k)
	return q, k, v, h.options(r, max(n, 1))
}

// options scale scores of q and k to the deviation of q.
func (h heads) options(r *rig, numPositions int) func(side) backend.Attention {
	scale := 1 / math.Sqrt(float64(h.k))
	if !h.alibi {
		return func(side) backend.Attention { return backend.Attention{Scale: scale} }
	}
	bias := r.filled("bias", r.wide, func(i int) float64 {
		return math.Pow(2, -8*float64(i/numPositions+1)/float64(h.h)) * float64(i%numPositions)
	}, h.h, numPositions)
	return func(s side) backend.Attention { return backend.Attention{Scale: scale, Bias: s.of(bias)} }
}

// sequences is a packed batch.
func (r *rig) sequences(lengths []int) func(side) backend.Sequences {
	offsets := r.offsets("offsets", lengths)
	return func(s side) backend.Sequences { return backend.Sequences{Offsets: s.of(offsets), Lengths: lengths} }
}

func (r *rig) offsets(name string, lengths []int) *operand {
	offset := 0
	return r.ints(name, func(i int) int {
		if i > 0 {
			offset += lengths[i-1]
		}
		return offset
	}, len(lengths)+1)
}

// attended is what the forward operation leaves for the backward one: the reference's results, rounded.
func (r *rig) attended(q, k, v *operand, seqs func(side) backend.Sequences, a func(side) backend.Attention) (o, lse *operand) {
	s := side{Stream: r.ref, isRef: true}
	oRef, lseRef := s.Alloc(tensor.Float64, q.dims...), s.Alloc(tensor.Float64, q.dims[:2]...)
	s.Attention(oRef, lseRef, s.of(q), s.of(k), s.of(v), seqs(s), a(s))
	oValues, err := read(r.ref, oRef)
	lseValues, err2 := read(r.ref, lseRef)
	if err != nil || err2 != nil {
		return nil, nil // the stream keeps the error
	}
	return r.place("o", r.storage, oValues, q.dims...), r.place("lse", r.wide, lseValues, q.dims[:2]...)
}

// pagedCases attend over caches whose pages lie in any order. Every token of the cache that belongs to no key is NaN, and so
// are table entries that are not needed: beyond the last key there is whatever memory held before.
func pagedCases() []testCase {
	var cases []testCase
	for _, c := range []struct {
		heads
		pageSize      int
		keys, queries []int
		shared        int // pages that all sequences have in common with the first, as far as they have so many
	}{
		{heads{1, 1, 2, 1, false}, 16, nil, nil, 0},
		{heads{2, 1, 4, 1, false}, 16, []int{1}, []int{1}, 0},
		{heads{4, 2, 8, 1, true}, 16, []int{17, 40, 3, 70}, []int{1, 5, 3, 0}, 0},
		{heads{2, 2, 33, 1, false}, 64, []int{64, 65, 130, 1}, []int{64, 1, 2, 1}, 0},
		{heads{6, 1, 64, 1, true}, 128, []int{200, 7, 0, 129}, []int{3, 7, 0, 129}, 0},
		{heads{3, 3, 16, 30, false}, 32, []int{100, 33}, []int{1, 33}, 0},
		{heads{4, 1, 16, 1, false}, 1, []int{5, 67}, []int{2, 1}, 0},
		{heads{4, 2, 8, 1, true}, 16, []int{70, 49, 33, 90}, []int{22, 1, 5, 1}, 2},
		{heads{2, 1, 16, 1, false}, 64, []int{128, 129, 65, 130}, []int{1, 1, 1, 2}, 2},
	} {
		n := 0
		for _, count := range c.queries {
			n += count
		}
		for _, withLSE := range []bool{true, false} {
			cases = append(cases, testCase{label("AttentionPaged", c, withLSE), n, func(r *rig) {
				layout := r.layout(c.keys, c.pageSize).share(c.shared)
				q := r.random("q", r.storage, c.deviation, n, c.h, c.k)
				cache := func(name string) *operand {
					return r.filled(name, r.storage, func(i int) float64 {
						if !layout.used[i/(c.g*c.k)] {
							return math.NaN()
						}
						return r.rng.NormFloat64()
					}, len(layout.used), c.g, c.k)
				}
				keys, values, a := cache("keys"), cache("values"), c.options(r, 256)
				pages := r.pages(layout, c.queries)
				o := r.output(c.tolerance(), "o", r.storage, n, c.h, c.k)
				var lse *operand
				if withLSE {
					lse = r.output(logarithms(4*c.deviation), "lse", r.wide, n, c.h)
				}
				r.do(func(s side) { s.AttentionPaged(s.of(o), s.of(lse), s.of(q), s.of(keys), s.of(values), pages(s), a(s)) })
			}})
		}
	}
	return cases
}

// layout is where the keys of some sequences lie in a cache.
type layout struct {
	pageSize, maxPages int
	keys               []int
	table              []int  // [B M], -1 where a sequence needs no page
	used               []bool // by token of the cache
}

// layout draws the pages of each sequence without order from a cache that has two more than needed.
func (r *rig) layout(keys []int, pageSize int) layout {
	l := layout{pageSize: pageSize, keys: keys, maxPages: 1}
	numPages := 2
	for _, k := range keys {
		pages := (k + pageSize - 1) / pageSize
		numPages += pages
		l.maxPages = max(l.maxPages, pages+1)
	}
	l.used = make([]bool, numPages*pageSize)
	free := r.rng.Perm(numPages)
	for _, k := range keys {
		for i := range l.maxPages {
			if i*pageSize >= k {
				l.table = append(l.table, -1)
				continue
			}
			page := free[0]
			free = free[1:]
			l.table = append(l.table, page)
			for j := range min(pageSize, k-i*pageSize) {
				l.used[page*pageSize+j] = true
			}
		}
	}
	return l
}

// share puts the first pages of the first sequence into the rows of the others. Pages that nobody needs any more are not used.
func (l layout) share(pages int) layout {
	clear(l.used)
	for b, k := range l.keys {
		for i := range pages {
			if at := b*l.maxPages + i; l.table[at] >= 0 {
				l.table[at] = l.table[i]
			}
		}
		for j := range k {
			l.used[l.token(b, j)] = true
		}
	}
	return l
}

// token is where key j of sequence b lies.
func (l layout) token(b, j int) int {
	return l.table[b*l.maxPages+j/l.pageSize]*l.pageSize + j%l.pageSize
}

// pages says which of the sequences' last tokens ask.
func (r *rig) pages(l layout, queries []int) func(side) backend.Pages {
	table := r.ints("page table", func(i int) int { return l.table[i] }, len(l.keys), l.maxPages)
	lengths := r.ints("key lengths", func(i int) int { return l.keys[i] }, len(l.keys))
	offsets := r.offsets("query offsets", queries)
	return func(s side) backend.Pages {
		return backend.Pages{Table: s.of(table), Queries: s.of(offsets), KeyLengths: s.of(lengths), PageSize: l.pageSize,
			QueryCounts: queries, KeyCounts: l.keys}
	}
}

func (h heads) String() string {
	return fmt.Sprintf("H=%d G=%d K=%d deviation=%g alibi=%v", h.h, h.g, h.k, h.deviation, h.alibi)
}
