package cpu

import (
	"unsafe"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// Zero: x = 0.
func (q *queue) Zero(x tensor.Tensor) {
	if !q.begin("zero", x) {
		return
	}
	defer q.end()
	bytes := raw(x)
	q.pool.split(len(bytes), 4*elementGrain, func(_ *worker, lo, hi int) { clear(bytes[lo:hi]) })
}

// Copy: y = x, converted to y's type.
func (q *queue) Copy(y, x tensor.Tensor) {
	if !q.begin("copy", y, x) {
		return
	}
	defer q.end()
	to, from := raw(y), raw(x)
	switch {
	case y.DType() == x.DType():
		q.pool.split(len(to), 4*elementGrain, func(_ *worker, lo, hi int) { copy(to[lo:hi], from[lo:hi]) })
	case y.DType() == tensor.Float64 || x.DType() == tensor.Float64:
		backend.Raw(y.DType(), to).Decode(from, x.DType())
	default:
		q.pool.split(y.Len(), elementGrain, func(_ *worker, lo, hi int) {
			q.kernels.copyRows(copyRowsArgs{
				dst: unsafe.Add(at(y), lo*y.DType().Size()), src: unsafe.Add(at(x), lo*x.DType().Size()),
				rows: 1, columns: int64(hi - lo), dstType: kind(y), srcType: kind(x),
			})
		})
	}
}

// Add: y = a + b.
func (q *queue) Add(y, a, b tensor.Tensor) {
	if !q.begin("add", y, a, b) {
		return
	}
	defer q.end()
	switch y.DType() {
	case tensor.Float64:
		addSlices(doubles(y), doubles(a), doubles(b))
	case tensor.Int32:
		addSlices(ints(y), ints(a), ints(b))
	default:
		q.elementwise(y, a, b, q.kernels.add)
	}
}

func addSlices[T float64 | int32](y, a, b []T) {
	for i := range y {
		y[i] = a[i] + b[i]
	}
}

// GatherRows: y[n] = x[rows[n]].
func (q *queue) GatherRows(y, x, rows tensor.Tensor) {
	if !q.begin("gather rows", y, x, rows) {
		return
	}
	defer q.end()
	index := ints(rows)
	if !q.below("index", index, x.Rows()) {
		return
	}
	bytes := y.Cols() * y.DType().Size()
	to, from := raw(y), raw(x)
	q.pool.split(len(index), rowGrain(y.Cols()), func(_ *worker, lo, hi int) {
		for n := lo; n < hi; n++ {
			copy(to[n*bytes:(n+1)*bytes], from[int(index[n])*bytes:])
		}
	})
}

// ScatterRows: y[rows[n]] = x[n]; rows are distinct.
func (q *queue) ScatterRows(y, x, rows tensor.Tensor) {
	if !q.begin("scatter rows", y, x, rows) {
		return
	}
	defer q.end()
	index := ints(rows)
	if !q.below("index", index, y.Rows()) || !q.distinct(index, y.Rows()) {
		return
	}
	bytes := y.Cols() * y.DType().Size()
	to, from := raw(y), raw(x)
	q.pool.split(len(index), rowGrain(y.Cols()), func(_ *worker, lo, hi int) {
		for n := lo; n < hi; n++ {
			copy(to[int(index[n])*bytes:], from[n*bytes:(n+1)*bytes])
		}
	})
}

// distinct fails at the first index that occurs a second time.
func (q *queue) distinct(index []int32, limit int) bool {
	seen := unsafe.Slice((*uint64)(q.scratch.bytes(8*(limit/64+1))), limit/64+1)
	clear(seen)
	for n, i := range index {
		word, bit := &seen[i/64], uint64(1)<<(i%64)
		if *word&bit != 0 {
			q.fail("index %d of row %d occurs twice", i, n)
			return false
		}
		*word |= bit
	}
	return true
}

// AddRows: y[rows[n]] += x[n], in the order of n.
func (q *queue) AddRows(y, x, rows tensor.Tensor) {
	if !q.computes("add rows", y, x, rows) {
		return
	}
	defer q.end()
	if q.below("index", ints(rows), y.Rows()) {
		q.addRows(y, x, rows, 0)
	}
}

// addRows: y[rows[n]-first] += x[n] for the rows that y has. Workers take columns, so the order of n is kept.
func (q *queue) addRows(y, x, rows tensor.Tensor, first int) {
	n, c := rows.Len(), y.Cols()
	q.pool.split(c, max(64, elementGrain/max(n, 1)), func(_ *worker, lo, hi int) {
		q.kernels.addRows(addRowsArgs{
			y: unsafe.Add(at(y), lo*y.DType().Size()), x: unsafe.Add(at(x), lo*x.DType().Size()), rows: at(rows),
			n: int64(n), yRows: int64(y.Rows()), columns: int64(hi - lo), yLD: int64(c), xLD: int64(c), first: int64(first),
			yType: kind(y), xType: kind(x),
		})
	})
}

// sumSquaresAtOnce elements have a sum of their own; these are added in order.
const sumSquaresAtOnce = 1 << 16

// SumSquares: out += Σ x² in float64.
func (q *queue) SumSquares(out, x tensor.Tensor) {
	if !q.begin("sum of squares", out, x) {
		return
	}
	defer q.end()
	total := 0.0
	if x.DType() == tensor.Float64 {
		for _, v := range doubles(x) {
			total += v * v
		}
	} else {
		n := x.Len()
		parts := (n + sumSquaresAtOnce - 1) / sumSquaresAtOnce
		sums := unsafe.Slice((*float64)(q.scratch.bytes(8*parts)), parts)
		q.pool.run(parts, func(_ *worker, i int) {
			lo := i * sumSquaresAtOnce
			q.kernels.sumSquares(sumSquaresArgs{
				x: unsafe.Add(at(x), lo*x.DType().Size()), out: ptr(&sums[i]), n: int64(min(sumSquaresAtOnce, n-lo)), dtype: kind(x),
			})
		})
		for _, s := range sums {
			total += s
		}
	}
	doubles(out)[0] += total
}
