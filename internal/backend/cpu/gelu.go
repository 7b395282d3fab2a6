package cpu

import "alfred/internal/tensor"

// Gelu: y = x·Φ(x).
func (q *queue) Gelu(y, x tensor.Tensor) {
	if !q.computes("gelu", y, x) {
		return
	}
	defer q.end()
	q.elementwise(y, x, x, geluGrain, kernels.gelu)
}

// GeluBackward: dx = dy·(Φ(x) + x·φ(x)).
func (q *queue) GeluBackward(dx, dy, x tensor.Tensor) {
	if !q.computes("gelu backward", dx, dy, x) {
		return
	}
	defer q.end()
	q.elementwise(dx, dy, x, geluGrain, kernels.geluBackward)
}

// geluGrain is elementGrain for a function that takes several times as long as a sum.
const geluGrain = elementGrain / 4

// elementwise runs a kernel over ranges, of at least grain elements, of tensors of one type.
func (q *queue) elementwise(y, a, b tensor.Tensor, grain int, kernel func(kernels, mapArgs)) {
	split(q, y.Len(), grain, mapping{y: y, a: a, b: b, kernel: kernel})
}

type mapping struct {
	y, a, b tensor.Tensor
	kernel  func(kernels, mapArgs)
}

func (o *mapping) compute(w *worker, lo, hi int) {
	o.kernel(w.kernels, mapArgs{y: element(o.y, lo), a: element(o.a, lo), b: element(o.b, lo), n: int64(hi - lo), dtype: kind(o.y)})
}
