package reference

import (
	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// inMemory reports whether op may run on these operands, absent ones left out: no error so far, and all in host memory.
func (q *queue) inMemory(op string, ts ...tensor.Tensor) bool {
	for _, t := range ts {
		if _, ok := t.Buffer().(tensor.HostBuffer); !ok && !t.Absent() {
			q.failf(op, "%v lies in the memory of another kind of device", t)
		}
	}
	return q.err == nil
}

// floats is inMemory for operands that f64 will look into.
func (q *queue) floats(op string, ts ...tensor.Tensor) bool {
	for _, t := range ts {
		if !t.Absent() && t.DType() != tensor.Float64 {
			q.failf(op, "%v: the reference computes in float64 only", t)
		}
	}
	return q.inMemory(op, ts...)
}

// below fails the queue at the first number outside [0, limit).
func (q *queue) below(op, what string, xs []int32, limit int) bool {
	for n, x := range xs {
		if x < 0 || int(x) >= limit {
			q.failf(op, "%s %d of row %d is outside [0, %d)", what, x, n, limit)
			break
		}
	}
	return q.err == nil
}

// vocabulary demands entries of the vocabulary. Its size is not known here, since other ranks hold other rows, but no rank
// holds a negative one.
func (q *queue) vocabulary(op, what string, ids tensor.Tensor) bool {
	if !q.inMemory(op, ids) {
		return false
	}
	for n, id := range i32(ids) {
		if id < 0 {
			q.failf(op, "%s %d of row %d is negative", what, id, n)
			break
		}
	}
	return q.err == nil
}

// raw is the memory of t; none when it is absent.
func raw(t tensor.Tensor) []byte {
	if t.Absent() {
		return nil
	}
	return t.Buffer().(tensor.HostBuffer).Host()[t.Offset() : t.Offset()+t.Bytes()]
}

// f64 is the elements of t; none when it is absent.
func f64(t tensor.Tensor) []float64 { return tensor.View[float64](raw(t)) }

// i32 is the elements of t; none when it is absent.
func i32(t tensor.Tensor) []int32 { return tensor.View[int32](raw(t)) }

// row is row n of rows that are c elements long.
func row[E any](rows []E, n, c int) []E { return rows[n*c : (n+1)*c] }

// dot is Σ a·b.
func dot(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// store sets y to x, or adds x to it.
func store(y, x []float64, into backend.Into) {
	if into == backend.Set {
		clear(y)
	}
	addScaled(y, 1, x)
}

// addScaled is y += f·x.
func addScaled(y []float64, f float64, x []float64) {
	for i, v := range x {
		y[i] += f * v
	}
}
