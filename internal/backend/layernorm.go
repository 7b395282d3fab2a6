package backend

import "alfred/internal/tensor"

// NormOps normalise rows (Ba, Kiros and Hinton, arXiv:1607.06450), with the population variance.
type NormOps interface {
	// LayerNorm: y = (x-μ)·rstd·γ + β, rstd = 1/√(var+eps).  x, y [N D]  γ, β [D]  mean, rstd [N] wide.
	LayerNorm(y, mean, rstd, x, gamma, beta tensor.Tensor, eps float64)
	// LayerNormBackward, with x̂ = (x-μ)·rstd and g = dy·γ:
	//	dx = or += rstd·(g - mean(g) - x̂·mean(g·x̂))   dγ += Σₙ dy·x̂   dβ += Σₙ dy.     dγ, dβ [D] wide.
	LayerNormBackward(dx, dgamma, dbeta, dy, x, gamma, mean, rstd tensor.Tensor, into Into)
}

// LayerNorm: see NormOps.
func (s *Stream) LayerNorm(y, mean, rstd, x, gamma, beta tensor.Tensor, eps float64) {
	n, d := dim(x, 0), dim(x, 1)
	c := checking("layer norm").shape("x", x, n, d).shape("y", y, n, d).shape("gamma", gamma, d).shape("beta", beta, d).
		shape("mean", mean, n).shape("rstd", rstd, n).
		dtype("y", y, x.DType()).dtype("gamma", gamma, x.DType()).dtype("beta", beta, x.DType()).
		dtype("mean", mean, s.wide).dtype("rstd", rstd, s.wide)
	if s.ok(c) {
		s.queue.LayerNorm(y, mean, rstd, x, gamma, beta, eps)
	}
}

// LayerNormBackward: see NormOps.
func (s *Stream) LayerNormBackward(dx, dgamma, dbeta, dy, x, gamma, mean, rstd tensor.Tensor, into Into) {
	n, d := dim(x, 0), dim(x, 1)
	c := checking("layer norm backward").shape("x", x, n, d).shape("dx", dx, n, d).shape("dy", dy, n, d).
		shape("gamma", gamma, d).shape("dgamma", dgamma, d).shape("dbeta", dbeta, d).shape("mean", mean, n).shape("rstd", rstd, n).
		dtype("dx", dx, x.DType()).dtype("dy", dy, x.DType()).dtype("gamma", gamma, x.DType()).
		dtype("dgamma", dgamma, s.wide).dtype("dbeta", dbeta, s.wide).dtype("mean", mean, s.wide).dtype("rstd", rstd, s.wide)
	if s.ok(c) {
		s.queue.LayerNormBackward(dx, dgamma, dbeta, dy, x, gamma, mean, rstd, into)
	}
}
