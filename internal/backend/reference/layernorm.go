package reference

import (
	"math"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// LayerNorm: y = (x-μ)·rstd·γ + β, rstd = 1/√(var+eps).
func (q *queue) LayerNorm(y, mean, rstd, x, gamma, beta tensor.Tensor, eps float64) {
	if !q.floats("layer norm", y, mean, rstd, x, gamma, beta) {
		return
	}
	yND, meanN, rstdN, xND, gammaD, betaD := f64(y), f64(mean), f64(rstd), f64(x), f64(gamma), f64(beta)
	numD := x.Dim(1)
	for n := range x.Dim(0) {
		xD, yD := row(xND, n, numD), row(yND, n, numD)
		sum := 0.0
		for _, v := range xD {
			sum += v
		}
		mu := sum / float64(numD)
		squares := 0.0
		for _, v := range xD {
			squares += (v - mu) * (v - mu)
		}
		r := 1 / math.Sqrt(squares/float64(numD)+eps)
		for d, v := range xD {
			yD[d] = (v-mu)*r*gammaD[d] + betaD[d]
		}
		meanN[n], rstdN[n] = mu, r
	}
}

// LayerNormBackward, with x̂ = (x-μ)·rstd and g = dy·γ:
//
//	dx = or += rstd·(g - mean(g) - x̂·mean(g·x̂))   dγ += Σₙ dy·x̂   dβ += Σₙ dy
func (q *queue) LayerNormBackward(dx, dgamma, dbeta, dy, x, gamma, mean, rstd tensor.Tensor, into backend.Into) {
	if !q.floats("layer norm backward", dx, dgamma, dbeta, dy, x, gamma, mean, rstd) {
		return
	}
	dxND, dgammaD, dbetaD, dyND := f64(dx), f64(dgamma), f64(dbeta), f64(dy)
	xND, gammaD, meanN, rstdN := f64(x), f64(gamma), f64(mean), f64(rstd)
	numD := x.Dim(1)
	gammaSumD, betaSumD, sumD := make([]float64, numD), make([]float64, numD), make([]float64, numD)
	for n := range x.Dim(0) {
		xD, dyD, dxD := row(xND, n, numD), row(dyND, n, numD), row(dxND, n, numD)
		sumG, sumGX := 0.0, 0.0
		for d, v := range xD {
			xhat, g := (v-meanN[n])*rstdN[n], dyD[d]*gammaD[d]
			sumG += g
			sumGX += g * xhat
			gammaSumD[d] += dyD[d] * xhat
			betaSumD[d] += dyD[d]
		}
		meanG, meanGX := sumG/float64(numD), sumGX/float64(numD)
		for d, v := range xD {
			xhat, g := (v-meanN[n])*rstdN[n], dyD[d]*gammaD[d]
			sumD[d] = rstdN[n] * (g - meanG - xhat*meanGX)
		}
		store(dxD, sumD, into)
	}
	addScaled(dgammaD, 1, gammaSumD)
	addScaled(dbetaD, 1, betaSumD)
}
