package backend

import "alfred/internal/tensor"

// ElementOps move and add elements.
type ElementOps interface {
	// Zero: x = 0.
	Zero(x tensor.Tensor)
	// Copy: y = x, converted to y's type. Same number of elements.
	Copy(y, x tensor.Tensor)
	// Add: y = a + b. Same shape and floating-point type; y may be a or b.
	Add(y, a, b tensor.Tensor)
	// GatherRows: y[n] = x[rows[n]], of any type.  y [N C]  x [M C]  rows [N] int32.
	GatherRows(y, x, rows tensor.Tensor)
	// ScatterRows: y[rows[n]] = x[n], of any type; rows are distinct.  y [M C]  x [N C].
	ScatterRows(y, x, rows tensor.Tensor)
	// AddRows: y[rows[n]] += x[n], in the order of n.  y [M C]  x [N C].
	AddRows(y, x, rows tensor.Tensor)
	// SumSquares: out += Σ x².  out [1] float64, summed in an order that depends on the number of elements only.
	SumSquares(out, x tensor.Tensor)
}

// Zero: see ElementOps.
func (s *Stream) Zero(x tensor.Tensor) {
	c := checking("zero")
	if x.Absent() {
		c.failf("x is absent")
	}
	if s.ok(c) {
		s.queue.Zero(x)
	}
}

// Copy: see ElementOps.
func (s *Stream) Copy(y, x tensor.Tensor) {
	c := checking("copy")
	if y.Absent() || y.Len() != x.Len() || (y.DType() == tensor.Int32) != (x.DType() == tensor.Int32) {
		c.failf("%v from %v", y, x)
	}
	if s.ok(c) {
		s.queue.Copy(y, x)
	}
}

// Add: see ElementOps.
func (s *Stream) Add(y, a, b tensor.Tensor) {
	c := checking("add").float("a", a).shape("b", b, a.Dims()...).shape("y", y, a.Dims()...).dtype("b", b, a.DType()).dtype("y", y, a.DType())
	if s.ok(c) {
		s.queue.Add(y, a, b)
	}
}

// GatherRows: see ElementOps.
func (s *Stream) GatherRows(y, x, rows tensor.Tensor) {
	if s.ok(checking("gather rows").rows(y, x, y, rows)) {
		s.queue.GatherRows(y, x, rows)
	}
}

// ScatterRows: see ElementOps.
func (s *Stream) ScatterRows(y, x, rows tensor.Tensor) {
	if s.ok(checking("scatter rows").rows(y, x, x, rows)) {
		s.queue.ScatterRows(y, x, rows)
	}
}

// AddRows: see ElementOps.
func (s *Stream) AddRows(y, x, rows tensor.Tensor) {
	if s.ok(checking("add rows").rows(y, x, x, rows)) {
		s.queue.AddRows(y, x, rows)
	}
}

// SumSquares: see ElementOps.
func (s *Stream) SumSquares(out, x tensor.Tensor) {
	c := checking("sum of squares").float("x", x).shape("out", out, 1).dtype("out", out, tensor.Float64)
	if x.Absent() {
		c.failf("x is absent")
	}
	if s.ok(c) {
		s.queue.SumSquares(out, x)
	}
}

// rows demands that indexed has one row for each entry of rows.
func (c *check) rows(y, x, indexed, rows tensor.Tensor) *check {
	c.shape("rows", rows, -1).dtype("rows", rows, tensor.Int32).dtype("y", y, x.DType())
	switch {
	case y.Absent() || x.Absent():
		c.failf("absent operand: %v from %v", y, x)
	case y.Cols() != x.Cols():
		c.failf("rows of %v and %v differ", y, x)
	case indexed.Rows() != rows.Len():
		c.failf("%d indices for %v", rows.Len(), indexed)
	}
	return c
}
