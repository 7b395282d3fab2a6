package cpu

import (
	"unsafe"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// Sizes of what a product works on at a time. They steer speed alone: the bits do not depend on them.
const (
	leftBytes   = 8 << 20   // packed left operand
	blockBytes  = 256 << 10 // rows of it that one tile walks through: they stay in the second-level cache
	rightBytes  = 16 << 20  // right operand, where it is packed for the occasion
	serialFlops = 1 << 20   // smaller products are not worth waking a worker for
)

// product is y [m n] = left [m k]·right [k n], or added to y; see multiplyArgs.
type product struct {
	m, n     int
	left     packArgs // how to pack the rows of the left operand: its "columns" are the m rows
	right    panels
	rightRow int // the first row of right that takes part, an even one
	y        ptr
	ld       int
	yType    int32
	bias     ptr
	residual ptr
	mode     int32
}

// multiply computes p on all workers.
func (q *queue) multiply(p product) {
	if p.m == 0 || p.n == 0 {
		return
	}
	p.left.dstType = productType(q.kernels, p.left.srcType, p.right.dtype)
	rowBytes := elementSize(p.left.dstType) * depth(q.kernels, int(p.left.k), p.left.dstType)
	rows := min(p.m, max(leftBytes/max(rowBytes, 1), q.kernels.rowTile()))
	q.left.reset()
	a := q.left.bytes(rowBytes * rows)
	for lo := 0; lo < p.m; lo += rows {
		q.multiplyRows(p, lo, min(rows, p.m-lo), a, rowBytes)
	}
}

// multiplyRows packs rows [lo, lo+n) of the left operand into a, rowBytes each, and multiplies them.
func (q *queue) multiplyRows(p product, lo, n int, a ptr, rowBytes int) {
	k, tile, width := int(p.left.k), q.kernels.rowTile(), q.kernels.panel()
	blockRows := max(1, blockBytes/(max(rowBytes, 1)*tile)) * tile
	blocks := (n + blockRows - 1) / blockRows
	panelCount := (p.n + width - 1) / width
	chunks := 1
	if q.pool.size > 1 && 2*n*k*p.n >= serialFlops {
		chunks = min(panelCount, max(1, (4*q.pool.size+blocks-1)/blocks))
	}
	q.pool.run(blocks, func(_ *worker, b int) {
		from, to := b*n/blocks, (b+1)*n/blocks
		part := p.left
		part.src, part.dst = p.left.columnsFrom(lo+from), unsafe.Add(a, from*rowBytes)
		part.columns, part.width, part.balanced = int64(to-from), int64(tile), 1
		q.kernels.pack(part)
	})
	ySize := elementSize(p.yType)
	q.pool.run(blocks*chunks, func(_ *worker, i int) {
		b, c := i%blocks, i/blocks
		from, to := b*n/blocks, (b+1)*n/blocks
		col, end := c*panelCount/chunks*width, min((c+1)*panelCount/chunks*width, p.n)
		offset := (lo+from)*p.ld + col
		t := multiplyArgs{
			a: unsafe.Add(a, from*rowBytes), b: unsafe.Add(p.right.from(col), p.rightRow*width*elementSize(p.right.dtype)),
			y: unsafe.Add(p.y, offset*ySize),
			k: int64(k), rows: int64(to - from), columns: int64(end - col), ld: int64(p.ld), panelStride: int64(p.right.depth * width),
			layout: layoutTiles, aType: p.left.dstType, bType: p.right.dtype, yType: p.yType, mode: p.mode,
		}
		if p.bias != nil {
			t.bias = unsafe.Add(p.bias, col*elementSize(p.right.dtype))
		}
		if p.residual != nil {
			t.residual = unsafe.Add(p.residual, offset*ySize)
		}
		q.kernels.multiply(t)
	})
}

// rowsOf describes the rows of x as a left operand, columnsOf its columns.
func rowsOf(x tensor.Tensor) packArgs {
	return packArgs{src: at(x), srcType: kind(x), ld: int64(x.Dim(1)), k: int64(x.Dim(1)), transposed: 1}
}

func columnsOf(x tensor.Tensor) packArgs {
	return packArgs{src: at(x), srcType: kind(x), ld: int64(x.Dim(1)), k: int64(x.Dim(0))}
}

// MatMul: y = x·wᵀ + bias + residual.
func (q *queue) MatMul(y, x, w tensor.Tensor, e backend.Epilogue) {
	if !q.computes("matmul", y, x, w, e.Bias, e.Residual) {
		return
	}
	defer q.end()
	if x.Dim(0) == 0 {
		return
	}
	right, release := q.panels(w, forward)
	defer release()
	q.multiply(product{
		m: x.Dim(0), n: w.Dim(0), left: rowsOf(x), right: right,
		y: at(y), ld: w.Dim(0), yType: kind(y), bias: at(e.Bias), residual: at(e.Residual), mode: store,
	})
}

// MatMulInput: dx += dy·w.
func (q *queue) MatMulInput(dx, dy, w tensor.Tensor) {
	if !q.computes("matmul input gradient", dx, dy, w) {
		return
	}
	defer q.end()
	if dy.Dim(0) == 0 {
		return
	}
	right, release := q.panels(w, backward)
	defer release()
	q.multiply(product{
		m: dy.Dim(0), n: w.Dim(1), left: rowsOf(dy), right: right,
		y: at(dx), ld: w.Dim(1), yType: kind(dx), mode: add,
	})
}

// MatMulWeight: dw += dyᵀ·x, a chain over ascending n for each element.
func (q *queue) MatMulWeight(dw, dy, x tensor.Tensor) {
	if !q.computes("matmul weight gradient", dw, dy, x) {
		return
	}
	defer q.end()
	n, i, width := x.Dim(0), x.Dim(1), q.kernels.panel()
	if n == 0 {
		return
	}
	packed := productType(q.kernels, kind(dy), kind(x))
	columnBytes := elementSize(packed) * depth(q.kernels, n, packed)
	step := max(1, rightBytes/(columnBytes*width)) * width
	buf := q.scratch.bytes(columnBytes * min(step, roundUp(i, width)))
	for c := 0; c < i; c += step {
		a := columnsOf(x)
		a.src, a.columns, a.dstType = a.columnsFrom(c), int64(min(step, i-c)), packed
		q.multiply(product{
			m: dy.Dim(1), n: int(a.columns), left: columnsOf(dy), right: packPanels(q.kernels, q.pool, a, buf),
			y: unsafe.Add(at(dw), 4*c), ld: i, yType: kind(dw), mode: add,
		})
	}
}

// SumRows: db += Σₙ dy[n].
func (q *queue) SumRows(db, dy tensor.Tensor) {
	if !q.computes("sum rows", db, dy) {
		return
	}
	defer q.end()
	n, o := dy.Dim(0), dy.Dim(1)
	out := floats(db)
	q.pool.split(o, max(64, 1<<16/max(n, 1)), func(w *worker, lo, hi int) {
		part := w.scratch.floats(hi - lo)
		for first := 0; first < n; first += sumRowsAtOnce {
			q.kernels.sumRows(sumRowsArgs{
				out: start(part), x: unsafe.Add(row(dy, first), lo*elementSize(kind(dy))),
				rows: int64(min(sumRowsAtOnce, n-first)), columns: int64(hi - lo), ld: int64(o), dtype: kind(dy),
			})
			for i, v := range part {
				out[lo+i] += v
			}
		}
	})
}

// sumRowsAtOnce is how many rows are summed before the sum is added to the result: fewer roundings than one long chain.
const sumRowsAtOnce = 64
