package backendtest

import "alfred/internal/tensor"

func elementCases() []testCase {
	cases := append(rowCases(), conversions()...)
	for _, dims := range [][]int{{0, 3}, {1}, {7, 3, 5}, {33, 65}, {2, 3, 4, 5}, {257, 300}} {
		n, dims := dims[0], append([]int{rows}, dims[1:]...)
		cases = append(cases,
			testCase{label("Zero", dims, n), n, func(r *rig) {
				for _, dtype := range append(r.gradientTypes(), tensor.Int32, tensor.Float64) {
					x := r.output(exact, "x", dtype, dims...)
					r.do(func(s side) { s.Zero(s.of(x)) })
				}
			}},
			testCase{label("Add", dims, n), n, func(r *rig) {
				for _, dtype := range r.gradientTypes() {
					a, b := r.random("a", dtype, 1, dims...), r.random("b", dtype, 1, dims...)
					y := r.output(exact, "y", dtype, dims...)
					r.do(func(s side) { s.Add(s.of(y), s.of(a), s.of(b)) })
				}
			}},
			testCase{label("Add onto an operand", dims, n), n, func(r *rig) {
				for _, dtype := range r.gradientTypes() {
					a, b := r.random("a", dtype, 1, dims...), r.random("b", dtype, 1, dims...)
					first, second, twice := r.added(exact, "first", dtype, dims...), r.added(exact, "second", dtype, dims...), r.added(exact, "twice", dtype, dims...)
					r.do(func(s side) {
						s.Add(s.of(first), s.of(first), s.of(b))
						s.Add(s.of(second), s.of(a), s.of(second))
						s.Add(s.of(twice), s.of(twice), s.of(twice))
					})
				}
			}},
			testCase{label("SumSquares", dims, n), n, func(r *rig) {
				for _, dtype := range append(r.gradientTypes(), tensor.Float64) {
					x := r.random("x", dtype, 1, dims...)
					// "out [1] float64": the sum of 77,100 squares is wanted to more than float32's digits.
					out := r.added(tolerance{each: 1e-12}, "out", tensor.Float64, 1)
					r.do(func(s side) { s.SumSquares(s.of(out), s.of(x)) })
				}
			}},
		)
	}
	return cases
}

// conversions copy between types. Numbers lie between those of the narrower type, ties and the largest included; subnormal
// ones are left out, since the conversion instructions of some processors take them for zero.
func conversions() []testCase {
	const n = 300
	special := []float64{0, 1, -1, 1 + 1.0/256, 1 + 3.0/256, -1 - 1.0/256, 0x1.fep127, 3.4e38, -3.4e38}
	return []testCase{
		{"Copy converts", n, func(r *rig) {
			types := append(r.gradientTypes(), tensor.Float64)
			for _, from := range types {
				for _, to := range types {
					x := r.filled("x", from, func(i int) float64 {
						if i < len(special) {
							return special[i]
						}
						return r.rng.NormFloat64()
					}, rows, 3)
					y := r.output(exact, "y "+from.String()+" to", to, rows, 3)
					r.do(func(s side) { s.Copy(s.of(y), s.of(x)) })
				}
			}
		}},
		{"Copy of many elements", manyElements, func(r *rig) {
			pairs := [][2]tensor.DType{{tensor.Int32, tensor.Int32}, {tensor.Float64, tensor.Float64}, {r.storage, r.storage}, {r.storage, r.wide}, {r.wide, r.storage}}
			for _, p := range pairs {
				x := r.filled("x", p[0], func(int) float64 { return float64(r.rng.IntN(1<<20) - 1<<19) }, rows)
				y := r.output(exact, "y", p[1], rows)
				r.do(func(s side) { s.Copy(s.of(y), s.of(x)) })
			}
		}},
		{"Copy moves integers and other shapes", n, func(r *rig) {
			x := r.ints("x", func(int) int { return r.rng.IntN(1<<31) - 1<<30 }, rows, 2)
			y := r.output(exact, "y", tensor.Int32, rows, 2)
			a := r.random("a", r.storage, 1, rows, 6)
			b := r.output(exact, "b", r.storage, rows, 2, 3)
			r.do(func(s side) {
				s.Copy(s.of(y), s.of(x))
				s.Copy(s.of(b), s.of(a))
			})
		}},
	}
}

func rowCases() []testCase {
	var cases []testCase
	for _, s := range []struct{ n, m, c int }{{0, 3, 2}, {1, 1, 1}, {7, 17, 3}, {33, 64, 65}, {130, 200, 17}, {65, 66, 300}, {manyRows, 150, 300}} {
		cases = append(cases,
			testCase{label("GatherRows", s), s.n, func(r *rig) {
				index := r.ints("rows", func(int) int { return r.rng.IntN(s.m) }, rows)
				for _, dtype := range r.gradientTypes() {
					x := r.random("x", dtype, 1, s.m, s.c)
					y := r.output(exact, "y", dtype, rows, s.c)
					r.do(func(s side) { s.GatherRows(s.of(y), s.of(x), s.of(index)) })
				}
			}},
			testCase{label("ScatterRows", s), s.n, func(r *rig) {
				order := r.rng.Perm(s.m)
				index := r.ints("rows", func(i int) int { return order[i] }, rows)
				for _, dtype := range r.gradientTypes() {
					x := r.random("x", dtype, 1, rows, s.c)
					y := r.added(exact, "y", dtype, s.m, s.c)
					r.do(func(s side) { s.ScatterRows(s.of(y), s.of(x), s.of(index)) })
				}
			}},
			testCase{label("AddRows", s), s.n, func(r *rig) {
				for _, dtype := range r.gradientTypes() {
					// Rows that occur several times are rounded each time: in bfloat16 every row occurs once.
					order := r.rng.Perm(s.m)
					index := r.ints("rows", func(i int) int {
						if dtype == tensor.BFloat16 {
							return order[i]
						}
						return r.rng.IntN(s.m)
					}, rows)
					x := r.random("x", dtype, 1, rows, s.c)
					y := r.added(arithmetic, "y", dtype, s.m, s.c)
					r.do(func(s side) { s.AddRows(s.of(y), s.of(x), s.of(index)) })
				}
			}},
		)
	}
	return cases
}
