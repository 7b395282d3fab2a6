package nn

import (
	"alfred/internal/backend"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

// LayerNorm normalises rows and applies a gain and an offset. All ranks hold it whole. Its backward pass is linear in dy
// once the statistics are known, so it runs on the ranks' partial gradients; the gradients of gain and offset are partial too
// and their segments say that they are summed over the tensor group.
type LayerNorm struct {
	Gamma, Beta *param.Param // [D]
	Eps         float64
}

// NormSaved is what LayerNorm's Backward needs.
type NormSaved struct {
	x, mean, rstd tensor.Tensor
}

// Forward allocates y [N D] from x [N D].
func (l *LayerNorm) Forward(s *backend.Stream, x tensor.Tensor) (y tensor.Tensor, saved NormSaved) {
	n := x.Rows()
	y = s.Alloc(x.DType(), n, x.Dim(1))
	saved = NormSaved{x: x, mean: s.Alloc(s.Wide(), n), rstd: s.Alloc(s.Wide(), n)}
	s.LayerNorm(y, saved.mean, saved.rstd, x, l.Gamma.Weight(), l.Beta.Weight(), l.Eps)
	return y, saved
}

// Backward sets or adds to dx [N D] from dy [N D].
func (l *LayerNorm) Backward(s *backend.Stream, dx, dy tensor.Tensor, saved NormSaved, into backend.Into) {
	s.LayerNormBackward(dx, l.Gamma.Grad(), l.Beta.Grad(), dy, saved.x, l.Gamma.Weight(), saved.mean, saved.rstd, into)
}

// Params lists gain and offset.
func (l *LayerNorm) Params() []*param.Param { return []*param.Param{l.Gamma, l.Beta} }
