package reference

import (
	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// Zero: x = 0, of any type.
func (q *queue) Zero(x tensor.Tensor) {
	if q.inMemory("zero", x) {
		clear(raw(x))
	}
}

// Copy: y = x, converted to y's type.
func (q *queue) Copy(y, x tensor.Tensor) {
	if q.inMemory("copy", y, x) {
		backend.Raw(y.DType(), raw(y)).Decode(raw(x), x.DType())
	}
}

// Add: y = a + b.
func (q *queue) Add(y, a, b tensor.Tensor) {
	if !q.floats("add", y, a, b) {
		return
	}
	ys, bs := f64(y), f64(b)
	for i, v := range f64(a) {
		ys[i] = v + bs[i]
	}
}

// GatherRows: y[n] = x[rows[n]].
func (q *queue) GatherRows(y, x, rows tensor.Tensor) {
	if !q.movable("gather rows", y, x, rows) || !q.below("gather rows", "index", i32(rows), x.Rows()) {
		return
	}
	for n, m := range i32(rows) {
		copy(raw(y.Slice(n, n+1)), raw(x.Slice(int(m), int(m)+1)))
	}
}

// ScatterRows: y[rows[n]] = x[n]; rows are distinct.
func (q *queue) ScatterRows(y, x, rows tensor.Tensor) {
	if !q.movable("scatter rows", y, x, rows) || !q.below("scatter rows", "index", i32(rows), y.Rows()) {
		return
	}
	writer := map[int32]int{}
	for n, m := range i32(rows) {
		if first, written := writer[m]; written {
			q.failf("scatter rows", "index %d of row %d is that of row %d already", m, n, first)
			return
		}
		writer[m] = n
		copy(raw(y.Slice(int(m), int(m)+1)), raw(x.Slice(n, n+1)))
	}
}

// AddRows: y[rows[n]] += x[n], in the order of n.
func (q *queue) AddRows(y, x, rows tensor.Tensor) {
	if !q.floats("add rows", y, x) || !q.inMemory("add rows", rows) || !q.below("add rows", "index", i32(rows), y.Rows()) {
		return
	}
	yMC, xNC := f64(y), f64(x)
	for n, m := range i32(rows) {
		addScaled(row(yMC, int(m), y.Cols()), 1, row(xNC, n, x.Cols()))
	}
}

// SumSquares: out += Σ x².
func (q *queue) SumSquares(out, x tensor.Tensor) {
	if !q.floats("sum of squares", out, x) {
		return
	}
	f64(out)[0] += dot(f64(x), f64(x))
}

// movable is floats for rows that are moved without a look at their elements: they may also be Int32.
func (q *queue) movable(op string, y, x, rows tensor.Tensor) bool {
	if x.DType() == tensor.Int32 {
		return q.inMemory(op, y, x, rows)
	}
	return q.floats(op, y, x) && q.inMemory(op, rows)
}
