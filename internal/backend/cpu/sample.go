package cpu

import (
	"math"
	"slices"
	"unsafe"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// SampleBlocks sums up the blocks of each row with the kernels of the log-prob head, so that both see the same bits.
func (q *queue) SampleBlocks(blocks, stats, logits, banned tensor.Tensor, head backend.Head) {
	if !q.computes("sample blocks", blocks, stats, logits, banned) {
		return
	}
	defer q.end()
	if !q.bannable(banned) {
		return
	}
	split(q, logits.Dim(0), rowGrain(8*logits.Dim(1)), samplingBlocks{blocks: blocks, stats: stats, logits: logits, banned: banned, head: head})
}

type samplingBlocks struct {
	blocks, stats, logits, banned tensor.Tensor

	head backend.Head
}

func (o *samplingBlocks) compute(w *worker, lo, hi int) {
	v, count, scale := o.logits.Dim(1), o.blocks.Dim(1), float32(o.head.Scale)
	sums := newVocabSums(&w.scratch, 1, count)
	without, one := w.scratch.floats(keyBlock), newVocabSums(&w.scratch, 1, 1)
	for n := lo; n < hi; n++ {
		w.kernels.vocabBlocks(sums.blocks(row(o.logits, n), 1, 0, v, v, scale))
		w.kernels.vocabMerge(sums.merge(row(o.stats, n), 0, 1))
		floats(o.stats)[n*statColumns+statTarget] = 0
		out := floats(o.blocks)[2*n*count : 2*(n+1)*count]
		for b := range count {
			out[2*b], out[2*b+1] = sums.max[b], sums.sum[b]
		}
		if ban := int(ints(o.banned)[n]) - o.head.First; ban >= 0 && ban < v {
			b := ban / keyBlock
			entries := without[:copy(without, floats(o.logits)[n*v+b*keyBlock:(n+1)*v])]
			for i, x := range entries {
				entries[i] = float32(x * scale)
			}
			entries[ban%keyBlock] = negInf // after scaling: -Inf·0 would be NaN
			w.kernels.vocabBlocks(one.blocks(start(entries), 1, 0, len(entries), len(entries), 1))
			out[2*b], out[2*b+1] = one.max[0], one.sum[0]
		}
	}
}

// SamplePick inverts the cumulative distribution over the blocks, or takes the largest entry.
func (q *queue) SamplePick(tokens, stats, logits, blocks, uniforms, banned tensor.Tensor, d backend.Draw) {
	if !q.begin("sample pick", tokens, stats, logits, blocks, uniforms, banned) {
		return
	}
	defer q.end()
	if !q.bannable(banned) || !q.unit(uniforms, d) {
		return
	}
	first, count := d.First/keyBlock, blocks.Dim(1)
	if held := (logits.Dim(1) + keyBlock - 1) / keyBlock; first+held > count {
		q.fail("blocks %d to %d are held here, the vocabulary has %d", first, first+held, count)
		return
	}
	q.draw(drawing{tokens: tokens, stats: stats, logits: logits, blocks: blocks, uniforms: uniforms, banned: banned, draw: d, choose: (*drawing).pick})
}

// pick chooses by the sums of the blocks.
func (o *drawing) pick(_ *worker, z row32, n int) (int, bool) {
	first, count := o.draw.First/keyBlock, o.blocks.Dim(1)
	sums := floats(o.blocks)[2*n*count : 2*(n+1)*count]
	top, ok := summit(sums)
	if !ok {
		return z.any(o.draw.First)
	}
	if o.draw.Greedy {
		return z.largest(sums, first, top)
	}
	return z.invert(sums, first, top, doubles(o.uniforms)[n])
}

// summit is the largest logit of a row, from the sums of its blocks. It is false when the row is no distribution.
func summit(sums []float32) (top float64, ok bool) {
	most, mass := negInf, negInf // NaN as soon as there is one
	for b := range len(sums) / 2 {
		most, mass = max(most, sums[2*b]), max(mass, sums[2*b+1])
	}
	return float64(most), peaks(most) && mass <= math.MaxFloat32
}

// peaks reports whether logits with this maximum, NaN when one is NaN, are a distribution.
func peaks(top float32) bool { return top > negInf && top <= math.MaxFloat32 }

// any is a token for a row that is no distribution: the lowest entry of the vocabulary that is not banned, where it is held. It is
// false when there is none.
func (z row32) any(first int) (int, bool) {
	if first > 0 {
		return none, true // entries 0 and 1 are in the first block, which one rank holds
	}
	entry := 0
	if z.banned == 0 {
		entry = 1
	}
	return entry, entry < len(z.logits)
}

// none is the choice of a row whose token another rank holds.
const none = -1

// drawing chooses an entry for each row.
type drawing struct {
	tokens, stats, logits, blocks, uniforms, banned tensor.Tensor

	draw   backend.Draw
	choose func(o *drawing, w *worker, z row32, n int) (int, bool) // false: there is nothing to choose from
	failed []bool                                                  // by row
}

func (q *queue) draw(d drawing) {
	n := d.logits.Dim(0)
	d.failed = unsafe.Slice((*bool)(q.scratch.bytes(n)), n)
	split(q, n, 1, d)
	if n := slices.Index(d.failed, true); n >= 0 {
		q.fail("row %d has no entry to choose from", n)
	}
}

func (o *drawing) compute(w *worker, lo, hi int) {
	v, first, tokens := o.logits.Dim(1), o.draw.First, ints(o.tokens)
	for n := lo; n < hi; n++ {
		w.scratch.reset() // each row anew: a tile can have many
		z := row32{logits: floats(o.logits)[n*v : (n+1)*v], scale: float32(o.draw.Scale), banned: int(ints(o.banned)[n]) - first}
		i, ok := o.choose(o, w, z, n)
		o.failed[n], tokens[n] = !ok, 0
		if ok && i != none {
			tokens[n] = int32(first + i)
			floats(o.stats)[n*statColumns+statTarget] += float32(z.at(i))
		}
	}
}

// row32 is a row of logits as the sampler sees it.
type row32 struct {
	logits []float32
	scale  float32
	banned int // out of range for none
}

// at is z of entry v.
func (z row32) at(v int) float64 {
	if v == z.banned {
		return math.Inf(-1)
	}
	return float64(z.logits[v] * z.scale)
}

// block is the range of entries of block b, empty when another rank holds it.
func (z row32) block(b int) (lo, hi int) {
	if b < 0 || b*keyBlock >= len(z.logits) {
		return 0, 0
	}
	return b * keyBlock, min((b+1)*keyBlock, len(z.logits))
}

// largest is the first of the largest entries of the first block whose maximum is top.
func (z row32) largest(sums []float32, first int, top float64) (int, bool) {
	for b := range len(sums) / 2 {
		if float64(sums[2*b]) != top {
			continue
		}
		lo, hi := z.block(b - first)
		best, most := none, math.Inf(-1)
		for v := lo; v < hi; v++ {
			if x := z.at(v); x > most {
				best, most = v, x
			}
		}
		return best, best != none || lo == hi
	}
	return none, false
}

// invert finds the entry at which the cumulative distribution passes u. Every rank finds the same block.
func (z row32) invert(sums []float32, first int, top, u float64) (int, bool) {
	total := 0.0
	weight := func(b int) float64 { return float64(sums[2*b+1]) * math.Exp(float64(sums[2*b])-top) }
	for b := range len(sums) / 2 {
		total += weight(b)
	}
	chosen, before := walk(len(sums)/2, u*total, weight)
	if chosen == none {
		return none, false
	}
	lo, hi := z.block(chosen - first)
	if lo == hi {
		return none, true
	}
	i, _ := walk(hi-lo, u*total-before, func(i int) float64 { return math.Exp(z.at(lo+i) - top) })
	if i == none {
		return none, false
	}
	return lo + i, true
}

// walk is the first index at which the running sum of n weights exceeds x, with the sum before it. Rounding can leave the whole
// sum below x: then it is the last index of positive weight. An index of weight 0 is never returned; none when there is no other.
func walk(n int, x float64, weight func(i int) float64) (index int, before float64) {
	sum := 0.0
	index = none
	for i := range n {
		if w := weight(i); w > 0 {
			index, before = i, sum
			if sum += w; sum > x {
				break
			}
		}
	}
	return index, before
}

// bannable demands an entry or -1 for each row.
func (q *queue) bannable(banned tensor.Tensor) bool {
	for n, id := range ints(banned) {
		if id < -1 {
			q.fail("banned entry %d of row %d is below -1", id, n)
			return false
		}
	}
	return true
}

// unit demands numbers in [0, 1) where they are used.
func (q *queue) unit(uniforms tensor.Tensor, d backend.Draw) bool {
	if d.Greedy {
		return true
	}
	for n, u := range doubles(uniforms) {
		if !(u >= 0 && u < 1) {
			q.fail("uniform number %v of row %d is outside [0, 1)", u, n)
			return false
		}
	}
	return true
}
