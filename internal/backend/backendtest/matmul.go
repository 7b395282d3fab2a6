package backendtest

import (
	"math"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// sizes are what dimensions are drawn from: small, odd, powers of two, and one beside them.
var sizes = []int{1, 2, 3, 7, 17, 33, 64, 65, 130}

// Devices cut large operands into tiles: of elements, of rows, and of columns where they sum over rows. Operands of these sizes
// need several of any kind that is worth a tile.
const (
	manyElements = 70_000
	manyRows     = 130
	manyColumns  = 2000
)

// triples are shapes of matrix products, [N I O]: named ones, and some drawn. Rows of 4 KiB, and many columns, are what devices may treat
// in another way.
func triples() [][3]int {
	shapes := [][3]int{{0, 3, 5}, {3, 0, 5}, {3, 5, 0}, {1, 1, 1}, {1, 64, 64}, {2, 7, 3}, {3, 1, 130}, {7, 65, 130}, {33, 130, 7}, {64, 64, 64}, {65, 3, 17}, {200, 320, 96}, {40, 1000, 200}, {30, 1024, 96}, {17, 96, 1024}, {31, 2048, 40}, {20, 64, 1100}}
	rng := seeded("triples")
	for range 14 {
		var s [3]int
		for i := range s {
			s[i] = sizes[rng.IntN(len(sizes))]
		}
		shapes = append(shapes, s)
	}
	return shapes
}

// gradientTypes are the types that a gradient may have beside activations of the storage type.
func (r *rig) gradientTypes() []tensor.DType {
	if r.storage == r.wide {
		return []tensor.DType{r.wide}
	}
	return []tensor.DType{r.storage, r.wide}
}

func matmulCases() []testCase {
	var cases []testCase
	for _, s := range triples() {
		n, numI, numO := s[0], s[1], s[2]
		inputs := func(r *rig) (x, w *operand) {
			return r.random("x", r.storage, 1, rows, numI), r.random("w", r.storage, 1/math.Sqrt(float64(numI)), numO, numI)
		}
		cases = append(cases,
			testCase{label("MatMul", s), n, func(r *rig) {
				x, w := inputs(r)
				for _, dtype := range r.gradientTypes() {
					y := r.output(arithmetic, "y", dtype, rows, numO)
					r.do(func(s side) { s.MatMul(s.of(y), s.of(x), s.of(w), backend.Epilogue{}) })
				}
			}},
			testCase{label("MatMul with bias and residual", s), n, func(r *rig) {
				x, w := inputs(r)
				bias := r.random("bias", r.storage, 1, numO)
				for _, dtype := range r.gradientTypes() {
					residual := r.random("residual", dtype, 1, rows, numO)
					y := r.output(arithmetic, "y", dtype, rows, numO)
					r.do(func(s side) {
						s.MatMul(s.of(y), s.of(x), s.of(w), backend.Epilogue{Bias: s.of(bias), Residual: s.of(residual)})
					})
				}
			}},
			testCase{label("MatMul onto its residual", s), n, func(r *rig) {
				x, w := inputs(r)
				for _, dtype := range r.gradientTypes() {
					y := r.added(arithmetic, "y", dtype, rows, numO)
					r.do(func(s side) { s.MatMul(s.of(y), s.of(x), s.of(w), backend.Epilogue{Residual: s.of(y)}) })
				}
			}},
			testCase{label("MatMulInput", s), n, func(r *rig) {
				w := r.random("w", r.storage, 1/math.Sqrt(float64(numO)), numO, numI)
				for _, dtype := range r.gradientTypes() {
					dy := r.random("dy", dtype, 1, rows, numO)
					dx, sum := r.output(arithmetic, "dx", r.storage, rows, numI), r.added(arithmetic, "sum of dx", r.storage, rows, numI)
					r.do(func(s side) {
						s.MatMulInput(s.of(dx), s.of(dy), s.of(w), backend.Set)
						s.MatMulInput(s.of(sum), s.of(dy), s.of(w), backend.Add)
					})
				}
			}},
			testCase{label("MatMulWeight", s), n, func(r *rig) {
				x := r.random("x", r.storage, 1, rows, numI)
				for _, dtype := range r.gradientTypes() {
					dy := r.random("dy", dtype, 1, rows, numO)
					dw := r.added(arithmetic, "dw", r.wide, numO, numI)
					r.do(func(s side) { s.MatMulWeight(s.of(dw), s.of(dy), s.of(x)) })
				}
			}},
			sumRows(n, numO),
		)
	}
	return append(cases, sumRows(manyRows, manyColumns))
}

func sumRows(n, numO int) testCase {
	return testCase{label("SumRows", n, " ", numO), n, func(r *rig) {
		for _, dtype := range r.gradientTypes() {
			dy := r.random("dy", dtype, 1, rows, numO)
			db := r.added(arithmetic, "db", r.wide, numO)
			r.do(func(s side) { s.SumRows(s.of(db), s.of(dy)) })
		}
	}}
}
