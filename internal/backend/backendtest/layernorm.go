package backendtest

import (
	"math"
	"slices"

	"alfred/internal/backend"
)

func layerNormCases() []testCase {
	const eps = 1e-5
	var cases []testCase
	for _, s := range [][2]int{{0, 5}, {1, 1}, {3, 1}, {2, 2}, {1, 7}, {17, 3}, {7, 33}, {33, 64}, {65, 65}, {3, 130}, {64, 17}, {200, 257}, {5, 1000}, {manyRows, manyColumns}} {
		n, d := s[0], s[1]
		// A mean far from 0 costs digits to a variance computed as E[x²] - μ². (It costs some to any: the float32 mean is off by
		// 2^-24 of itself.)
		input := func(r *rig) *operand {
			return r.filled("x", r.storage, func(int) float64 { return 20 + 2*r.rng.NormFloat64() }, rows, d)
		}
		cases = append(cases,
			testCase{label("LayerNorm", s), n, func(r *rig) {
				x := input(r)
				gamma, beta := r.random("gamma", r.storage, 1, d), r.random("beta", r.storage, 1, d)
				y := r.output(arithmetic, "y", r.storage, rows, d)
				mean, rstd := r.output(arithmetic, "mean", r.wide, rows), r.output(arithmetic, "rstd", r.wide, rows)
				r.do(func(s side) { s.LayerNorm(s.of(y), s.of(mean), s.of(rstd), s.of(x), s.of(gamma), s.of(beta), eps) })
			}},
			testCase{label("LayerNormBackward", s), n, func(r *rig) {
				x := input(r)
				gamma := r.random("gamma", r.storage, 1, d)
				means, rstds := moments(x.values, d, eps)
				mean, rstd := r.place("mean", r.wide, means, rows), r.place("rstd", r.wide, rstds, rows)
				dy := r.random("dy", r.storage, 1, rows, d)
				// What is left of a gradient after the components along 1 and x̂ are taken from it is little or nothing where d is 1 or 2.
				sound := differences(slices.Max(append(rstds, 0)))
				dx, sum := r.output(sound, "dx", r.storage, rows, d), r.added(arithmetic, "sum of dx", r.storage, rows, d)
				dgamma, dbeta := r.added(arithmetic, "dgamma", r.wide, d), r.added(arithmetic, "dbeta", r.wide, d)
				r.do(func(s side) {
					s.LayerNormBackward(s.of(dx), s.of(dgamma), s.of(dbeta), s.of(dy), s.of(x), s.of(gamma), s.of(mean), s.of(rstd), backend.Set)
					s.LayerNormBackward(s.of(sum), s.of(dgamma), s.of(dbeta), s.of(dy), s.of(x), s.of(gamma), s.of(mean), s.of(rstd), backend.Add)
				})
			}},
		)
	}
	return cases
}

// moments is the mean and 1/√(variance + eps) of each row.
func moments(x []float64, d int, eps float64) (means, rstds []float64) {
	for ; len(x) > 0; x = x[d:] {
		mean, variance := 0.0, 0.0
		for _, v := range x[:d] {
			mean += v / float64(d)
		}
		for _, v := range x[:d] {
			variance += (v - mean) * (v - mean) / float64(d)
		}
		means, rstds = append(means, mean), append(rstds, 1/math.Sqrt(variance+eps))
	}
	return means, rstds
}
