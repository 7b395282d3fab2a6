package dry

import (
	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// queue counts operations instead of doing them.
type queue struct{ device *Device }

// op counts a call of an operation that only moves memory.
func (q *queue) op(name string, bytes int) { q.device.count(name, Count{Bytes: float64(bytes)}) }

// product counts a call of an operation with this many multiply-adds.
func (q *queue) product(name string, multiplyAdds float64, bytes int) {
	q.device.count(name, Count{FLOPs: 2 * multiplyAdds, Bytes: float64(bytes)})
}

// once is the bytes of operands that are read or written; those that are added to are given to twice instead.
func once(ts ...tensor.Tensor) int {
	bytes := 0
	for _, t := range ts {
		bytes += t.Bytes()
	}
	return bytes
}

func twice(ts ...tensor.Tensor) int { return 2 * once(ts...) }

// written is the bytes moved to set t, or to add to it.
func written(t tensor.Tensor, into backend.Into) int {
	if into == backend.Add {
		return twice(t)
	}
	return once(t)
}

// rowBytes is the bytes of n rows of t.
func rowBytes(t tensor.Tensor, n int) int { return n * t.Cols() * t.DType().Size() }

func (q *queue) Upload(dst tensor.Tensor, _ backend.Host) { q.op("upload", once(dst)) }

func (q *queue) Download(dst backend.Host, src tensor.Tensor) backend.Event {
	q.op("download", once(src))
	q.device.model.Fill(dst, src)
	return past{}
}

// Enqueue does not run fn: there is no memory that it could read or write.
func (q *queue) Enqueue(name string, reads, writes []tensor.Tensor, _ func() error) {
	q.op(name, once(reads...)+once(writes...))
}

func (q *queue) Record() backend.Event { return past{} }

func (q *queue) WaitFor(backend.Event) {}

func (q *queue) Sync() error { return nil }

// past is an event that has nothing to wait for.
type past struct{}

func (past) Wait() error { return nil }
