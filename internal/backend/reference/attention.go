package reference

import (
	"math"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// span is the part of a batch that one sequence takes: tokens first to first+count of the query rows, the last of its
// keys, which are numbered from 0.
type span struct{ first, count, keys int }

// Attention: causal softmax attention of packed sequences.
func (q *queue) Attention(o, lse, query, key, value tensor.Tensor, seqs backend.Sequences, a backend.Attention) {
	const op = "attention"
	if !q.floats(op, o, lse, query, key, value, a.Bias) {
		return
	}
	spans, ok := q.packed(op, query.Dim(0), seqs)
	if !ok {
		return
	}
	oNHK, lseNH, qNHK, kNGK, vNGK := f64(o), f64(lse), f64(query), f64(key), f64(value)
	numH, numG, numK := query.Dim(1), key.Dim(1), key.Dim(2)
	for _, s := range spans {
		eachQuery(s, numH, numG, func(n, h, g, pos int) {
			i := n*numH + h
			l := attend(row(oNHK, i, numK), row(qNHK, i, numK), pos+1, biases(a, h), a.Scale, func(j int) (k, v []float64) {
				at := (s.first+j)*numG + g
				return row(kNGK, at, numK), row(vNGK, at, numK)
			})
			if lseNH != nil {
				lseNH[i] = l
			}
		})
	}
}

// AttentionPaged: the same, with keys and values in pages.
func (q *queue) AttentionPaged(o, lse, query, keys, values tensor.Tensor, p backend.Pages, a backend.Attention) {
	const op = "paged attention"
	if !q.floats(op, o, lse, query, keys, values, a.Bias) {
		return
	}
	spans, ok := q.paged(op, query.Dim(0), keys.Dim(0), p, a)
	if !ok {
		return
	}
	oNHK, lseNH, qNHK, kSGK, vSGK := f64(o), f64(lse), f64(query), f64(keys), f64(values)
	numH, numG, numK := query.Dim(1), keys.Dim(1), keys.Dim(2)
	for b, s := range spans {
		pages := row(i32(p.Table), b, p.Table.Dim(1))
		eachQuery(s, numH, numG, func(n, h, g, pos int) {
			i := n*numH + h
			l := attend(row(oNHK, i, numK), row(qNHK, i, numK), pos+1, biases(a, h), a.Scale, func(j int) (k, v []float64) {
				at := (int(pages[j/p.PageSize])*p.PageSize+j%p.PageSize)*numG + g
				return row(kSGK, at, numK), row(vSGK, at, numK)
			})
			if lseNH != nil {
				lseNH[i] = l
			}
		})
	}
}

// AttentionBackward, with p = exp(s - lse) the probability of a key, s its score:
//
//	dv = Σ p·do   ds = p·(do·v - do·o)   dq = Σ Scale·ds·k   dk = Σ Scale·ds·q
func (q *queue) AttentionBackward(dq, dk, dv, do, o, lse, query, key, value tensor.Tensor, seqs backend.Sequences, a backend.Attention) {
	const op = "attention backward"
	if !q.floats(op, dq, dk, dv, do, o, lse, query, key, value, a.Bias) {
		return
	}
	spans, ok := q.packed(op, query.Dim(0), seqs)
	if !ok {
		return
	}
	dqNHK, dkNGK, dvNGK, doNHK, oNHK := f64(dq), f64(dk), f64(dv), f64(do), f64(o)
	lseNH, qNHK, kNGK, vNGK := f64(lse), f64(query), f64(key), f64(value)
	clear(dqNHK)
	clear(dkNGK)
	clear(dvNGK)
	numH, numG, numK := query.Dim(1), key.Dim(1), key.Dim(2)
	for _, s := range spans {
		eachQuery(s, numH, numG, func(n, h, g, pos int) {
			i, bias := n*numH+h, biases(a, h)
			qK, doK, dqK := row(qNHK, i, numK), row(doNHK, i, numK), row(dqNHK, i, numK)
			delta := dot(doK, row(oNHK, i, numK))
			for j := range pos + 1 {
				at := (s.first+j)*numG + g
				kK, vK := row(kNGK, at, numK), row(vNGK, at, numK)
				p := math.Exp(score(qK, kK, bias, j, a.Scale) - lseNH[i])
				ds := p * (dot(doK, vK) - delta)
				addScaled(row(dvNGK, at, numK), p, doK)
				addScaled(dqK, a.Scale*ds, kK)
				addScaled(row(dkNGK, at, numK), a.Scale*ds, qK)
			}
		})
	}
}

// attend sets o to Σ softmax(scores)·value over keys 0 to numKeys and returns log Σ exp of the scores.
func attend(o, query []float64, numKeys int, bias []float64, scale float64, at func(j int) (key, value []float64)) (lse float64) {
	scores, top := make([]float64, numKeys), math.Inf(-1)
	for j := range scores {
		key, _ := at(j)
		scores[j] = score(query, key, bias, j, scale)
		top = max(top, scores[j])
	}
	sum := 0.0
	clear(o)
	for j, s := range scores {
		_, value := at(j)
		p := math.Exp(s - top)
		sum += p
		addScaled(o, p, value)
	}
	for i := range o {
		o[i] /= sum
	}
	return top + math.Log(sum)
}

// score is (q·k + bias)·Scale.
func score(query, key, bias []float64, j int, scale float64) float64 {
	s := dot(query, key)
	if bias != nil {
		s += bias[j]
	}
	return s * scale
}

// biases is the row of head h, or nil.
func biases(a backend.Attention, h int) []float64 {
	if a.Bias.Absent() {
		return nil
	}
	return row(f64(a.Bias), h, a.Bias.Dim(1))
}

// eachQuery walks the query heads of a sequence with the row of the token, the group that the head reads and the token's
// position in the sequence, which is its last key.
func eachQuery(s span, numH, numG int, visit func(n, h, g, pos int)) {
	for i := range s.count {
		for h := range numH {
			visit(s.first+i, h, h/(numH/numG), s.keys-s.count+i)
		}
	}
}

// packed reads the spans of n packed tokens. Device and host copies of the lengths must say the same.
func (q *queue) packed(op string, n int, seqs backend.Sequences) ([]span, bool) {
	if !q.inMemory(op, seqs.Offsets) {
		return nil, false
	}
	spans, ok := q.spans(op, "offset", n, i32(seqs.Offsets), seqs.Lengths)
	for b := range spans {
		spans[b].keys = spans[b].count
	}
	return spans, ok
}

// paged reads the spans of n queries over a cache of numTokens, and demands that every key has a page and a bias.
func (q *queue) paged(op string, n, numTokens int, p backend.Pages, a backend.Attention) ([]span, bool) {
	if !q.inMemory(op, p.Table, p.Queries, p.KeyLengths) {
		return nil, false
	}
	spans, ok := q.spans(op, "query offset", n, i32(p.Queries), p.QueryCounts)
	if !ok {
		return nil, false
	}
	maxPages := p.Table.Dim(1)
	for b, length := range i32(p.KeyLengths) {
		keys := int(length)
		numPages := (keys + p.PageSize - 1) / p.PageSize
		switch {
		case keys != p.KeyCounts[b]:
			q.failf(op, "key length %d of row %d is %d on the host", keys, b, p.KeyCounts[b])
		case keys < spans[b].count:
			q.failf(op, "key length %d of row %d is less than its %d queries", keys, b, spans[b].count)
		case numPages > maxPages:
			q.failf(op, "key length %d of row %d needs %d pages, the table has %d", keys, b, numPages, maxPages)
		case !a.Bias.Absent() && keys > a.Bias.Dim(1):
			q.failf(op, "key length %d of row %d exceeds the %d positions of the bias", keys, b, a.Bias.Dim(1))
		default:
			for i, page := range row(i32(p.Table), b, maxPages)[:numPages] {
				if page < 0 || int(page) >= numTokens/p.PageSize {
					q.failf(op, "page %d of row %d (its number %d) is outside [0, %d)", page, b, i, numTokens/p.PageSize)
				}
			}
		}
		if q.err != nil {
			return nil, false
		}
		spans[b].keys = keys
	}
	return spans, true
}

// spans cuts n rows at offsets, which must rise from 0 to n in steps of counts.
func (q *queue) spans(op, what string, n int, offsets []int32, counts []int) ([]span, bool) {
	spans, first := make([]span, len(counts)), 0
	for b, count := range counts {
		if int(offsets[b]) != first {
			q.failf(op, "%s %d of row %d, the lengths on the host make it %d", what, offsets[b], b, first)
			return nil, false
		}
		if count < 0 || first+count > n {
			q.failf(op, "sequence %d has %d tokens from token %d on, the batch has %d", b, count, first, n)
			return nil, false
		}
		spans[b] = span{first: first, count: count}
		first += count
	}
	if last := int(offsets[len(counts)]); last != first || first != n {
		q.failf(op, "%s %d of row %d, the lengths on the host make it %d, and the batch has %d tokens", what, last, len(counts), first, n)
		return nil, false
	}
	return spans, true
}
