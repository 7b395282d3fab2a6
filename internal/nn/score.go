package nn

import (
	"alfred/internal/backend"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

// ScoreHead reads one number from each hidden state: a reward model's score, a value model's value. All ranks of the tensor
// group hold it whole and compute the same.
type ScoreHead struct {
	W *param.Param // [1 D]
	Boundary
}

// Forward reads h [M D]; the result is [M] wide.
func (l *ScoreHead) Forward(s *backend.Stream, h tensor.Tensor) (values tensor.Tensor) {
	m := h.Rows()
	values = s.Alloc(s.Wide(), m, 1)
	s.MatMul(values, h, l.W.Weight(), backend.Epilogue{})
	return values.Reshape(m)
}

// Backward sets dh [M D] to this rank's part of the gradient, from dvalues [M] wide. Every rank could compute the whole of
// it; so that their sum counts it once, one rank contributes.
func (l *ScoreHead) Backward(s *backend.Stream, dh, h, dvalues tensor.Tensor) {
	dy := dvalues.Reshape(h.Rows(), 1)
	if l.Once() {
		s.MatMulInput(dh, dy, l.W.Weight(), backend.Set)
	} else {
		s.Zero(dh)
	}
	s.MatMulWeight(l.W.Grad(), dy, h)
}

// Params lists W.
func (l *ScoreHead) Params() []*param.Param { return []*param.Param{l.W} }
