package cpu

import (
	"math"
	"unsafe"

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
	q.pool.split(weight.Len(), elementGrain, func(_ *worker, lo, hi int) {
		part := a
		part.weight = unsafe.Add(at(weight), lo*weight.DType().Size())
		part.master, part.m, part.v, part.grad = unsafe.Add(at(master), 4*lo), unsafe.Add(at(m), 4*lo), unsafe.Add(at(v), 4*lo), unsafe.Add(at(grad), 4*lo)
		part.n = int64(hi - lo)
		q.kernels.adamw(part)
	})
}
