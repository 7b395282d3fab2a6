package nn

import (
	"alfred/internal/backend"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

// Linear is y = x·Wᵀ + b. How W is split over ranks is in its segments: by rows (column-parallel; the bias is split
// alike) or by columns (row-parallel: y is a partial sum, and only one rank of the tensor group has the bias).
type Linear struct {
	W    *param.Param // [O I]
	Bias *param.Param // [O], or nil
}

// Forward sets y [N O] from x [N I], adding residual [N O] unless it is absent; residual may be y.
func (l *Linear) Forward(s *backend.Stream, y, x, residual tensor.Tensor) {
	e := backend.Epilogue{Residual: residual}
	if l.Bias != nil {
		e.Bias = l.Bias.Weight()
	}
	s.MatMul(y, x, l.W.Weight(), e)
}

// Backward sets or adds to dx [N I], and adds to the gradients of W and b, from dy [N O] and the x of Forward.
func (l *Linear) Backward(s *backend.Stream, dx, dy, x tensor.Tensor, into backend.Into) {
	s.MatMulInput(dx, dy, l.W.Weight(), into)
	s.MatMulWeight(l.W.Grad(), dy, x)
	if l.Bias != nil {
		s.SumRows(l.Bias.Grad(), dy)
	}
}

// params appends the layer's parameters to list.
func (l *Linear) params(list []*param.Param) []*param.Param {
	list = append(list, l.W)
	if l.Bias != nil {
		list = append(list, l.Bias)
	}
	return list
}
