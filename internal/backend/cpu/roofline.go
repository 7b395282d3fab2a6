package cpu

import (
	"math"
	"time"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// Roofline is what the machine can do at most, on all workers together, as its own kernels find it.
type Roofline struct {
	Float32, BFloat16 float64 // FLOP/s of matrix products of such operands that stay in the first-level cache
	Read              float64 // bytes/s read from memory
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
	rate := func(work float64, tile func(i int)) float64 {
		best := math.Inf(1)
		for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
			begin := time.Now()
			d.pool.run(d.pool.size, func(_ *worker, i int) { tile(i) })
			best = min(best, time.Since(begin).Seconds())
		}
		return work * float64(d.pool.size) / best
	}
	r.Float32, r.BFloat16 = rate(d.flops(s, tensor.Float32)), rate(d.flops(s, tensor.BFloat16))
	x := s.Alloc(tensor.Float32, d.pool.size, 96<<20/d.pool.size)
	s.Zero(x)
	sums := s.Zeros(tensor.Float64, d.pool.size, 8)
	r.Read = rate(float64(x.Bytes()/d.pool.size), func(i int) {
		d.kernels.sumSquares(sumSquaresArgs{x: row(x, i), out: row(sums, i), n: int64(x.Dim(1)), dtype: float32Type})
	})
	return r, s.Sync()
}

// flops is a product whose operands stay in the first-level cache, and its FLOP.
func (d *Device) flops(s *backend.Stream, dtype tensor.DType) (work float64, tile func(i int)) {
	const k, times = 128, 400
	rows, columns := d.kernels.rowTile(), d.kernels.panel()
	left := tensor.DType(productType(d.kernels, int32(dtype), int32(dtype)))
	a, b := s.Zeros(left, d.pool.size, rows*k), s.Zeros(dtype, d.pool.size, k*columns)
	y := s.Zeros(tensor.Float32, d.pool.size, rows*columns)
	return 2 * times * float64(rows*k*columns), func(i int) {
		for range times {
			d.kernels.multiply(multiplyArgs{
				a: row(a, i), b: row(b, i), y: row(y, i), k: k, rows: int64(rows), columns: int64(columns), ld: int64(columns),
				panelStride: int64(k * columns), layout: layoutTiles, aType: kind(a), bType: kind(b), yType: float32Type,
			})
		}
	}
}
