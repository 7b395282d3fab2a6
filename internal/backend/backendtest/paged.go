package backendtest

import (
	"errors"
	"fmt"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// pagedBits generates sequences token by token, in chunks and at once, over caches with pages of several sizes in any
// order, and demands the bits that packed attention gives. The cache is NaN where no key has been written yet.
func pagedBits(b *bench, storage tensor.DType) error {
	lengths := []int{1, 64, 65, 130, 0, 33}
	n := 0
	for _, l := range lengths {
		n += l
	}
	// How many tokens a sequence that has done some of its length is given next.
	schedules := []struct {
		name string
		next func(r *rig, done, length int) int
	}{
		{"a token at a time", func(*rig, int, int) int { return 1 }},
		{"the whole at once", func(_ *rig, _, length int) int { return length }},
		{"chunks", func(r *rig, _, _ int) int { return r.rng.IntN(40) }},
		{"a prompt, then a token at a time", func(_ *rig, done, length int) int { return max(1, length/2-done) }},
	}
	for _, h := range []heads{{4, 2, 16, 1, true}, {3, 1, 33, 1, false}, {2, 2, 64, 30, false}} {
		for _, pageSize := range []int{16, 64, 128} {
			for _, schedule := range schedules {
				c := testCase{fmt.Sprint(h, ", pages of ", pageSize, ", ", schedule.name), n, func(r *rig) {
					q, k, v, a := h.operands(r, n)
					seqs := r.sequences(lengths)
					packed, paged := r.output(exact, "packed", storage, n, h.h, h.k), r.output(exact, "paged", storage, n, h.h, h.k)
					packedLSE, pagedLSE := r.output(exact, "packed lse", r.wide, n, h.h), r.output(exact, "paged lse", r.wide, n, h.h)
					r.do(func(s side) { s.Attention(s.of(packed), s.of(packedLSE), s.of(q), s.of(k), s.of(v), seqs(s), a(s)) })
					l := r.layout(lengths, pageSize)
					keys, values := r.unwritten("keys", storage, len(l.used), h.g, h.k), r.unwritten("values", storage, len(l.used), h.g, h.k)
					done := make([]int, len(lengths))
					for step := r.step(l, done, schedule.next); step != nil; step = r.step(l, done, schedule.next) {
						m := len(step.tokens)
						which, where := r.ints("tokens", func(i int) int { return step.tokens[i] }, m), r.ints("slots", func(i int) int { return step.slots[i] }, m)
						qs, ks, vs, os := r.unwritten("q", storage, m, h.h, h.k), r.unwritten("k", storage, m, h.g, h.k), r.unwritten("v", storage, m, h.g, h.k), r.unwritten("o", storage, m, h.h, h.k)
						lses := r.unwritten("lse", r.wide, m, h.h)
						pages := r.pages(step.layout, step.queries)
						r.do(func(s side) {
							s.GatherRows(s.of(qs), s.of(q), s.of(which))
							s.GatherRows(s.of(ks), s.of(k), s.of(which))
							s.GatherRows(s.of(vs), s.of(v), s.of(which))
							s.ScatterRows(s.of(keys), s.of(ks), s.of(where))
							s.ScatterRows(s.of(values), s.of(vs), s.of(where))
							s.AttentionPaged(s.of(os), s.of(lses), s.of(qs), s.of(keys), s.of(values), pages(s), a(s))
							s.ScatterRows(s.of(paged), s.of(os), s.of(which))
							s.ScatterRows(s.of(pagedLSE), s.of(lses), s.of(which))
						})
					}
				}}
				outputs, err := b.run(c, storage, nil, true)
				if err == nil {
					err = errors.Join(equalBits(outputs[0], outputs[1]), equalBits(outputs[2], outputs[3]))
				}
				if err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
			}
		}
	}
	return nil
}

// step is what the sequences are given at one time.
type step struct {
	layout  layout
	queries []int
	tokens  []int // rows of the packed batch
	slots   []int // of the cache
}

// step advances every sequence and returns nil when all are done.
func (r *rig) step(l layout, done []int, next func(r *rig, done, length int) int) *step {
	st := &step{layout: l}
	st.layout.keys = nil
	first, finished := 0, true
	for b, length := range l.keys {
		count := min(next(r, done[b], length), length-done[b])
		for j := done[b]; j < done[b]+count; j++ {
			st.tokens, st.slots = append(st.tokens, first+j), append(st.slots, l.token(b, j))
		}
		finished = finished && done[b] == length
		done[b] += count
		first += length
		st.queries, st.layout.keys = append(st.queries, count), append(st.layout.keys, done[b])
	}
	if finished {
		return nil
	}
	return st
}

// samplerStatistics compares what the sampler says of a row, from logits that a matrix product wrote, with what the fused
// head says of it when the drawn token is the target. Rows are drawn alone as well.
func samplerStatistics(b *bench, storage tensor.DType) error {
	for _, shape := range []headShape{{40, 33, 333, 0, 1, 2}, {17, 64, 130, 0, 0.7, 1}, {9, 130, 64, 0, 1.3, 20}} {
		c := testCase{label("sampler statistics", shape), shape.n, func(r *rig) {
			h, w, _ := shape.operands(r)
			none := r.ints("banned", func(int) int { return -1 }, rows)
			uniforms := r.filled("uniforms", tensor.Float64, func(int) float64 { return r.rng.Float64() }, rows)
			sampler, fused := r.output(exact, "sampler", r.wide, rows, 4), r.output(exact, "fused", r.wide, rows, 4)
			r.do(func(s side) {
				n := h.dims[0]
				logits := s.Alloc(s.Wide(), n, shape.v)
				blocks := s.Alloc(s.Wide(), n, (shape.v+backend.VocabBlock-1)/backend.VocabBlock, 2)
				tokens := s.Alloc(tensor.Int32, n)
				s.MatMul(logits, s.of(h), s.of(w), backend.Epilogue{})
				s.SampleBlocks(blocks, s.of(sampler), logits, s.of(none), shape.head())
				s.SamplePick(tokens, s.of(sampler), logits, blocks, s.of(uniforms), s.of(none), backend.Draw{Head: shape.head(), TopP: 1})
				s.LogProbStats(s.of(fused), s.of(h), s.of(w), tokens, shape.head())
			})
		}}
		outputs, err := b.run(c, storage, nil, true)
		if err == nil {
			err = equalBits(outputs[0], outputs[1])
		}
		if err == nil {
			err = rowsAlone(b, c, storage)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}
