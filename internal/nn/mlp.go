package nn

import (
	"alfred/internal/backend"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

// MLP is down(gelu(up(x))). Up is column-parallel, Down row-parallel: the output is a partial sum.
type MLP struct {
	Up, Down Linear // [F D] and [D F]
}

// MLPSaved is what MLP's Backward needs.
type MLPSaved struct {
	x, up, act tensor.Tensor
}

// Forward sets y [N D] from x [N D], adding residual unless it is absent; residual may be y.
func (m *MLP) Forward(s *backend.Stream, y, x, residual tensor.Tensor) (saved MLPSaved) {
	n, f := x.Rows(), m.Up.W.Local[0]
	saved = MLPSaved{x: x, up: s.Alloc(x.DType(), n, f), act: s.Alloc(x.DType(), n, f)}
	m.Up.Forward(s, saved.up, x, tensor.Tensor{})
	s.Gelu(saved.act, saved.up)
	m.Down.Forward(s, y, saved.act, residual)
	return saved
}

// Allot takes memory for the activations of tokens tokens.
func (m *MLP) Allot(s *backend.Stream, kept *LayerActivations, dtype tensor.DType, tokens int) {
	kept.up = s.Alloc(dtype, tokens, m.Up.W.Local[0])
}

// Keep puts what Forward saved where a cache keeps it.
func (m *MLP) Keep(s *backend.Stream, kept *LayerActivations, saved MLPSaved, slots tensor.Tensor) {
	s.ScatterRows(kept.up, saved.up, slots)
}

// Recall is what Forward saves, for tokens that a cache has kept: x [N D] as Forward would be given it, slots [N].
func (m *MLP) Recall(s *backend.Stream, x tensor.Tensor, kept *LayerActivations, slots tensor.Tensor) MLPSaved {
	up := Gather(s, kept.up, slots)
	act := s.Alloc(up.DType(), up.Dims()...)
	s.Gelu(act, up)
	return MLPSaved{x: x, up: up, act: act}
}

// Backward sets dx [N D] from dy [N D].
func (m *MLP) Backward(s *backend.Stream, dx, dy tensor.Tensor, saved MLPSaved) {
	mark := s.Arena().Mark()
	dact := s.Alloc(dx.DType(), saved.act.Dims()...)
	m.Down.Backward(s, dact, dy, saved.act, backend.Set)
	s.GeluBackward(dact, dact, saved.up)
	m.Up.Backward(s, dx, dact, saved.x, backend.Set)
	s.Arena().Release(mark)
}

// Params lists the parameters of Up, then of Down.
func (m *MLP) Params() []*param.Param { return m.Down.params(m.Up.params(nil)) }
