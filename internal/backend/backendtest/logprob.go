package backendtest

import (
	"fmt"
	"math"
	"slices"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// headShape is a language-model head: hidden size, entries held here, the first of them, and the deviation of logits.
type headShape struct {
	n, d, v, first int
	scale          float64
	deviation      float64
}

func headShapes() []headShape {
	return []headShape{
		{0, 3, 5, 0, 1, 1}, {3, 7, 0, 64, 1, 1}, {1, 1, 1, 0, 1, 1}, {3, 7, 17, 0, 1, 1}, {7, 33, 64, 64, 0.7, 1}, {17, 64, 65, 128, 1, 2}, {33, 17, 130, 0, 2, 3},
		{2, 130, 1000, 192, 1, 1}, {65, 64, 333, 0, 1.25, 2}, {130, 33, 200, 64, 1, 1},
		{9, 16, 150, 0, 1, 30}, {8, 3, 70, 64, 0.5, 60}, // logits around ±80 and beyond
	}
}

func (h headShape) head() backend.Head { return backend.Head{First: h.first, Scale: h.scale} }

// largest is what few of the logits exceed.
func (h headShape) largest() float64 { return 4 * h.deviation }

// operands are h and w whose scaled product has about the deviation, and targets of which some lie on other ranks.
func (h headShape) operands(r *rig) (hidden, w, targets *operand) {
	hidden = r.random("h", r.storage, h.deviation/h.scale, rows, h.d)
	w = r.random("w", r.storage, 1/math.Sqrt(float64(h.d)), h.v, h.d)
	targets = r.ints("targets", func(int) int { return max(0, h.first-h.v/4+r.rng.IntN(h.v+h.v/2+1)) }, rows)
	return hidden, w, targets
}

func logProbCases() []testCase {
	var cases []testCase
	for _, shape := range headShapes() {
		cases = append(cases,
			testCase{label("LogProbStats", shape), shape.n, func(r *rig) {
				h, w, targets := shape.operands(r)
				stats := r.output(unchecked, "stats", r.wide, rows, 4)
				r.do(func(s side) { s.LogProbStats(s.of(stats), s.of(h), s.of(w), s.of(targets), shape.head()) })
				r.check(func() error { return compareStats(stats, shape.largest()) })
			}},
			testCase{label("LogProbBackward", shape), shape.n, func(r *rig) { logProbBackward(r, shape, false) }},
			testCase{label("LogProbBackward with entropy", shape), shape.n, func(r *rig) { logProbBackward(r, shape, true) }},
		)
		if shape.v == 0 {
			continue // some rank has entries
		}
		cases = append(cases,
			testCase{label("LogProbMerge", shape), shape.n, func(r *rig) {
				stats := r.statsOfRanks(shape, 3)
				tol := logarithms(shape.largest())
				logp, lse, entropy := r.output(tol, "logp", r.wide, rows), r.output(tol, "lse", r.wide, rows), r.output(tol, "entropy", r.wide, rows)
				r.do(func(s side) { s.LogProbMerge(s.of(logp), s.of(lse), s.of(entropy), s.of(stats)) })
			}},
		)
	}
	return cases
}

func logProbBackward(r *rig, shape headShape, withEntropy bool) {
	h, w, targets := shape.operands(r)
	lses, entropies := shape.lseAndEntropy(h.values, w.values)
	lse, entropy := r.place("lse", r.wide, lses, rows), r.place("entropy", r.wide, entropies, rows)
	dlogp := r.random("dlogp", r.wide, 1, rows)
	var dentropy *operand
	if withEntropy {
		dentropy = r.random("dentropy", r.wide, 1, rows)
	}
	tol := exponentials(shape.largest())
	if r.storage == tensor.BFloat16 {
		tol.norm += bfloat16Rounding // dz may be rounded like h
	}
	dh, dw := r.added(tol, "dh", r.storage, rows, shape.d), r.added(tol, "dw", r.wide, shape.v, shape.d)
	r.do(func(s side) {
		s.LogProbBackward(s.of(dh), s.of(dw), s.of(h), s.of(w), s.of(targets), s.of(lse), s.of(entropy), s.of(dlogp), s.of(dentropy), shape.head())
	})
}

// lseAndEntropy is what the forward operations leave for the backward one: of the entries held here, or anything when there
// are none.
func (h headShape) lseAndEntropy(hidden, w []float64) (lses, entropies []float64) {
	if h.v == 0 {
		return slices.Repeat([]float64{3}, len(hidden)/h.d), slices.Repeat([]float64{1}, len(hidden)/h.d)
	}
	for ; len(hidden) > 0; hidden = hidden[h.d:] {
		z := make([]float64, h.v)
		top := math.Inf(-1)
		for v := range z {
			for d, x := range hidden[:h.d] {
				z[v] += h.scale * x * w[v*h.d+d]
			}
			top = max(top, z[v])
		}
		sum, sumZ := 0.0, 0.0
		for _, z := range z {
			sum += math.Exp(z - top)
			sumZ += math.Exp(z-top) * z
		}
		lse := top + math.Log(sum)
		lses, entropies = append(lses, lse), append(entropies, lse-sumZ/sum)
	}
	return lses, entropies
}

// statsOfRanks are statistics [S N 4] of random logits of some ranks, the last of which holds no entries. The target is on
// the second rank.
func (r *rig) statsOfRanks(h headShape, ranks int) *operand {
	whole := make([][]float64, ranks)
	for s := range whole {
		whole[s] = make([]float64, 4*h.n)
		for n := range h.n {
			stats := whole[s][4*n : 4*n+4]
			stats[0] = math.Inf(-1)
			if s == ranks-1 {
				continue
			}
			z := make([]float64, h.v)
			for v := range z {
				z[v] = h.deviation * r.rng.NormFloat64()
				stats[0] = max(stats[0], z[v])
			}
			for _, z := range z {
				stats[1] += math.Exp(z - stats[0])
				stats[2] += math.Exp(z-stats[0]) * z
			}
			if s == 1 {
				stats[3] = z[r.rng.IntN(h.v)]
			}
		}
	}
	var values []float64
	for _, stats := range whole {
		values = append(values, pickRows(stats, 4, r.picked)...)
	}
	return r.place("stats", r.wide, values, ranks, len(r.picked), 4)
}

// compareStats holds (m, Σ exp(z-m), Σ exp(z-m)·z, z[target]) against the reference. A logit is off by some roundings of the
// largest; that is a relative error of each exp, and the third sum may cancel, so its error is measured by the second.
func compareStats(stats *operand, largest float64) error {
	off := 1e-6 + 8*largest*0x1p-24
	for i, got := range stats.got {
		want, row := stats.want[i], stats.want[i/4*4:i/4*4+4]
		limit := off
		switch i % 4 {
		case 1:
			limit = (1e-5 + off) * row[1]
		case 2:
			limit = (1e-5 + off) * row[1] * (1 + largest)
		}
		if !(math.Abs(got-want) <= limit) && got != want {
			return fmt.Errorf("%v: column %d of row %d is %v, want %v within %.3g", stats, i%4, i/4, got, want, limit)
		}
	}
	return nil
}
