package backendtest

import "alfred/internal/backend"

// adamwCases have learning rates so large that the update counts among the digits of the weight.
func adamwCases() []testCase {
	var cases []testCase
	for _, n := range []int{1, 3, 65, 130, 4097, manyElements} {
		for _, step := range []backend.AdamWStep{
			{LearningRate: 0.5, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Step: 1, GradScale: 1},
			{LearningRate: 0.1, Beta1: 0.9, Beta2: 0.999, Eps: 1e-6, WeightDecay: 0.1, Step: 100, GradScale: 0.37},
		} {
			cases = append(cases,
				testCase{label("AdamW", n, " ", step.Step), n, func(r *rig) {
					weight := r.output(unchecked, "weight", r.storage, rows)
					master := r.added(arithmetic, "master", r.wide, rows)
					adamw(r, step, weight, master)
					rounded := r.output(unchecked, "rounded", r.storage, rows)
					r.do(func(s side) { s.Copy(s.of(rounded), s.of(master)) })
					r.check(func() error { return equalBits(weight, rounded) })
				}},
				testCase{label("AdamW without master", n, " ", step.Step), n, func(r *rig) {
					weight := r.added(arithmetic, "weight", r.wide, rows)
					adamw(r, step, weight, weight)
				}})
		}
	}
	return cases
}

func adamw(r *rig, step backend.AdamWStep, weight, master *operand) {
	grad, m := r.random("grad", r.wide, 1, rows), r.added(arithmetic, "m", r.wide, rows)
	v := r.result(arithmetic, r.filled("v", r.wide, func(int) float64 { x := r.rng.NormFloat64(); return x * x }, rows))
	r.do(func(s side) { s.AdamW(s.of(weight), s.of(master), s.of(m), s.of(v), s.of(grad), step) })
}
