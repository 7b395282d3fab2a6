package nn

import (
	"alfred/internal/backend"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

// Embedding looks tokens up in a table of which this rank holds the vocabulary entries First to First+V.
type Embedding struct {
	W     *param.Param // [V D]
	First int
	Boundary
}

// Forward allocates x [N D] for ids [N] int32.
func (e *Embedding) Forward(s *backend.Stream, ids tensor.Tensor) (x tensor.Tensor) {
	w := e.W.Weight()
	x = s.Alloc(w.DType(), ids.Len(), e.W.Local[1])
	s.Embedding(x, w, ids, e.First)
	e.Leave(s, x)
	return x
}

// Backward adds dx [N D] to the rows of the table that ids name.
func (e *Embedding) Backward(s *backend.Stream, dx, ids tensor.Tensor) {
	s.EmbeddingBackward(e.W.Grad(), dx, ids, e.First)
}
