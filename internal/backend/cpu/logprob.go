package cpu

import (
	"math"
	"unsafe"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// The head works on so many rows at a time, and on so many entries of the vocabulary: multiples of VocabBlock and of every
// panel width. The bits depend on gradRows alone (dw is added to once for each).
const (
	statsRows  = 128
	gradRows   = 256
	vocabChunk = 256  // entries of one tile, at most
	vocabGroup = 4096 // entries whose gradients exist at a time
	dzRow      = 4128 // elements from one row of them to the next: rows of a tile start in different lines of the cache
)

// chunkOf is the size of a tile for so many entries: all workers get some where the vocabulary is small.
func (q *queue) chunkOf(entries int) int {
	return min(vocabChunk, roundUp(max(entries/(4*q.pool.size), 1), keyBlock))
}

// The columns of statistics.
const (
	statMax = iota
	statSum
	statMoment
	statTarget
	statColumns
)

// vocabulary is the head's weight as a right operand, chunk by chunk.
type vocabulary struct {
	*queue
	w    tensor.Tensor
	kept lease // of the whole weight, if it has a stamp
}

// vocabulary gives access to w; what it keeps must be released when the operation is done.
func (q *queue) vocabulary(w tensor.Tensor, u use) vocabulary {
	v := vocabulary{queue: q, w: w}
	if w.Stamp() != nil {
		v.kept = q.packed.acquire(q, w, u)
	}
	return v
}

// columns are entries [lo, hi) as columns of h·wᵀ.
func (v vocabulary) columns(w *worker, lo, hi int) panels {
	if v.kept.data != nil {
		return panels{data: v.kept.from(lo), dtype: v.kept.dtype, k: v.kept.k, depth: v.kept.depth, columns: hi - lo}
	}
	a := panelsOf(v.w.Slice(lo, hi), forward)
	a.dst, a.width = w.scratch.bytes(a.packedBytes(v.kernels)), int64(v.kernels.panel())
	v.kernels.pack(a)
	return panels{data: a.dst, dtype: a.dstType, k: int(a.k), depth: depth(v.kernels, int(a.k), a.dstType), columns: hi - lo}
}

// left describes h, which has w's type, as a left operand of w.
func (v vocabulary) left(h tensor.Tensor) packArgs {
	a := rowsOf(h)
	a.dstType = productType(v.kernels, kind(h), kind(v.w))
	return a
}

// logits is z [rows][ld] = h·wᵀ over entries [lo, hi), with h as tiles.
func (v vocabulary) logits(w *worker, z, h ptr, rows, lo, hi, ld int) {
	p := v.columns(w, lo, hi)
	t := multiplyArgs{
		a: h, b: p.data, y: z, k: int64(p.k), rows: int64(rows), columns: int64(hi - lo), ld: int64(ld),
		panelStride: int64(p.depth * v.kernels.panel()), layout: layoutTiles, aType: productType(v.kernels, kind(v.w), p.dtype), bType: p.dtype, yType: float32Type, mode: store,
	}
	t.wide = w.wide(t, p.k)
	v.kernels.multiply(t)
}

// LogProbStats: (max z, Σ exp(z-max), Σ exp(z-max)·z, z[target] or 0) of each row.
func (q *queue) LogProbStats(stats, h, w, targets tensor.Tensor, head backend.Head) {
	if !q.computes("log-prob", stats, h, w, targets) {
		return
	}
	defer q.end()
	if !q.entries("target", targets) {
		return
	}
	v := q.vocabulary(w, forward)
	defer v.kept.release()
	entries, n := w.Dim(0), h.Dim(0)
	chunks := (entries + vocabChunk - 1) / vocabChunk
	rows := min(n, statsRows*max(1, 4*q.pool.size/max(chunks, 1))) // of a pass: enough tiles for all workers
	sums := newVocabSums(&q.scratch, rows, (entries+keyBlock-1)/keyBlock)
	for lo := 0; lo < n; lo += rows {
		part := vocabStats{vocabulary: v, h: h, head: head, targets: ints(targets), sums: sums, lo: lo, n: min(rows, n-lo)}
		part.chunks, part.id = chunks, q.pool.products.Add(1)
		part.out = floats(stats)[lo*statColumns:][:part.n*statColumns]
		for r := range part.n {
			part.out[r*statColumns+statTarget] = 0
		}
		run(q, chunks*((part.n+statsRows-1)/statsRows), part)
		split(q, part.n, 8, vocabMerging{sums: sums, out: part.out})
	}
}

// vocabStats sums up the blocks of n rows from row lo on. A tile is some of the rows and a chunk of the vocabulary.
type vocabStats struct {
	vocabulary
	h       tensor.Tensor
	head    backend.Head
	targets []int32
	sums    vocabSums
	out     []float32 // [n][4]: the targets' logits go here
	lo, n   int
	chunks  int
	id      uint64 // of the product
}

func (o *vocabStats) compute(w *worker, i, _ int) {
	first, from := i/o.chunks*statsRows, i%o.chunks*vocabChunk
	rows, to := min(statsRows, o.n-first), min(from+vocabChunk, o.w.Dim(0))
	z, scale := w.scratch.floats(rows*vocabChunk), float32(o.head.Scale)
	tiles := w.pack(o.left(o.h), packedLeft{o.id, i / o.chunks, 0}, o.lo+first, o.lo+first+rows, o.h.Dim(1))
	o.logits(w, start(z), tiles, rows, from, to, vocabChunk)
	w.kernels.vocabBlocks(o.sums.from(first).blocks(start(z), rows, from, to, vocabChunk, scale))
	for r := range rows {
		if t := int(o.targets[o.lo+first+r]) - o.head.First; t >= from && t < to {
			o.out[(first+r)*statColumns+statTarget] = scale * z[r*vocabChunk+t-from]
		}
	}
}

// vocabMerging adds up the blocks, by rows.
type vocabMerging struct {
	sums vocabSums
	out  []float32
}

func (o *vocabMerging) compute(w *worker, lo, hi int) {
	w.kernels.vocabMerge(o.sums.merge(start(o.out), lo, hi))
}

// vocabSums holds the maximum, Σ exp and Σ exp·z of each block of some rows.
type vocabSums struct {
	max, sum, moment []float32 // [rows][blocks]
	count            int       // blocks of a row
}

func newVocabSums(f *scratch, rows, blocks int) vocabSums {
	return vocabSums{max: f.floats(rows * blocks), sum: f.floats(rows * blocks), moment: f.floats(rows * blocks), count: blocks}
}

// from is the sums of rows r and on.
func (s vocabSums) from(r int) vocabSums {
	s.max, s.sum, s.moment = s.max[r*s.count:], s.sum[r*s.count:], s.moment[r*s.count:]
	return s
}

// blocks sums up entries [lo, hi) of n rows; z holds their logits.
func (s vocabSums) blocks(z ptr, n, lo, hi, ld int, scale float32) vocabBlocksArgs {
	b := lo / keyBlock
	return vocabBlocksArgs{
		z: z, max: start(s.max[b:]), sum: start(s.sum[b:]), moment: start(s.moment[b:]),
		rows: int64(n), columns: int64(hi - lo), ld: int64(ld), outLD: int64(s.count), scale: scale,
	}
}

// merge adds up the blocks of rows [lo, hi) to statistics [rows][4].
func (s vocabSums) merge(out ptr, lo, hi int) vocabMergeArgs {
	at := lo * s.count
	return vocabMergeArgs{
		max: start(s.max[at:]), sum: start(s.sum[at:]), moment: start(s.moment[at:]), out: unsafe.Add(out, 4*lo*statColumns),
		rows: int64(hi - lo), blocks: int64(s.count), inLD: int64(s.count),
	}
}

// LogProbMerge combines the stats of ranks in rank order, in float64.
func (q *queue) LogProbMerge(logp, lse, entropy, stats tensor.Tensor) {
	if !q.computes("log-prob merge", logp, lse, entropy, stats) {
		return
	}
	defer q.end()
	ranks, n := stats.Dim(0), stats.Dim(1)
	all, outLogp, outLse, outEntropy := floats(stats), floats(logp), floats(lse), floats(entropy)
	for r := range n {
		top := math.Inf(-1)
		for s := range ranks {
			top = max(top, float64(all[(s*n+r)*statColumns+statMax]))
		}
		sum, moment, target := 0.0, 0.0, 0.0
		for s := range ranks {
			one := all[(s*n+r)*statColumns:][:statColumns]
			f := math.Exp(float64(one[statMax]) - top)
			sum += float64(f * float64(one[statSum]))
			moment += float64(f * float64(one[statMoment]))
			target += float64(one[statTarget])
		}
		l := top + math.Log(sum)
		outLse[r], outLogp[r], outEntropy[r] = float32(l), float32(target-l), float32(l-moment/sum)
	}
}

// LogProbBackward computes the logits again, group by group of the vocabulary, and of each group first the gradients of the
// logits and their part of dw, by chunks of the vocabulary, then the next links of the chains of dh, by rows.
func (q *queue) LogProbBackward(dh, dw, h, w, targets, lse, entropy, dlogp, dentropy tensor.Tensor, head backend.Head) {
	if !q.computes("log-prob backward", dh, dw, h, w, targets, lse, entropy, dlogp, dentropy) {
		return
	}
	defer q.end()
	if !q.entries("target", targets) {
		return
	}
	columns := q.vocabulary(w, forward)
	defer columns.kept.release()
	rows := q.vocabulary(w, backward)
	defer rows.kept.release()
	n, d := min(gradRows, h.Dim(0)), h.Dim(1)
	g := logprobGrad{
		queue: q, dh: dh, dw: dw, h: h, targets: targets, lse: lse, entropy: entropy, dlogp: dlogp, dentropy: dentropy, head: head,
		columns: columns, rows: rows, kind: productType(q.kernels, kind(h), kind(w)), acc: q.scratch.floats(n * d),
	}
	g.dz = q.scratch.bytes(n * dzRow * elementSize(g.kind))
	g.pack = columnsOf(h)
	g.pack.k, g.pack.columns, g.pack.dstType = int64(n), int64(d), g.kind
	g.pack.dst = q.scratch.bytes(g.pack.packedBytes(q.kernels))
	if w.Stamp() == nil {
		g.group = q.scratch.bytes(w.DType().Size() * depth(q.kernels, min(vocabGroup, w.Dim(0)), kind(w)) * roundUp(d, q.kernels.panel()))
	}
	for g.lo = 0; g.lo < h.Dim(0); g.lo += gradRows {
		g.n = min(gradRows, h.Dim(0)-g.lo)
		g.someRows()
	}
}

// logprobGrad is one backward call.
type logprobGrad struct {
	*queue
	dh, dw, h, targets, lse, entropy, dlogp, dentropy tensor.Tensor

	head    backend.Head
	columns vocabulary // w as the right operand of h·wᵀ
	rows    vocabulary // w as the right operand of dz·w
	kind    int32      // of dz in products: that of the hidden states where the kernels multiply such, else float32
	dz      ptr        // [rows][dzRow]
	acc     []float32  // [rows][D] chains of dh
	pack    packArgs   // of h as the right operand of dzᵀ·h
	group   ptr        // panels of a group of the vocabulary, for a weight without a stamp

	// What is being worked on.
	lo, n      int    // rows of h from lo on
	id         uint64 // of their product with w
	right      panels // they as the right operand of dzᵀ·h
	first, end int    // group of the vocabulary
	chunk      int    // entries of a tile
}

// someRows does n rows from row lo on.
func (g *logprobGrad) someRows() {
	clear(g.acc)
	part := g.pack
	part.src, part.k = row(g.h, g.lo), int64(g.n)
	g.right, g.id = g.packPanels(part, part.dst), g.pool.products.Add(1)
	for g.first = 0; g.first < g.dw.Dim(0); g.first = g.end {
		g.end = min(g.first+vocabGroup, g.dw.Dim(0))
		g.chunk = g.chunkOf(g.end - g.first)
		run(g.queue, (g.end-g.first+g.chunk-1)/g.chunk, *g)
		g.chains()
	}
	g.kernels.copyRows(copyRowsArgs{
		dst: row(g.dh, g.lo), src: start(g.acc), rows: 1, columns: int64(g.n * g.h.Dim(1)), dstType: kind(g.dh), srcType: float32Type,
	})
}

// compute finds dz for a chunk of the group and adds dzᵀ·h to its rows of dw.
func (g *logprobGrad) compute(w *worker, i, _ int) {
	lo, n, d := g.lo, g.n, g.h.Dim(1)
	from := g.first + i*g.chunk
	to := min(from+g.chunk, g.end)
	tiles := w.pack(g.columns.left(g.h), packedLeft{g.id, 0, 0}, lo, lo+n, d)
	dz := unsafe.Add(g.dz, (from-g.first)*elementSize(g.kind))
	z, ld := dz, dzRow
	if g.kind != float32Type {
		ld = vocabChunk
		z = start(w.scratch.floats(n * ld))
	}
	g.columns.logits(w, z, tiles, n, from, to, ld)
	g.kernels.logprobGrad(logprobGradArgs{
		z: z, lse: row(g.lse, lo), entropy: row(g.entropy, lo), dlogp: row(g.dlogp, lo), dentropy: row(g.dentropy, lo),
		targets: row(g.targets, lo), rows: int64(n), columns: int64(to - from), ld: int64(ld), first: int64(g.head.First + from),
		scale: float32(g.head.Scale),
	})
	if g.kind != float32Type {
		g.kernels.copyRows(copyRowsArgs{
			dst: dz, src: z, rows: int64(n), columns: int64(to - from), dstLD: dzRow, srcLD: int64(ld), dstType: g.kind, srcType: float32Type,
		})
	}
	part := packArgs{
		src: dz, ld: dzRow, k: int64(n), columns: int64(to - from), width: int64(g.kernels.rowTile()), srcType: g.kind, dstType: g.kind, balanced: 1,
	}
	part.dst = w.scratch.bytes(elementSize(g.kind) * depth(g.kernels, n, g.kind) * (to - from))
	g.kernels.pack(part)
	g.kernels.multiply(multiplyArgs{
		a: part.dst, b: g.right.data, y: row(g.dw, from), k: int64(n), rows: int64(to - from), columns: int64(d), ld: int64(d),
		panelStride: int64(g.right.depth * g.kernels.panel()), layout: layoutTiles, aType: g.kind, bType: g.kind, yType: float32Type, mode: resume,
	})
}

// chains continues the chains of dh over the group.
func (g *logprobGrad) chains() {
	d := g.h.Dim(1)
	right, rightRow := g.rows.kept.panels, g.first
	if right.data == nil {
		right, rightRow = g.packPanels(panelsOf(g.rows.w.Slice(g.first, g.end), backward), g.group), 0
	}
	g.multiply(product{
		m: g.n, n: d, left: packArgs{src: g.dz, srcType: g.kind, ld: dzRow, k: int64(g.end - g.first), transposed: 1},
		right: right, rightRow: rightRow, y: start(g.acc), ld: d, yType: float32Type, mode: resume,
	})
}
