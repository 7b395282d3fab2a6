package reference

import (
	"math"

	"alfred/internal/tensor"
)

// Gelu: y = x·Φ(x) = x·(1 + erf(x/√2))/2.
func (q *queue) Gelu(y, x tensor.Tensor) {
	if !q.floats("gelu", y, x) {
		return
	}
	ys := f64(y)
	for i, v := range f64(x) {
		ys[i] = v * normalCDF(v)
	}
}

// GeluBackward: dx = dy·(Φ(x) + x·φ(x)).
func (q *queue) GeluBackward(dx, dy, x tensor.Tensor) {
	if !q.floats("gelu backward", dx, dy, x) {
		return
	}
	dxs, dys := f64(dx), f64(dy)
	for i, v := range f64(x) {
		density := math.Exp(-v*v/2) / math.Sqrt(2*math.Pi)
		dxs[i] = dys[i] * (normalCDF(v) + v*density)
	}
}

// normalCDF is Φ. (1 + erf(x/√2))/2 is written with erfc, which keeps its digits where erf is close to -1.
func normalCDF(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }
