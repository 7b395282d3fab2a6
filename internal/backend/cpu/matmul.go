package cpu

import (
	"unsafe"

	"github.com/klauspost/cpuid/v2"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// Sizes of what a product works on at a time. They steer speed alone: the bits do not depend on them.
const (
	slabBytes       = 4 << 10 // of a row of the left operand, where the chains can pause
	rightBytes      = 4 << 20 // right operand, where it is packed for the occasion: it stays in the third-level cache
	straightColumns = 1024    // of a product whose left operand is not packed, at most
	straightBytes   = 1 << 10 // from one term of a column to the next, where it is not packed, at most
	aliasBytes      = 4 << 10 // addresses so far apart share a line of the first-level cache
	fewRows         = 8       // tiles of a block that is not cut for the sake of more workers
	serialFlops     = 1 << 20 // smaller products are not worth another worker
	wideTiles       = 4       // of rows, from which on they share the work of widening a panel
)

// blockBytes is how much of the left operand one worker packs, where it does, and walks through: a quarter of the second-level cache,
// in which it stays beside a panel of the right one and the next. It steers speed alone too.
var blockBytes = max(secondLevel(), 256<<10) / 4

// secondLevel is the size of the second-level cache of a processor, 1 MiB if it does not say.
func secondLevel() int {
	if n := cpuid.CPU.Cache.L2; n > 0 {
		return n
	}
	return 1 << 20
}

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

// cutting is how a product is shared out. A worker packs a block of rows for itself and multiplies it with all columns; the last
// blocks, one for each worker, are split by columns as well, so that all workers end at about the same time.
type cutting struct {
	id     uint64 // of the product
	blocks int    // of rows
	whole  int    // of them that are not split
	chunks int    // of columns, in a split one
	panels int    // of columns
	slab   int    // terms of the inner dimension that are packed at a time
}

func (q *queue) cut(p product) cutting {
	k, tile, workers := int(p.left.k), q.kernels.rowTile(), q.pool.size
	c := cutting{id: q.pool.products.Add(1), slab: max(k, 1), chunks: 1, panels: (p.n + q.kernels.panel() - 1) / q.kernels.panel()}
	size := elementSize(p.left.dstType)
	if p.mode == resume {
		c.slab = min(c.slab, slabBytes/size)
	}
	rows := max(1, blockBytes/(size*roundUp(c.slab, 2)*tile)) * tile
	if 2*p.m*k*p.n < serialFlops || workers == 1 {
		c.blocks = (p.m + rows - 1) / rows
		c.whole = c.blocks
		return c
	}
	// Each block walks through the whole right operand: a few rows are one block, however many workers there are.
	rows = min(rows, roundUp(max(p.m/(8*workers), fewRows*tile), tile))
	c.blocks = max((p.m+rows-1)/rows, 1)
	if c.whole = c.blocks - workers; c.whole < workers {
		c.whole = 0
	}
	c.chunks = min(c.panels, max(4, (4*workers+c.blocks-1)/c.blocks))
	return c
}

func (c cutting) parts() int { return c.whole + (c.blocks-c.whole)*c.chunks }

// part is the block of part i and the panels of its columns. Neighbouring parts are of different blocks, so that each worker
// tends to stay with the block that it has packed.
func (c cutting) part(i int) (block, from, to int) {
	if i < c.whole {
		return i, 0, c.panels
	}
	i -= c.whole
	block, chunk := c.whole+i%(c.blocks-c.whole), i/(c.blocks-c.whole)
	return block, chunk * c.panels / c.chunks, (chunk + 1) * c.panels / c.chunks
}

// multiply computes p on all workers.
func (q *queue) multiply(p product) {
	if p.m == 0 || p.n == 0 {
		return
	}
	p.left.dstType = productType(q.kernels, p.left.srcType, p.right.dtype)
	c := q.cut(p)
	tiles := c.parts()
	if 2*p.m*int(p.left.k)*p.n < serialFlops {
		tiles = 1
	}
	share(q, c.parts(), tiles, multiplying{p, c})
}

type multiplying struct {
	product
	cutting
}

func (o *multiplying) compute(w *worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		o.multiply(w, i)
	}
}

