package nn

import (
	"alfred/internal/backend"
	"alfred/internal/collective"
	"alfred/internal/tensor"
)

// joinColumns makes the whole [M total ...] of parts x [M C ...] that the ranks hold, this rank's starting at column first.
// Parts may differ in width, and views have no strides, so each rank copies its rows into a zeroed whole, and the wholes are
// summed, which is exact. Few rows pass here: those of one decoding step.
func joinColumns(s *backend.Stream, g collective.Group, x tensor.Tensor, first, total int) tensor.Tensor {
	if g.Size() == 1 || x.Absent() {
		return x
	}
	dims := x.Dims()
	width, cell := dims[1], x.Cols()/max(dims[1], 1)
	dims[1] = total
	whole := s.Zeros(x.DType(), dims...)
	for m := range x.Rows() {
		if width == 0 {
			break
		}
		row := whole.Slice(m, m+1).Reshape(total, cell)
		s.Copy(row.Slice(first, first+width), x.Slice(m, m+1))
	}
	g.AllReduce(s, whole)
	return whole
}
