package nn

import (
	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// Some layers are computed for some rows of a batch only: rows [M] int32 says which, and is absent for all.

// Gather gives rows [M] of x [N ...], all of them, which is x itself, if rows is absent.
func Gather(s *backend.Stream, x, rows tensor.Tensor) tensor.Tensor {
	if rows.Absent() {
		return x
	}
	dims := x.Dims()
	dims[0] = rows.Len()
	y := s.Alloc(x.DType(), dims...)
	s.GatherRows(y, x, rows)
	return y
}

// Spread is the backward pass of Gather: dx [N ...], which is 0 but at rows, or dy [M ...] itself if rows is absent.
func Spread(s *backend.Stream, dy, rows tensor.Tensor, n int) tensor.Tensor {
	if rows.Absent() {
		return dy
	}
	dims := dy.Dims()
	dims[0] = n
	dx := s.Zeros(dy.DType(), dims...)
	s.AddRows(dx, dy, rows)
	return dx
}
