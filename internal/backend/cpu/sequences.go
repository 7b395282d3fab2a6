package cpu

import (
	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// span is the part of a batch that one sequence takes: query rows first to first+count, the last of its keys, which are
// numbered from 0. Key j is row base+j of the keys, or lies in page table[j/page].
type span struct {
	first, count, keys int
	base               int
	table              []int32
	page               int
}

// packedSpans reads the sequences of n packed tokens.
func (q *queue) packedSpans(n int, s backend.Sequences) ([]span, bool) {
	spans, ok := q.spansOf("offset", n, ints(s.Offsets), s.Lengths)
	for b := range spans {
		spans[b].keys, spans[b].base = spans[b].count, spans[b].first
	}
	return spans, ok
}

// pagedSpans reads the sequences of n queries over a cache of so many tokens; every key has a page and a bias.
func (q *queue) pagedSpans(n, cached int, p backend.Pages, bias tensor.Tensor) ([]span, bool) {
	spans, ok := q.spansOf("query offset", n, ints(p.Queries), p.QueryCounts)
	if !ok {
		return nil, false
	}
	width := p.Table.Dim(1)
	for b, length := range ints(p.KeyLengths) {
		keys, s := int(length), &spans[b]
		needed := (keys + p.PageSize - 1) / p.PageSize
		switch {
		case keys != p.KeyCounts[b]:
			q.fail("key length %d of row %d is %d on the host", keys, b, p.KeyCounts[b])
			return nil, false
		case keys < s.count:
			q.fail("key length %d of row %d is less than its %d queries", keys, b, s.count)
			return nil, false
		case needed > width:
			q.fail("key length %d of row %d needs %d pages, the table has %d", keys, b, needed, width)
			return nil, false
		case !bias.Absent() && keys > bias.Dim(1):
			q.fail("key length %d of row %d exceeds the %d positions of the bias", keys, b, bias.Dim(1))
			return nil, false
		}
		s.keys, s.page, s.table = keys, p.PageSize, ints(p.Table)[b*width:b*width+needed]
		for i, page := range s.table {
			if page < 0 || int(page) >= cached/p.PageSize {
				q.fail("page %d (number %d of row %d) is outside [0, %d)", page, i, b, cached/p.PageSize)
				return nil, false
			}
		}
	}
	return spans, true
}

// spansOf cuts n rows at offsets, which must rise from 0 to n in steps of counts. The result is reused by the next call.
func (q *queue) spansOf(what string, n int, offsets []int32, counts []int) ([]span, bool) {
	q.spans = q.spans[:0]
	first := 0
	for b, count := range counts {
		if int(offsets[b]) != first {
			q.fail("%s %d of row %d, the lengths on the host make it %d", what, offsets[b], b, first)
			return nil, false
		}
		if count < 0 || first+count > n {
			q.fail("sequence %d has %d tokens from token %d on, the batch has %d", b, count, first, n)
			return nil, false
		}
		q.spans = append(q.spans, span{first: first, count: count})
		first += count
	}
	if last := int(offsets[len(counts)]); last != first || first != n {
		q.fail("the last %s is %d, the lengths on the host make it %d, and the batch has %d tokens", what, last, first, n)
		return nil, false
	}
	return q.spans, true
}

// stretch is a run of keys of one block that follow each other in memory: keys lo to lo+n of the block, from row on.
func (s span) stretch(block, lo, n int) (row, length int) {
	if s.table == nil {
		return s.base + block + lo, n - lo
	}
	j := block + lo
	return int(s.table[j/s.page])*s.page + j%s.page, min(n-lo, s.page-j%s.page)
}
