package cpu

import (
	"math"
	"time"
	"unsafe"

	"alfred/internal/tensor"
)

// Roofline is what the machine can do at most, on all workers together, as its own kernels find it.
type Roofline struct {
	Float32, BFloat16 float64 // FLOP/s of multiplying and adding such numbers in registers
	Read              float64 // bytes/s read from memory
	Copy              float64 // bytes/s read and written, added up, when memory is copied
}

// function is an operation in one place, for where it does not matter that it is allocated.
type function func(w *worker, i int)

func (f *function) compute(w *worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		(*f)(w, i)
	}
}

// Roofline measures for about a second. The best of many short runs counts: other work on the machine lowers a rate, nothing
// raises it.
func (d *Device) Roofline() (r Roofline, err error) {
	arena, err := d.Arena("roofline", 512<<20)
	if err != nil {
		return r, err
	}
	s := d.Stream()
	s.Use(arena)
	q := s.Queue().(*queue)
	rate := func(tile func(i int) (work float64)) float64 {
		best, work := math.Inf(1), make([]float64, d.pool.size)
		for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
			begin := time.Now()
			run(q, d.pool.size, function(func(_ *worker, i int) { work[i] = tile(i) }))
			best = min(best, time.Since(begin).Seconds())
		}
		return work[0] * float64(d.pool.size) / best
	}
	multiplyAdd := func(dtype int32) float64 {
		return rate(func(int) float64 {
			a := peakArgs{n: 1 << 17, y: 1, dtype: dtype}
			d.kernels.peak(&a)
			return a.work
		})
	}
	r.Float32, r.BFloat16 = multiplyAdd(float32Type), multiplyAdd(bfloat16Type)
	x := s.Alloc(tensor.Float32, d.pool.size, 96<<20/d.pool.size)
	s.Zero(x)
	r.Read = rate(func(i int) float64 {
		a := peakArgs{src: row(x, i), n: int64(x.Dim(1))}
		d.kernels.peak(&a)
		return a.work
	})
	r.Copy = rate(func(i int) float64 {
		half := x.Dim(1) / 2
		d.kernels.copyRows(copyRowsArgs{
			dst: row(x, i), src: unsafe.Add(row(x, i), 4*half), rows: 1, columns: int64(half), dstType: float32Type, srcType: float32Type,
		})
		return float64(8 * half)
	})
	return r, s.Sync()
}
