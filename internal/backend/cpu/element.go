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
	split(q, x.Bytes(), 4*elementGrain, clearing{raw(x)})
}

type clearing struct{ bytes []byte }

func (o *clearing) compute(_ *worker, lo, hi int) { clear(o.bytes[lo:hi]) }

// Copy: y = x, converted to y's type.
func (q *queue) Copy(y, x tensor.Tensor) {
	if !q.begin("copy", y, x) {
		return
	}
	defer q.end()
	switch {
	case y.DType() == x.DType():
		split(q, y.Bytes(), 4*elementGrain, copying{to: raw(y), from: raw(x)})
	case y.DType() == tensor.Float64 || x.DType() == tensor.Float64:
		backend.Raw(y.DType(), raw(y)).Decode(raw(x), x.DType())
	default:
		split(q, y.Len(), elementGrain, converting{y: y, x: x})
	}
}

type copying struct{ to, from []byte }

func (o *copying) compute(_ *worker, lo, hi int) { copy(o.to[lo:hi], o.from[lo:hi]) }

type converting struct{ y, x tensor.Tensor }

func (o *converting) compute(w *worker, lo, hi int) {
	w.kernels.copyRows(copyRowsArgs{
		dst: element(o.y, lo), src: element(o.x, lo), rows: 1, columns: int64(hi - lo), dstType: kind(o.y), srcType: kind(o.x),
	})
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
		q.elementwise(y, a, b, elementGrain, kernels.add)
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
	if q.below("index", ints(rows), x.Rows()) {
		split(q, rows.Len(), rowGrain(y.Cols()), gathering{y: raw(y), x: raw(x), rows: ints(rows), rowBytes: rowBytes(y)})
	}
}

type gathering struct {
	y, x     []byte
	rows     []int32
	rowBytes int
}

func (o *gathering) compute(_ *worker, lo, hi int) {
	for n := lo; n < hi; n++ {
		copy(o.y[n*o.rowBytes:(n+1)*o.rowBytes], o.x[int(o.rows[n])*o.rowBytes:])
	}
}

// ScatterRows: y[rows[n]] = x[n]; rows are distinct.
func (q *queue) ScatterRows(y, x, rows tensor.Tensor) {
	if !q.begin("scatter rows", y, x, rows) {
		return
	}
	defer q.end()
	if index := ints(rows); q.below("index", index, y.Rows()) && q.distinct(index, y.Rows()) {
		split(q, rows.Len(), rowGrain(y.Cols()), scattering{y: raw(y), x: raw(x), rows: index, rowBytes: rowBytes(y)})
	}
}

type scattering struct {
	y, x     []byte
	rows     []int32
	rowBytes int
}

func (o *scattering) compute(_ *worker, lo, hi int) {
	for n := lo; n < hi; n++ {
		copy(o.y[int(o.rows[n])*o.rowBytes:], o.x[n*o.rowBytes:(n+1)*o.rowBytes])
	}
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
	split(q, y.Cols(), max(64, elementGrain/max(rows.Len(), 1)), addingRows{y: y, x: x, rows: rows, first: first})
}

type addingRows struct {
	y, x, rows tensor.Tensor
	first      int
}

func (o *addingRows) compute(w *worker, lo, hi int) {
	w.kernels.addRows(addRowsArgs{
		y: element(o.y, lo), x: element(o.x, lo), rows: at(o.rows), n: int64(o.rows.Len()), yRows: int64(o.y.Rows()),
		columns: int64(hi - lo), yLD: int64(o.y.Cols()), xLD: int64(o.x.Cols()), first: int64(o.first), yType: kind(o.y), xType: kind(o.x),
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
		parts := (x.Len() + sumSquaresAtOnce - 1) / sumSquaresAtOnce
		sums := unsafe.Slice((*float64)(q.scratch.bytes(8*parts)), parts)
		run(q, parts, summingSquares{x: x, sums: sums})
		for _, s := range sums {
			total += s
		}
	}
	doubles(out)[0] += total
}

type summingSquares struct {
	x    tensor.Tensor
	sums []float64
}

func (o *summingSquares) compute(w *worker, i, _ int) {
	lo := i * sumSquaresAtOnce
	w.kernels.sumSquares(sumSquaresArgs{
		x: element(o.x, lo), out: ptr(&o.sums[i]), n: int64(min(sumSquaresAtOnce, o.x.Len()-lo)), dtype: kind(o.x),
	})
}
