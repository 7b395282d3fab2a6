package nn

import (
	"alfred/internal/backend"
	"alfred/internal/collective"
	"alfred/internal/tensor"
)

// Boundary is where activations pass between the residual stream, which every rank of the tensor group holds, and the
// branches, which are split over them. Enter and leave are each other's mirror images: one does nothing forward and sums
// backward, the other sums forward and does nothing backward.
type Boundary struct {
	Group collective.Group
}

// EnterBackward sums the ranks' parts of the gradient of a branch's input. (Forward, entering is free: every rank has x.)
func (b Boundary) EnterBackward(s *backend.Stream, dx tensor.Tensor) { b.Group.AllReduce(s, dx) }

// Leave sums the ranks' parts of a branch's output. (Backward, leaving is free: every rank has dy.)
func (b Boundary) Leave(s *backend.Stream, y tensor.Tensor) { b.Group.AllReduce(s, y) }

// Once reports whether this rank is the one that contributes what must not be counted once per rank.
func (b Boundary) Once() bool { return b.Group.Rank() == 0 }
