package backend

import "alfred/internal/tensor"

// AdamWStep are the numbers of one optimizer step (Loshchilov and Hutter, arXiv:1711.05101, in the form of torch.optim.AdamW).
type AdamWStep struct {
	LearningRate, Beta1, Beta2, Eps, WeightDecay float64
	Step                                         int     // 1 for the first step
	GradScale                                    float64 // the gradient is multiplied by it first: global-norm clipping
}

// OptimizerOps update parameters.
type OptimizerOps interface {
	// AdamW, with g = GradScale·grad, all elementwise and wide:
	//	master -= lr·decay·master
	//	m = β₁m + (1-β₁)g    v = β₂v + (1-β₂)g²
	//	master -= lr/(1-β₁ᵗ) · m / (√(v/(1-β₂ᵗ)) + eps)
	// and weight = master rounded to weight's type. master may be weight itself.
	AdamW(weight, master, m, v, grad tensor.Tensor, step AdamWStep)
}

// AdamW: see OptimizerOps.
func (s *Stream) AdamW(weight, master, m, v, grad tensor.Tensor, step AdamWStep) {
	n := weight.Len()
	c := checking("adamw").float("weight", weight).dtype("master", master, s.wide).dtype("m", m, s.wide).dtype("v", v, s.wide).dtype("grad", grad, s.wide)
	for _, t := range []tensor.Tensor{master, m, v, grad} {
		if t.Len() != n || t.Absent() {
			c.failf("%v beside a weight %v", t, weight)
		}
	}
	if step.Step < 1 {
		c.failf("step %d, the first is 1", step.Step)
	}
	if s.ok(c) {
		s.queue.AdamW(weight, master, m, v, grad, step)
	}
}
