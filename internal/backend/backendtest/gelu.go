package backendtest

import "alfred/internal/tensor"

func geluCases() []testCase {
	// Where erf is flat, where it is linear, where exp(-x²/2) underflows, and both zeros.
	special := []float64{0, 1e-30, -1e-30, 1e-3, -1e-3, 0.5, -0.5, 3, -3, 6, -6, 9, -9, 14, -14, 40, -40, 1e4, -1e4}
	var cases []testCase
	for _, dims := range [][]int{{0, 3}, {1, 1}, {7, 3, 5}, {33, 65}, {2, 3, 4, 5}, {130, 17}, {257, 300}} {
		n, dims := dims[0], append([]int{rows}, dims[1:]...)
		input := func(r *rig) *operand {
			return r.filled("x", r.storage, func(i int) float64 {
				if i < len(special) {
					return special[i]
				}
				return 3 * r.rng.NormFloat64()
			}, dims...)
		}
		// The norm of a tensor with 1e4 in it hides the rest; of a sum x·Φ(x) each element has its own digits. The tails are
		// allowed an error that is small beside the 0.17 by which gelu departs from max(x, 0).
		tol := tolerance{each: 1e-5, floor: 1e-6}
		withStorage := func(r *rig) tolerance {
			if r.storage == tensor.BFloat16 {
				return tolerance{each: tol.each + bfloat16Rounding, floor: tol.floor}
			}
			return tol
		}
		cases = append(cases,
			testCase{label("Gelu", dims, n), n, func(r *rig) {
				x := input(r)
				y := r.output(withStorage(r), "y", r.storage, dims...)
				r.do(func(s side) { s.Gelu(s.of(y), s.of(x)) })
			}},
			testCase{label("Gelu in place", dims, n), n, func(r *rig) {
				x := r.result(withStorage(r), input(r))
				r.do(func(s side) { s.Gelu(s.of(x), s.of(x)) })
			}},
			testCase{label("GeluBackward", dims, n), n, func(r *rig) {
				x, dy := input(r), r.random("dy", r.storage, 1, dims...)
				dx := r.output(withStorage(r), "dx", r.storage, dims...)
				r.do(func(s side) { s.GeluBackward(s.of(dx), s.of(dy), s.of(x)) })
			}},
			testCase{label("GeluBackward in place", dims, n), n, func(r *rig) {
				x, dx := input(r), r.result(withStorage(r), r.random("dx", r.storage, 1, dims...))
				r.do(func(s side) { s.GeluBackward(s.of(dx), s.of(dx), s.of(x)) })
			}},
		)
	}
	return cases
}
