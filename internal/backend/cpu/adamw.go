package cpu

import (
	"math"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// AdamW: see backend.OptimizerOps. The bias corrections are taken in float64 and rounded once.
func (q *queue) AdamW(weight, master, m, v, grad tensor.Tensor, s backend.AdamWStep) {
	if !q.computes("adamw", weight, master, m, v, grad) {
		return
	}
	defer q.end()
	a := adamwArgs{
		dtype: kind(weight), gradScale: float32(s.GradScale),
		beta1: float32(s.Beta1), beta2: float32(s.Beta2), oneMinusBeta1: float32(1 - s.Beta1), oneMinusBeta2: float32(1 - s.Beta2),
		decay: float32(s.LearningRate * s.WeightDecay), rate: float32(s.LearningRate / (1 - math.Pow(s.Beta1, float64(s.Step)))),
		invCorrection2: float32(1 / (1 - math.Pow(s.Beta2, float64(s.Step)))), eps: float32(s.Eps),
	}
	split(q, weight.Len(), elementGrain, updating{weight: weight, master: master, m: m, v: v, grad: grad, step: a})
}

type updating struct {
	weight, master, m, v, grad tensor.Tensor

	step adamwArgs
}

func (o *updating) compute(w *worker, lo, hi int) {
	a := o.step
	a.weight, a.master, a.m, a.v, a.grad = element(o.weight, lo), element(o.master, lo), element(o.m, lo), element(o.v, lo), element(o.grad, lo)
	a.n = int64(hi - lo)
	w.kernels.adamw(a)
}
