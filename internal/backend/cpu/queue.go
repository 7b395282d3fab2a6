package cpu

import (
	"fmt"
	"unsafe"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// queue runs each operation inside its call. It belongs to one goroutine.
type queue struct {
	kernels  kernels
	pool     *pool
	packed   *packedWeights
	job      job
	scratch  scratch
	spans    []span    // of the running attention
	strips   []strip   // of the running attention
	portions []portion // of the running attention
	err      error
	name     string          // of the running operation
	held     []tensor.Buffer // its operands: they must not be unmapped before it ends
}

var _ backend.Queue = (*queue)(nil)

// begin starts an operation on operands, absent ones included. When it returns false there is nothing to do: an operation has
// failed before, or an operand lives on another device. Otherwise end must be deferred.
func (q *queue) begin(name string, operands ...tensor.Tensor) bool {
	if q.err != nil {
		return false
	}
	q.name, q.held = name, q.held[:0]
	for _, t := range operands {
		if t.Absent() {
			continue
		}
		if _, ok := t.Buffer().(tensor.HostBuffer); !ok {
			q.fail("%v lies in memory that the host cannot address (%T)", t, t.Buffer())
			return false
		}
		q.held = append(q.held, t.Buffer())
	}
	q.scratch.reset()
	return true
}

// computes is begin for the operands that kernels read and write: float32 or bfloat16.
func (q *queue) computes(name string, operands ...tensor.Tensor) bool {
	if !q.begin(name, operands...) {
		return false
	}
	for _, t := range operands {
		switch t.DType() {
		case tensor.Float32, tensor.BFloat16, tensor.Int32, tensor.Invalid:
		default:
			q.fail("%v: this device computes in float32 and bfloat16", t)
			q.end()
			return false
		}
	}
	return true
}

// below fails at the first index outside [0, limit).
func (q *queue) below(what string, xs []int32, limit int) bool {
	for n, x := range xs {
		if x < 0 || int(x) >= limit {
			q.fail("%s %d of row %d is outside [0, %d)", what, x, n, limit)
			return false
		}
	}
	return true
}

// entries fails at the first negative entry of the vocabulary. How large the vocabulary is, one rank does not know.
func (q *queue) entries(what string, ids tensor.Tensor) bool {
	for n, id := range ints(ids) {
		if id < 0 {
			q.fail("%s %d of row %d is negative", what, id, n)
			return false
		}
	}
	return true
}

// end finishes an operation: it lets go of the operands and reports a lack of memory for temporary results.
func (q *queue) end() {
	clear(q.held)
	q.held = q.held[:0]
	if r := recover(); r != nil {
		lack, ok := r.(outOfMemory)
		if !ok {
			panic(r)
		}
		q.fail("temporary memory: %w", lack.error)
	}
}

func (q *queue) fail(format string, args ...any) {
	if q.err == nil {
		q.err = fmt.Errorf("cpu: %s: %w", q.name, fmt.Errorf(format, args...))
	}
}

// at is the address of t's first element, nil when t is absent.
func at(t tensor.Tensor) ptr {
	if t.Absent() {
		return nil
	}
	return ptr(unsafe.SliceData(t.Buffer().(tensor.HostBuffer).Host()[t.Offset():]))
}

// element is the address of element i, row that of row i of the leading dimension.
func element(t tensor.Tensor, i int) ptr {
	if t.Absent() {
		return nil
	}
	return unsafe.Add(at(t), i*t.DType().Size())
}

func row(t tensor.Tensor, i int) ptr { return element(t, i*t.Cols()) }

func rowBytes(t tensor.Tensor) int { return t.Cols() * t.DType().Size() }

// raw, floats, doubles and ints are the elements of t.
func raw(t tensor.Tensor) []byte        { return unsafe.Slice((*byte)(at(t)), t.Bytes()) }
func floats(t tensor.Tensor) []float32  { return unsafe.Slice((*float32)(at(t)), t.Len()) }
func doubles(t tensor.Tensor) []float64 { return unsafe.Slice((*float64)(at(t)), t.Len()) }
func ints(t tensor.Tensor) []int32      { return unsafe.Slice((*int32)(at(t)), t.Len()) }

// start is the address of the first element of xs.
func start[T any](xs []T) ptr { return ptr(unsafe.SliceData(xs)) }

// kind is the kernels' number of t's element type.
func kind(t tensor.Tensor) int32 { return int32(t.DType()) }

// Upload copies and converts at once.
func (q *queue) Upload(dst tensor.Tensor, src backend.Host) {
	if !q.begin("upload", dst) {
		return
	}
	defer q.end()
	src.Encode(raw(dst), dst.DType())
}

// Download copies and converts at once.
func (q *queue) Download(dst backend.Host, src tensor.Tensor) backend.Event {
	if q.begin("download", src) {
		defer q.end()
		dst.Decode(raw(src), src.DType())
	}
	return q.Record()
}

// Enqueue runs fn at once.
func (q *queue) Enqueue(name string, reads, writes []tensor.Tensor, fn func() error) {
	if q.err != nil {
		return
	}
	if err := fn(); err != nil {
		q.err = fmt.Errorf("%s: %w", name, err)
	}
}

// Record gives an event that has happened.
func (q *queue) Record() backend.Event {
	if q.err != nil {
		return failed{q.err}
	}
	return done{}
}

// WaitFor takes over the other queue's error: what it should have produced is not there.
func (q *queue) WaitFor(e backend.Event) {
	if err := e.Wait(); err != nil && q.err == nil {
		q.err = err
	}
}

// Sync reports the first error.
func (q *queue) Sync() error { return q.err }

// done is a point in the past up to which all went well.
type done struct{}

func (done) Wait() error { return nil }

// failed is a point in the past, with the first error up to it.
type failed struct{ err error }

func (f failed) Wait() error { return f.err }
