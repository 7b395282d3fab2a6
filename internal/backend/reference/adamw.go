package reference

import (
	"math"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// AdamW, with g = GradScale·grad:
//
//	master -= lr·decay·master
//	m = β₁m + (1-β₁)g    v = β₂v + (1-β₂)g²
//	master -= lr/(1-β₁ᵗ) · m / (√(v/(1-β₂ᵗ)) + eps)
func (q *queue) AdamW(weight, master, m, v, grad tensor.Tensor, step backend.AdamWStep) {
	if !q.floats("adamw", weight, master, m, v, grad) {
		return
	}
	weights, masters, ms, vs := f64(weight), f64(master), f64(m), f64(v)
	correction1 := 1 - math.Pow(step.Beta1, float64(step.Step))
	correction2 := 1 - math.Pow(step.Beta2, float64(step.Step))
	for i, grad := range f64(grad) {
		g := step.GradScale * grad
		masters[i] -= step.LearningRate * step.WeightDecay * masters[i]
		ms[i] = step.Beta1*ms[i] + (1-step.Beta1)*g
		vs[i] = step.Beta2*vs[i] + (1-step.Beta2)*g*g
		masters[i] -= step.LearningRate / correction1 * ms[i] / (math.Sqrt(vs[i]/correction2) + step.Eps)
		weights[i] = masters[i]
	}
}