// multiply computes part i.
func (o *multiplying) multiply(w *worker, i int) {
	p, c := &o.product, &o.cutting
	block, fromPanel, toPanel := c.part(i)
	width, k := w.kernels.panel(), int(p.left.k)
	lo, hi := block*p.m/c.blocks, (block+1)*p.m/c.blocks
	col, end := fromPanel*width, min(toPanel*width, p.n)
	offset := lo*p.ld + col
	t := multiplyArgs{
		y: unsafe.Add(p.y, offset*elementSize(p.yType)), rows: int64(hi - lo), columns: int64(end - col), ld: int64(p.ld),
		panelStride: int64(p.right.depth * width), layout: layoutTiles, aType: p.left.dstType, bType: p.right.dtype, yType: p.yType, mode: p.mode,
	}
	if p.bias != nil {
		t.bias = unsafe.Add(p.bias, col*elementSize(p.right.dtype))
	}
	if p.residual != nil {
		t.residual = unsafe.Add(p.residual, offset*elementSize(p.yType))
	}
	t.wide = w.wide(t, c.slab)
	layout, straight := p.straight()
	if straight {
		t.layout, t.aLD = layout, p.left.ld
	}
	for first := 0; first == 0 || first < k; first += c.slab {
		deep := min(c.slab, k-first)
		t.k = int64(deep)
		if straight {
			t.a = unsafe.Add(p.left.columnsFrom(lo), first*p.left.step())
		} else {
			t.a = w.pack(p.left, packedLeft{c.id, block, first}, lo, hi, deep)
		}
		t.b = unsafe.Add(p.right.from(col), (p.rightRow+first)*width*elementSize(p.right.dtype))
		w.kernels.multiply(t)
	}
}

// wide is room for a panel of t's right operand in float32, nil where it is better read as it is.
func (w *worker) wide(t multiplyArgs, k int) ptr {
	if t.aType != float32Type || t.bType != bfloat16Type || int(t.rows) < wideTiles*w.kernels.rowTile() {
		return nil
	}
	return w.scratch.bytes(4 * k * w.kernels.panel())
}

// packedLeft says what a worker has packed last: terms of the inner dimension from first on, of a block of rows of a product.
type packedLeft struct {
	product uint64
	block   int
	first   int
}

// pack gives rows [lo, hi) of a left operand as tiles, deep terms from term is.first on.
func (w *worker) pack(left packArgs, is packedLeft, lo, hi, deep int) ptr {
	if w.holds == is {
		return w.tiles
	}
	w.holds = packedLeft{} // of no product, in case that there is no memory
	w.left.reset()
	w.tiles = w.left.bytes(elementSize(left.dstType) * depth(w.kernels, deep, left.dstType) * (hi - lo))
	left.src = unsafe.Add(left.columnsFrom(lo), is.first*left.step())
	left.dst, left.k, left.columns, left.width, left.balanced = w.tiles, int64(deep), int64(hi-lo), int64(w.kernels.rowTile()), 1
	w.kernels.pack(left)
	w.holds = is
	return w.tiles
}

