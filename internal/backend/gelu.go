package backend

import "alfred/internal/tensor"

// GeluOps are the exact Gaussian error linear unit (arXiv:1606.08415): gelu(x) = x·Φ(x) = x·(1 + erf(x/√2))/2.
type GeluOps interface {
	// Gelu: y = gelu(x).  Any shape; y may be x.
	Gelu(y, x tensor.Tensor)
	// GeluBackward: dx = dy·(Φ(x) + x·φ(x)).  dx may be dy.
	GeluBackward(dx, dy, x tensor.Tensor)
}

// Gelu: see GeluOps.
func (s *Stream) Gelu(y, x tensor.Tensor) {
	if s.ok(checking("gelu").shape("x", x, x.Dims()...).float("x", x).shape("y", y, x.Dims()...).dtype("y", y, x.DType())) {
		s.queue.Gelu(y, x)
	}
}

// GeluBackward: see GeluOps.
func (s *Stream) GeluBackward(dx, dy, x tensor.Tensor) {
	c := checking("gelu backward").shape("x", x, x.Dims()...).float("x", x).shape("dx", dx, x.Dims()...).shape("dy", dy, x.Dims()...).dtype("dx", dx, x.DType()).dtype("dy", dy, x.DType())
	if s.ok(c) {
		s.queue.GeluBackward(dx, dy, x)
	}
}
