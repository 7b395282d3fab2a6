package backend

import (
	"fmt"
	"slices"

	"alfred/internal/tensor"
)

// Queue is what an accelerator implements: operations that run in the order in which they were called, on operands whose
// shapes and types a Stream has checked. Calls may return before the work is done, but not before they have read what they need on
// the host, such as lengths of sequences: its memory may be reused at once.
type Queue interface {
	MatrixOps
	NormOps
	QKVOps
	AttentionOps
	GeluOps
	EmbeddingOps
	LogProbOps
	ElementOps
	OptimizerOps
	SamplingOps

	// Upload copies src to dst. src may be reused as soon as Upload returns.
	Upload(dst tensor.Tensor, src Host)
	// Download copies src to dst, which must not be read before the Event's Wait has returned nil.
	Download(dst Host, src tensor.Tensor) Event
	// Enqueue runs fn in the queue's order; fn reads and writes the named tensors. Collectives are made of it.
	Enqueue(name string, reads, writes []tensor.Tensor, fn func() error)
	// Record marks the present end of the queue.
	Record() Event
	// WaitFor makes later operations of this queue wait for e, which another queue recorded. The host does not wait.
	WaitFor(e Event)
	// Sync waits until the queue is empty and returns the first error of any operation.
	Sync() error
}

// Event is a point in the order of a queue.
type Event interface {
	// Wait blocks the host until everything before the point is done, and returns the first error so far.
	Wait() error
}

// Stream is the door to a Queue: it checks each call, keeps the first error, and allocates from the current arena. It
// belongs to one goroutine.
type Stream struct {
	queue Queue
	wide  tensor.DType
	arena *Arena
	err   error
}

// NewStream is called by devices.
func NewStream(queue Queue, wide tensor.DType) *Stream { return &Stream{queue: queue, wide: wide} }

// Queue is what the stream feeds: collectives that need the accelerator's own handle ask it here.
func (s *Stream) Queue() Queue { return s.queue }

// Wide is the element type of statistics, log-probs and parameter gradients: Float32, or Float64 on the reference.
func (s *Stream) Wide() tensor.DType { return s.wide }

// Use makes a the arena that Alloc draws from and returns the one before.
func (s *Stream) Use(a *Arena) (before *Arena) {
	before, s.arena = s.arena, a
	return before
}

// Arena is the one that Alloc draws from.
func (s *Stream) Arena() *Arena { return s.arena }

// Alloc is a tensor with undefined contents from the current arena. When the arena is full the stream fails, and the
// result is absent.
func (s *Stream) Alloc(dtype tensor.DType, dims ...int) tensor.Tensor {
	if s.err != nil {
		return tensor.Tensor{}
	}
	if s.arena == nil {
		s.Fail(fmt.Errorf("backend: alloc %s%v: the stream has no arena", dtype, slices.Clone(dims)))
		return tensor.Tensor{}
	}
	t, err := s.arena.Alloc(dtype, dims...)
	if err != nil {
		s.Fail(fmt.Errorf("backend: alloc: %w", err))
	}
	return t
}

// Zeros is Alloc followed by Zero.
func (s *Stream) Zeros(dtype tensor.DType, dims ...int) tensor.Tensor {
	t := s.Alloc(dtype, dims...)
	s.Zero(t)
	return t
}

// Fail records err unless an earlier error is already there.
func (s *Stream) Fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// Err is the first error known so far. Sync also learns of errors that the accelerator reports late.
func (s *Stream) Err() error { return s.err }

// Sync waits for all work and returns the first error.
func (s *Stream) Sync() error {
	if err := s.queue.Sync(); err != nil {
		s.Fail(err)
	}
	return s.err
}

// Upload copies host numbers to dst, converting them to its element type. src may be reused at once.
func (s *Stream) Upload(dst tensor.Tensor, src Host) {
	if s.err != nil {
		return
	}
	if err := src.fits(dst); err != nil {
		s.Fail(fmt.Errorf("backend: upload: %w", err))
		return
	}
	s.queue.Upload(dst, src)
}

// Download copies src to the host. dst is valid only after Wait has returned nil.
func (s *Stream) Download(dst Host, src tensor.Tensor) StreamEvent {
	if s.err == nil {
		if err := dst.fits(src); err != nil {
			s.Fail(fmt.Errorf("backend: download: %w", err))
		}
	}
	if s.err != nil {
		return StreamEvent{s: s}
	}
	return StreamEvent{s, s.queue.Download(dst, src)}
}

// Enqueue runs fn in stream order; see Queue.
func (s *Stream) Enqueue(name string, reads, writes []tensor.Tensor, fn func() error) {
	if s.err == nil {
		s.queue.Enqueue(name, reads, writes, fn)
	}
}

// Record marks the present end of the stream.
func (s *Stream) Record() StreamEvent {
	if s.err != nil {
		return StreamEvent{s: s}
	}
	return StreamEvent{s, s.queue.Record()}
}

// WaitFor makes later operations wait for e on the device; the host goes on.
func (s *Stream) WaitFor(e StreamEvent) {
	switch {
	case e.event == nil:
		s.Fail(e.s.err)
	case s.err == nil:
		s.queue.WaitFor(e.event)
	}
}

// ok reports whether an operation may run, recording the error of its check.
func (s *Stream) ok(c *check) bool {
	if s.err == nil && c.err != nil {
		s.Fail(c.err)
	}
	return s.err == nil
}

// StreamEvent ties a queue's event to the stream's first error.
type StreamEvent struct {
	s     *Stream
	event Event // nil for a stream that does no more work
}

// Wait is Event's.
func (e StreamEvent) Wait() error {
	if e.event != nil {
		if err := e.event.Wait(); err != nil {
			e.s.Fail(err)
		}
	}
	return e.s.err
}
