package backendtest

import (
	"fmt"
	"math"
	"slices"

	"alfred/internal/backend"
)

// candidate is an entry of the vocabulary with its logit and probability.
type candidate struct {
	v    int
	z, p float64
}

// candidates are the entries that row i may give, by rising id: the order in which SamplePick walks.
func (d *draw) candidates(i int, _ backend.Draw) []candidate {
	var cs []candidate
	for v, logit := range d.row(i) {
		if v != d.bannedRows[i] {
			cs = append(cs, candidate{v: v, z: d.scale * logit})
		}
	}
	return withProbabilities(cs)
}

// truncated are the entries that TopK and TopP leave, by falling logit, then rising id: the order in which SampleTruncated walks.
func (d *draw) truncated(i int, t backend.Draw) []candidate {
	ranked := d.candidates(i, t)
	slices.SortStableFunc(ranked, func(a, b candidate) int { return -compareFloats(a.z, b.z) })
	if t.TopK > 0 {
		ranked = withProbabilities(ranked[:min(t.TopK, len(ranked))])
	}
	kept, sum := 0, 0.0
	for kept < len(ranked) && (kept == 0 || t.TopP >= 1 || sum < t.TopP) {
		sum += ranked[kept].p
		kept++
	}
	return withProbabilities(ranked[:kept])
}

func compareFloats(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func withProbabilities(cs []candidate) []candidate {
	top, sum := math.Inf(-1), 0.0
	for _, c := range cs {
		top = max(top, c.z)
	}
	for _, c := range cs {
		sum += math.Exp(c.z - top)
	}
	out := slices.Clone(cs)
	for i := range out {
		out[i].p = math.Exp(out[i].z-top) / sum
	}
	return out
}

// edge is how near to a step of the cumulative distribution a uniform number may be for either neighbour to be right, since
// float32 sums of probabilities are off by some 2^-24. So may TopP be to the sum of a set.
const edge = 1e-5

// right are the candidates that a draw may give for u.
func right(cs []candidate, u float64, greedy bool) []candidate {
	if greedy {
		return []candidate{slices.MaxFunc(cs, func(a, b candidate) int { return compareFloats(a.z, b.z) })} // the first of equals
	}
	var ok []candidate
	sum := 0.0
	for _, c := range cs {
		if c.p > 0 && sum-edge <= u && u <= sum+c.p+edge {
			ok = append(ok, c)
		}
		sum += c.p
	}
	return ok
}

// checkTokens demands for each row a token that the uniform number may give, its logit in the statistics, and nothing at all
// when another rank holds it.
func (d *draw) checkTokens(tokens, stats *operand, candidates func(i int, t backend.Draw) []candidate, t backend.Draw) error {
	for i, got := range tokens.got {
		var allowed []candidate
		for _, margin := range []float64{0, -edge, edge} {
			t := t
			if t.TopP < 1 {
				t.TopP += margin
			}
			allowed = append(allowed, right(candidates(i, t), d.uniforms.values[i], t.Greedy)...)
		}
		before, after := stats.values[4*i:4*i+4], stats.got[4*i:4*i+4]
		ok := slices.ContainsFunc(allowed, func(c candidate) bool {
			if c.v < d.first || c.v >= d.first+d.v {
				return got == 0 && after[3] == before[3]
			}
			return int(got) == c.v && math.Abs(after[3]-before[3]-c.z) <= 1e-6+1e-6*math.Abs(c.z)
		})
		if !ok {
			return fmt.Errorf("row %d, u = %v, banned %d, entries %d to %d of %d: token %v and the logit %v, want one of %v",
				i, d.uniforms.values[i], d.bannedRows[i], d.first, d.first+d.v, d.total, got, after[3]-before[3], allowed)
		}
		if !slices.Equal(before[:3], after[:3]) {
			return fmt.Errorf("row %d: statistics %v became %v, only the last may change", i, before, after)
		}
	}
	return nil
}

// compareBlocks holds (max z, Σ exp(z-max)) against the reference: a logit is off by a rounding or two of the largest, and that
// is a relative error of each exp.
func compareBlocks(blocks *operand) error {
	for i, got := range blocks.got {
		want, top := blocks.want[i], blocks.want[i/2*2]
		limit := 4 * 0x1p-24 * math.Abs(top)
		if math.IsInf(top, 0) {
			limit = 0
		}
		if i%2 == 1 {
			limit = (1e-5 + limit) * want
		}
		if got != want && !(math.Abs(got-want) <= limit) {
			return fmt.Errorf("%v: element %d is %v, want %v within %.3g", blocks, i, got, want, limit)
		}
	}
	return nil
}
