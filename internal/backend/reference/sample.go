package reference

import (
	"cmp"
	"math"
	"slices"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// none is the token of a row that this rank does not choose.
const none = -1

// SampleBlocks: (max z, Σ exp(z-max)) of each block without the banned entry, and the statistics of the whole row with it.
func (q *queue) SampleBlocks(blocks, stats, logits, banned tensor.Tensor, head backend.Head) {
	const op = "sample blocks"
	if !q.floats(op, blocks, stats, logits) || !q.banned(op, banned) {
		return
	}
	blocksNB2, statsN4 := f64(blocks), f64(stats)
	for n := range logits.Dim(0) {
		zV := scaled(logits, n, head.Scale)
		summarise(row(statsN4, n, numStats), zV)
		ban(zV, int(i32(banned)[n])-head.First)
		blocksB2 := row(blocksNB2, n, blocks.Cols())
		for b := range blocks.Dim(1) {
			top, sum := math.Inf(-1), 0.0
			for _, z := range block(zV, b) {
				top = max(top, z)
			}
			for _, z := range block(zV, b) {
				if !math.IsInf(top, -1) {
					sum += math.Exp(z - top)
				}
			}
			blocksB2[2*b], blocksB2[2*b+1] = top, sum
		}
	}
}

// SamplePick inverts the cumulative distribution over the blocks, or takes the largest entry.
func (q *queue) SamplePick(tokens, stats, logits, blocks, uniforms, banned tensor.Tensor, d backend.Draw) {
	const op = "sample pick"
	if !q.floats(op, stats, logits, blocks, uniforms) || !q.banned(op, banned) || !q.inMemory(op, tokens) || !q.unit(op, uniforms, d) {
		return
	}
	first, numBlocks := d.First/backend.VocabBlock, blocks.Dim(1)
	if held := (logits.Dim(1) + backend.VocabBlock - 1) / backend.VocabBlock; first+held > numBlocks {
		q.failf(op, "blocks %d to %d are held here, the vocabulary has %d", first, first+held, numBlocks)
		return
	}
	for n := range logits.Dim(0) {
		zV := scaled(logits, n, d.Scale)
		ban(zV, int(i32(banned)[n])-d.First)
		blocksB2 := row(f64(blocks), n, blocks.Cols())
		top, sum := math.Inf(-1), 0.0
		for b := range numBlocks {
			top, sum = max(top, blocksB2[2*b]), sum+blocksB2[2*b+1]
		}
		v := none
		switch {
		case !isDistribution(top) || math.IsNaN(sum):
			v = anyEntry(i32(banned)[n], d.First, len(zV))
		case d.Greedy:
			v = largestIn(zV, blocksB2, first, top)
		default:
			v = invert(zV, blocksB2, first, top, f64(uniforms)[n])
		}
		if !q.choose(op, tokens, stats, zV, n, v, d.First) {
			return
		}
	}
}

// SampleTruncated draws from the TopK largest entries, cut further to the smallest set of largest entries whose
// probabilities (among those TopK) reach TopP. The cumulative distribution is walked from the largest entry down.
func (q *queue) SampleTruncated(tokens, stats, logits, uniforms, banned tensor.Tensor, d backend.Draw) {
	const op = "sample truncated"
	if !q.floats(op, stats, logits, uniforms) || !q.banned(op, banned) || !q.inMemory(op, tokens) || !q.unit(op, uniforms, d) {
		return
	}
	for n := range logits.Dim(0) {
		zV := scaled(logits, n, d.Scale)
		ban(zV, int(i32(banned)[n])-d.First)
		top := math.Inf(-1)
		for _, z := range zV {
			top = max(top, z)
		}
		v := anyEntry(i32(banned)[n], d.First, len(zV))
		if isDistribution(top) {
			v = drawTruncated(zV, f64(uniforms)[n], d)
		}
		if !q.choose(op, tokens, stats, zV, n, v, d.First) {
			return
		}
	}
}

// drawTruncated ranks the entries of a row, cuts them by TopK and TopP, and inverts the cumulative distribution of the rest at u.
func drawTruncated(zV []float64, u float64, d backend.Draw) int {
	ranked := rankEntries(zV)
	if d.TopK > 0 {
		ranked = ranked[:min(d.TopK, len(ranked))]
	}
	weights, total := make([]float64, len(ranked)), 0.0
	for i, v := range ranked {
		weights[i] = math.Exp(zV[v] - zV[ranked[0]])
		total += weights[i]
	}
	kept, sum := 0, 0.0
	for kept < len(ranked) && (kept == 0 || d.TopP == 1 || sum < d.TopP*total) {
		sum += weights[kept]
		kept++
	}
	if d.Greedy {
		kept = min(kept, 1)
	}
	return ranked[walk(weights[:kept], u*sum)]
}

// isDistribution reports whether logits with this maximum, NaN when one is NaN, are a distribution.
func isDistribution(top float64) bool { return !math.IsNaN(top) && !math.IsInf(top, 0) }

// nothing is the choice where every entry is banned.
const nothing = -2

// anyEntry is what a row that is no distribution gives: the lowest entry that is not banned, or none when another rank holds it.
func anyEntry(banned int32, first, held int) int {
	if first > 0 {
		return none // entries 0 and 1 are in the first block, which one rank holds
	}
	entry := 0
	if banned == 0 {
		entry = 1
	}
	if entry >= held {
		return nothing
	}
	return entry
}

// choose writes the token of row n, entry v of those held here, and adds its logit to the statistics.
func (q *queue) choose(op string, tokens, stats tensor.Tensor, zV []float64, n, v, first int) bool {
	i32(tokens)[n] = 0
	switch v {
	case nothing:
		q.failf(op, "row %d has no entry to choose from", n)
	case none:
	default:
		i32(tokens)[n] = int32(first + v)
		row(f64(stats), n, numStats)[statTarget] += zV[v]
	}
	return q.err == nil
}

// largestIn is the first entry equal to top, the largest of the vocabulary, or none when another rank holds it.
func largestIn(zV, blocksB2 []float64, first int, top float64) int {
	for b := range len(blocksB2) / 2 {
		if blocksB2[2*b] == top {
			if i := slices.Index(held(zV, b-first), top); i >= 0 {
				return (b-first)*backend.VocabBlock + i
			}
			return none
		}
	}
	return none
}

// invert finds the entry at which the cumulative distribution passes u, or none when another rank holds it.
func invert(zV, blocksB2 []float64, first int, top, u float64) int {
	weights, total := make([]float64, len(blocksB2)/2), 0.0
	for b := range weights {
		weights[b] = blocksB2[2*b+1] * math.Exp(blocksB2[2*b]-top)
		total += weights[b]
	}
	chosen := walk(weights, u*total)
	if chosen == none {
		return none
	}
	rest := u * total
	for _, w := range weights[:chosen] {
		rest -= w
	}
	entries := held(zV, chosen-first)
	inBlock := make([]float64, len(entries))
	for i, z := range entries {
		inBlock[i] = math.Exp(z - top)
	}
	i := walk(inBlock, rest)
	if i == none {
		return none
	}
	return (chosen-first)*backend.VocabBlock + i
}

// walk is the first index at which the running sum of weights exceeds x. Rounding can leave the whole sum below x: then it
// is the last index of positive weight. An index of weight 0 is never returned; none when there is no other.
func walk(weights []float64, x float64) int {
	sum, last := 0.0, none
	for i, w := range weights {
		if !(w > 0) {
			continue
		}
		sum, last = sum+w, i
		if sum > x {
			break
		}
	}
	return last
}

// rankEntries sorts the entries that are not banned by falling logit, then by rising id.
func rankEntries(zV []float64) []int {
	var ranked []int
	for v, z := range zV {
		if !math.IsInf(z, -1) {
			ranked = append(ranked, v)
		}
	}
	slices.SortStableFunc(ranked, func(a, b int) int { return cmp.Compare(zV[b], zV[a]) })
	return ranked
}

// scaled is Scale·logits[n].
func scaled(logits tensor.Tensor, n int, scale float64) []float64 {
	zV := append([]float64(nil), row(f64(logits), n, logits.Dim(1))...)
	for v := range zV {
		zV[v] *= scale
	}
	return zV
}

// ban gives entry v probability 0 if it is held here.
func ban(zV []float64, v int) {
	if v >= 0 && v < len(zV) {
		zV[v] = math.Inf(-1)
	}
}

// block is block b of the entries held here.
func block(zV []float64, b int) []float64 {
	return zV[b*backend.VocabBlock : min((b+1)*backend.VocabBlock, len(zV))]
}

// held is block for a number that may lie on another rank: then it is empty.
func held(zV []float64, b int) []float64 {
	if b < 0 || b*backend.VocabBlock >= len(zV) {
		return nil
	}
	return block(zV, b)
}

// banned demands an entry or -1 for each row.
func (q *queue) banned(op string, banned tensor.Tensor) bool {
	if !q.inMemory(op, banned) {
		return false
	}
	for n, id := range i32(banned) {
		if id < -1 {
			q.failf(op, "banned entry %d of row %d is below -1", id, n)
			break
		}
	}
	return q.err == nil
}

// unit demands numbers in [0, 1) where they are used.
func (q *queue) unit(op string, uniforms tensor.Tensor, d backend.Draw) bool {
	if d.Greedy {
		return q.err == nil
	}
	for n, u := range f64(uniforms) {
		if !(u >= 0 && u < 1) {
			q.failf(op, "uniform number %v of row %d is outside [0, 1)", u, n)
			break
		}
	}
	return q.err == nil
}
