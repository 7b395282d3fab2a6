package reference

import (
	"fmt"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// queue implements backend.Queue. It keeps the first error of any operation and does nothing after it.
type queue struct {
	err error
}

// past is an event of a queue that has already done everything.
type past struct{ q *queue }

func (e past) Wait() error { return e.q.err }

func (q *queue) Record() backend.Event { return past{q} }

func (q *queue) Sync() error { return q.err }

// WaitFor fails the queue when the other one has failed: what follows would read what was never computed.
func (q *queue) WaitFor(e backend.Event) {
	if err := e.Wait(); err != nil && q.err == nil {
		q.err = err
	}
}

func (q *queue) Upload(dst tensor.Tensor, src backend.Host) {
	if q.inMemory("upload", dst) {
		src.Encode(raw(dst), dst.DType())
	}
}

func (q *queue) Download(dst backend.Host, src tensor.Tensor) backend.Event {
	if q.inMemory("download", src) {
		dst.Decode(raw(src), src.DType())
	}
	return past{q}
}

func (q *queue) Enqueue(name string, _, _ []tensor.Tensor, fn func() error) {
	if q.err != nil {
		return
	}
	if err := fn(); err != nil {
		q.err = fmt.Errorf("reference: %s: %w", name, err)
	}
}

// failf records an error of op unless there is one already.
func (q *queue) failf(op, format string, args ...any) {
	if q.err == nil {
		q.err = fmt.Errorf("reference: %s: %s", op, fmt.Sprintf(format, args...))
	}
}
