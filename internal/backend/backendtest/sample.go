package backendtest

import (
	"math"
	"slices"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// shard is the part of a vocabulary that the device under test samples from: entries first to first+v of total.
type shard struct {
	n, v, first, total int
	scale, deviation   float64
}

func shards() []shard {
	return []shard{
		{0, 7, 0, 7, 1, 1}, {1, 1, 0, 1, 1, 1}, {3, 17, 0, 17, 1, 2}, {7, 64, 0, 64, 0.5, 2}, {17, 65, 0, 65, 2, 1}, {33, 333, 0, 333, 1.25, 2},
		{130, 200, 0, 200, 1, 3}, {64, 64, 64, 333, 1, 2}, {65, 77, 256, 333, 0.8, 2}, {40, 128, 0, 333, 1, 2}, {33, 130, 0, 130, 1, 30},
		{33, 60, 0, 60, 0, 1}, // temperature infinite
	}
}

func (s shard) head() backend.Head { return backend.Head{First: s.first, Scale: s.scale} }

// edgeUniforms are the ends of [0, 1).
var edgeUniforms = []float64{0, math.Nextafter(1, 0), 0.5, 0x1p-53, 1 - 0x1p-24}

// rowsOfLogits is a whole vocabulary for each row of the batch, as wide numbers. Some rows are special: all equal; the largest
// entry twice, in different blocks; one block of such logits that its probability is 0; one entry far above; one block of -Inf.
func (r *rig) rowsOfLogits(s shard) []float64 {
	logits := make([]float64, r.n*s.total)
	for i := range logits {
		logits[i] = round(r.wide, s.deviation/max(s.scale, 0.5)*r.rng.NormFloat64())
	}
	for n := range r.n {
		z := logits[n*s.total : (n+1)*s.total]
		a, b := r.rng.IntN(s.total), r.rng.IntN(s.total)
		switch n % 6 {
		case 1:
			for v := range z {
				z[v] = 1.5
			}
		case 2:
			top := slices.Max(z) + 1
			z[a], z[b] = top, top
		case 3, 5:
			less := 1e4
			if n%6 == 5 {
				less = math.Inf(1)
			}
			first := a / backend.VocabBlock * backend.VocabBlock
			for v := first; v < min(first+backend.VocabBlock, s.total) && s.total > backend.VocabBlock; v++ {
				z[v] -= less
			}
		case 4:
			z[a] += 100
		}
	}
	return logits
}

// bannedEntries is an entry for two rows of three, often the largest one, and -1 for the others.
func (r *rig) bannedEntries(s shard, logits []float64) []int {
	banned := make([]int, r.n)
	for n := range banned {
		z := logits[n*s.total : (n+1)*s.total]
		switch {
		case n%3 == 0 || s.total == 1:
			banned[n] = -1
		case n%3 == 1:
			banned[n] = slices.Index(z, slices.Max(z))
		default:
			banned[n] = r.rng.IntN(s.total)
		}
	}
	return banned
}

// draw is a batch to sample from.
type draw struct {
	shard
	r                        *rig
	whole                    []float64 // logits [N total] of the rows that take part
	bannedRows               []int
	logits, banned, uniforms *operand
}

func (r *rig) draw(s shard) *draw {
	whole := r.rowsOfLogits(s)
	banned := r.bannedEntries(s, whole)
	d := &draw{shard: s, r: r, whole: pickRows(whole, s.total, r.picked)}
	d.banned = r.ints("banned", func(i int) int { return banned[i] }, rows)
	d.uniforms = r.filled("uniforms", tensor.Float64, func(i int) float64 {
		if i < len(edgeUniforms) {
			return edgeUniforms[i]
		}
		return r.rng.Float64()
	}, rows)
	var held []float64
	for i := range r.picked {
		held = append(held, d.row(i)[s.first:s.first+s.v]...)
	}
	for _, n := range r.picked {
		d.bannedRows = append(d.bannedRows, banned[n])
	}
	d.logits = r.place("logits", r.wide, held, rows, s.v)
	return d
}

// row is the whole vocabulary of the i-th row that takes part.
func (d *draw) row(i int) []float64 { return d.whole[i*d.total : (i+1)*d.total] }

// blocks are the block sums of the whole vocabulary, as all ranks together would give them: each side has its own.
func (d *draw) blocks() *operand {
	whole := d.r.place("whole logits", d.r.wide, d.whole, rows, d.total)
	blocks := d.r.unwritten("blocks", d.r.wide, rows, (d.total+backend.VocabBlock-1)/backend.VocabBlock, 2)
	stats := d.r.unwritten("stats", d.r.wide, rows, 4)
	d.r.do(func(s side) {
		s.SampleBlocks(s.of(blocks), s.of(stats), s.of(whole), s.of(d.banned), backend.Head{Scale: d.scale})
	})
	return blocks
}

func sampleCases() []testCase {
	cases := withoutDistribution()
	for _, s := range shards() {
		cases = append(cases, testCase{label("SampleBlocks", s), s.n, func(r *rig) {
			d := r.draw(s)
			blocks := r.output(unchecked, "blocks", r.wide, rows, (s.v+backend.VocabBlock-1)/backend.VocabBlock, 2)
			stats := r.output(unchecked, "stats", r.wide, rows, 4)
			r.do(func(side side) {
				side.SampleBlocks(side.of(blocks), side.of(stats), side.of(d.logits), side.of(d.banned), s.head())
			})
			r.check(func() error { return compareBlocks(blocks) })
			r.check(func() error { return compareStats(stats, 4*s.deviation+100) })
		}})
		for _, greedy := range []bool{false, true} {
			cases = append(cases, testCase{label("SamplePick", s, " greedy ", greedy), s.n, func(r *rig) {
				d := r.draw(s)
				pick := backend.Draw{Head: s.head(), Greedy: greedy, TopP: 1}
				blocks := d.blocks()
				tokens, stats := d.outputs()
				r.do(func(side side) {
					side.SamplePick(side.of(tokens), side.of(stats), side.of(d.logits), side.of(blocks), side.of(d.uniforms), side.of(d.banned), pick)
				})
				r.check(func() error { return d.checkTokens(tokens, stats, d.candidates, pick) })
			}})
		}
		if s.v != s.total {
			continue
		}
		for _, t := range []backend.Draw{{TopP: 1}, {TopK: 1, TopP: 1}, {TopK: 5, TopP: 1}, {TopP: 0.7}, {TopK: 50, TopP: 0.9}, {TopK: 1000, TopP: 0.3}, {TopK: 3, TopP: 0.5, Greedy: true}} {
			cases = append(cases, testCase{label("SampleTruncated", s, " k=", t.TopK, " p=", t.TopP, " greedy ", t.Greedy), s.n, func(r *rig) {
				d := r.draw(s)
				t := t
				t.Head = s.head()
				tokens, stats := d.outputs()
				r.do(func(side side) {
					side.SampleTruncated(side.of(tokens), side.of(stats), side.of(d.logits), side.of(d.uniforms), side.of(d.banned), t)
				})
				r.check(func() error { return d.checkTokens(tokens, stats, d.truncated, t) })
			}})
		}
	}
	return cases
}

// outputs are tokens, and statistics that hold numbers: the chosen logit is added to the last column.
func (d *draw) outputs() (tokens, stats *operand) {
	return d.r.output(unchecked, "tokens", tensor.Int32, rows), d.r.added(unchecked, "stats", d.r.wide, rows, 4)
}
