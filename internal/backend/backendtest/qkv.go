package backendtest

import (
	"math"

	"alfred/internal/backend"
)

func qkvCases() []testCase {
	const numPositions = 70
	var cases []testCase
	for _, s := range []struct {
		n, h, g, k int
		rotary     bool
	}{
		{0, 2, 1, 4, true}, {1, 1, 1, 2, true}, {3, 1, 1, 1, false}, {7, 2, 1, 6, true}, {17, 4, 2, 8, true}, {33, 3, 3, 64, true},
		{5, 71, 1, 64, true}, {65, 16, 2, 16, true}, {9, 3, 3, 5, false}, {130, 12, 4, 10, true}, {64, 8, 8, 32, false},
	} {
		width := (s.h + 2*s.g) * s.k
		// The angles of the paper, base 10,000.
		angle := func(i int) float64 {
			half := s.k / 2
			return float64(i/half) * math.Pow(10000, -float64(i%half)/float64(half))
		}
		rotary := func(r *rig) func(side) backend.Rotary {
			if !s.rotary {
				return func(side) backend.Rotary { return backend.Rotary{} }
			}
			cos := r.filled("cos", r.wide, func(i int) float64 { return math.Cos(angle(i)) }, numPositions, s.k/2)
			sin := r.filled("sin", r.wide, func(i int) float64 { return math.Sin(angle(i)) }, numPositions, s.k/2)
			positions := r.ints("positions", func(int) int { return r.rng.IntN(numPositions) }, rows)
			return func(s side) backend.Rotary {
				return backend.Rotary{Cos: s.of(cos), Sin: s.of(sin), Positions: s.of(positions)}
			}
		}
		cases = append(cases,
			testCase{label("SplitQKV", s), s.n, func(r *rig) {
				qkv, rotary := r.random("qkv", r.storage, 1, rows, width), rotary(r)
				q := r.output(arithmetic, "q", r.storage, rows, s.h, s.k)
				k, v := r.output(arithmetic, "k", r.storage, rows, s.g, s.k), r.output(exact, "v", r.storage, rows, s.g, s.k)
				r.do(func(s side) { s.SplitQKV(s.of(q), s.of(k), s.of(v), s.of(qkv), rotary(s)) })
			}},
			testCase{label("SplitQKVBackward", s), s.n, func(r *rig) {
				dq := r.random("dq", r.storage, 1, rows, s.h, s.k)
				dk, dv := r.random("dk", r.storage, 1, rows, s.g, s.k), r.random("dv", r.storage, 1, rows, s.g, s.k)
				rotary := rotary(r)
				dqkv := r.output(arithmetic, "dqkv", r.storage, rows, width)
				r.do(func(s side) { s.SplitQKVBackward(s.of(dqkv), s.of(dq), s.of(dk), s.of(dv), rotary(s)) })
			}},
		)
	}
	return cases
}
