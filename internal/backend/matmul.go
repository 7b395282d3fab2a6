package backend

import "alfred/internal/tensor"

// Epilogue is what a matrix product adds to its result before storing it. Absent tensors add nothing.
type Epilogue struct {
	Bias     tensor.Tensor // [O]
	Residual tensor.Tensor // [N O], the type of the output; may be the output itself
}

// Into says what becomes of what an output holds.
type Into bool

const (
	Set Into = false // it is overwritten, and need not be defined
	Add Into = true  // the result is added to it
)

// MatrixOps are the three products of a linear layer. Weights are stored as Hugging Face stores them, [output, input].
type MatrixOps interface {
	// MatMul: y = x·wᵀ + bias + residual.  y [N O]  x [N I]  w [O I].  y has x's type or is wide.
	MatMul(y, x, w tensor.Tensor, e Epilogue)
	// MatMulInput: dx = or += dy·w.  dx [N I]  dy [N O]  w [O I].  dy has dx's type or is wide.
	MatMulInput(dx, dy, w tensor.Tensor, into Into)
	// MatMulWeight: dw += dyᵀ·x.  dw [O I] wide  dy [N O]  x [N I].
	MatMulWeight(dw, dy, x tensor.Tensor)
	// SumRows: db += Σₙ dy[n].  db [O] wide  dy [N O].
	SumRows(db, dy tensor.Tensor)
}

// MatMul: see MatrixOps.
func (s *Stream) MatMul(y, x, w tensor.Tensor, e Epilogue) {
	n, i, o := dim(x, 0), dim(x, 1), dim(w, 0)
	c := checking("matmul").shape("x", x, n, i).float("x", x).shape("w", w, o, i).shape("y", y, n, o).
		optional("bias", e.Bias, o).optional("residual", e.Residual, n, o).
		dtype("y", y, x.DType(), s.wide).dtype("w", w, x.DType()).dtype("bias", e.Bias, w.DType()).dtype("residual", e.Residual, y.DType())
	if s.ok(c) {
		s.queue.MatMul(y, x, w, e)
	}
}

// MatMulInput: see MatrixOps.
func (s *Stream) MatMulInput(dx, dy, w tensor.Tensor, into Into) {
	n, i, o := dim(dy, 0), dim(w, 1), dim(w, 0)
	c := checking("matmul input gradient").shape("w", w, o, i).shape("dy", dy, n, o).shape("dx", dx, n, i).
		dtype("dy", dy, dx.DType(), s.wide).dtype("w", w, dx.DType())
	if s.ok(c) {
		s.queue.MatMulInput(dx, dy, w, into)
	}
}

// MatMulWeight: see MatrixOps.
func (s *Stream) MatMulWeight(dw, dy, x tensor.Tensor) {
	n, i, o := dim(x, 0), dim(x, 1), dim(dy, 1)
	c := checking("matmul weight gradient").shape("x", x, n, i).shape("dy", dy, n, o).shape("dw", dw, o, i).
		dtype("dw", dw, s.wide).dtype("dy", dy, x.DType(), s.wide)
	if s.ok(c) {
		s.queue.MatMulWeight(dw, dy, x)
	}
}

// SumRows: see MatrixOps.
func (s *Stream) SumRows(db, dy tensor.Tensor) {
	c := checking("sum rows").shape("dy", dy, -1, -1).float("dy", dy).shape("db", db, dim(dy, 1)).dtype("db", db, s.wide)
	if s.ok(c) {
		s.queue.SumRows(db, dy)
	}
}
