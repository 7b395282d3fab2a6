package cpu

import (
	"unsafe"

	"alfred/internal/tensor"
)

// Gelu: y = x·Φ(x).
func (q *queue) Gelu(y, x tensor.Tensor) {
	if !q.computes("gelu", y, x) {
		return
	}
	defer q.end()
	q.elementwise(y, x, x, q.kernels.gelu)
}

// GeluBackward: dx = dy·(Φ(x) + x·φ(x)).
func (q *queue) GeluBackward(dx, dy, x tensor.Tensor) {
	if !q.computes("gelu backward", dx, dy, x) {
		return
	}
	defer q.end()
	q.elementwise(dx, dy, x, q.kernels.geluBackward)
}

// elementwise runs a kernel over ranges of elements of tensors of one type.
func (q *queue) elementwise(y, a, b tensor.Tensor, kernel func(mapArgs)) {
	size := y.DType().Size()
	q.pool.split(y.Len(), elementGrain, func(_ *worker, lo, hi int) {
		kernel(mapArgs{
			y: unsafe.Add(at(y), lo*size), a: unsafe.Add(at(a), lo*size), b: unsafe.Add(at(b), lo*size),
			n: int64(hi - lo), dtype: kind(y),
		})
	})
}