// straight is the layout of a left operand that kernels shall read where it lies. They can if neither operand has to be converted, and
// pairs are whole and lie in a row. It pays where few columns would share the work of packing, unless what a tile reads at
// a time, or one time after the other, competes for the same few lines of the first-level cache.
func (p *product) straight() (layout int32, ok bool) {
	a := p.left
	if a.srcType != a.dstType || a.dstType != p.right.dtype || p.n > straightColumns {
		return layoutTiles, false
	}
	stride := int(a.ld) * elementSize(a.srcType)
	if a.transposed != 0 {
		return layoutRows, (a.dstType == float32Type || a.k%2 == 0) && stride%aliasBytes != 0
	}
	return layoutColumns, a.dstType == float32Type && stride <= straightBytes
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
	right := q.panels(w, forward)
	defer right.release()
	q.multiply(product{
		m: x.Dim(0), n: w.Dim(0), left: rowsOf(x), right: right.panels,
		y: at(y), ld: w.Dim(0), yType: kind(y), bias: at(e.Bias), residual: at(e.Residual), mode: store,
	})
}

// MatMulInput: dx = or += dy·w.
func (q *queue) MatMulInput(dx, dy, w tensor.Tensor, into backend.Into) {
	if !q.computes("matmul input gradient", dx, dy, w) {
		return
	}
	defer q.end()
	if dy.Dim(0) == 0 {
		return
	}
	right := q.panels(w, backward)
	defer right.release()
	q.multiply(product{
		m: dy.Dim(0), n: w.Dim(1), left: rowsOf(dy), right: right.panels,
		y: at(dx), ld: w.Dim(1), yType: kind(dx), mode: modeOf(into),
	})
}

// modeOf is what multiply does with such a product.
func modeOf(into backend.Into) int32 {
	if into == backend.Add {
		return add
	}
	return store
}

// MatMulWeight: dw += dyᵀ·x. For each element, a chain over ascending n that starts from the old contents.
func (q *queue) MatMulWeight(dw, dy, x tensor.Tensor) {
	if !q.computes("matmul weight gradient", dw, dy, x) {
		return
	}
	defer q.end()
	n, i, packed := x.Dim(0), x.Dim(1), productType(q.kernels, kind(dy), kind(x))
	if i == 0 {
		return
	}
	slab := slabBytes / elementSize(packed)
	columns := min(i, max(1, rightBytes/(slabBytes*q.kernels.panel()))*q.kernels.panel())
	rows := min(n, max(1, rightBytes/(slabBytes*roundUp(columns, q.kernels.panel())))*slab)
	for c := 0; c < i; c += columns {
		for first := 0; first < n; first += rows {
			a := columnsOf(x.Slice(first, min(first+rows, n)))
			a.src, a.columns, a.dstType = a.columnsFrom(c), int64(min(columns, i-c)), packed
			q.scratch.reset()
			q.multiply(product{
				m: dy.Dim(1), n: int(a.columns), left: columnsOf(dy.Slice(first, min(first+rows, n))),
				right: q.packPanels(a, q.scratch.bytes(a.packedBytes(q.kernels))),
				y:     unsafe.Add(at(dw), 4*c), ld: i, yType: float32Type, mode: resume,
			})
		}
	}
}

// SumRows: db += Σₙ dy[n].
func (q *queue) SumRows(db, dy tensor.Tensor) {
	if !q.computes("sum rows", db, dy) {
		return
	}
	defer q.end()
	split(q, dy.Dim(1), max(64, 1<<16/max(dy.Dim(0), 1)), summingRows{db: db, dy: dy})
}

type summingRows struct{ db, dy tensor.Tensor }

func (o *summingRows) compute(w *worker, lo, hi int) {
	out, part := floats(o.db)[lo:hi], w.scratch.floats(hi-lo)
	n, columns := o.dy.Dim(0), o.dy.Dim(1)
	for first := 0; first < n; first += sumRowsAtOnce {
		w.kernels.sumRows(sumRowsArgs{
			out: start(part), x: element(o.dy, first*columns+lo),
			rows: int64(min(sumRowsAtOnce, n-first)), columns: int64(hi - lo), ld: int64(columns), dtype: kind(o.dy),
		})
		for i, v := range part {
			out[i] += v
		}
	}
}

// sumRowsAtOnce is how many rows are summed before the sum is added to the result: fewer roundings than one long chain.
const sumRowsAtOnce = 64
