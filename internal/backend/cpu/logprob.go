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
	kept panels // the whole weight, if it has a stamp
}

// vocabulary gives access to w; release must be called when the operation is done.
func (q *queue) vocabulary(w tensor.Tensor, u use) (v vocabulary, release func()) {
	v = vocabulary{queue: q, w: w}
	if w.Stamp() == nil {
		return v, func() {}
	}
	v.kept, release = q.packed.acquire(w, u)
	return v, release
}

// columns are entries [lo, hi) as columns of h·wᵀ.
func (v vocabulary) columns(w *worker, lo, hi int) panels {
	if v.kept.data != nil {
		return panels{data: v.kept.from(lo), dtype: v.kept.dtype, k: v.kept.k, depth: v.kept.depth, columns: hi - lo}
	}
	a := packing(v.w.Slice(lo, hi), forward)
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
	v.kernels.multiply(multiplyArgs{
		a: h, b: p.data, y: z, k: int64(p.k), rows: int64(rows), columns: int64(hi - lo), ld: int64(ld),
		panelStride: int64(p.depth * v.kernels.panel()), layout: layoutTiles, aType: productType(v.kernels, kind(v.w), p.dtype), bType: p.dtype, yType: float32Type, mode: store,
	})
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
	v, release := q.vocabulary(w, forward)
	defer release()
	entries, n := w.Dim(0), h.Dim(0)
	chunks := (entries + vocabChunk - 1) / vocabChunk
	rows := min(n, statsRows*max(1, 4*q.pool.size/max(chunks, 1))) // of a pass: enough tiles for all workers
	sums := newVocabSums(&q.scratch, rows, (entries+keyBlock-1)/keyBlock)
	for lo := 0; lo < n; lo += rows {
		q.statsOf(stats, h, ints(targets), lo, min(rows, n-lo), v, sums, head)
	}
}

// statsOf does n rows from row lo on: tiles of rows and of blocks of the vocabulary on all workers, then the sums of the blocks.
func (q *queue) statsOf(stats, h tensor.Tensor, targets []int32, lo, n int, v vocabulary, sums vocabSums, head backend.Head) {
	entries, scale, out := v.w.Dim(0), float32(head.Scale), floats(stats)[lo*statColumns:]
	for r := range n {
		out[r*statColumns+statTarget] = 0
	}
	left, id := v.left(h), q.pool.products.Add(1)
	chunks := (entries + vocabChunk - 1) / vocabChunk
	q.pool.run(chunks*((n+statsRows-1)/statsRows), func(w *worker, i int) {
		first, from := i/chunks*statsRows, i%chunks*vocabChunk
		rows, to := min(statsRows, n-first), min(from+vocabChunk, entries)
		z := w.scratch.floats(rows * vocabChunk)
		tiles := w.pack(q.kernels, left, packedLeft{id, i / chunks, 0}, lo+first, lo+first+rows, h.Dim(1))
		v.logits(w, start(z), tiles, rows, from, to, vocabChunk)
		q.kernels.vocabBlocks(sums.from(first).blocks(start(z), rows, from, to, vocabChunk, scale))
		for r := range rows {
			if t := int(targets[lo+first+r]) - head.First; t >= from && t < to {
				out[(first+r)*statColumns+statTarget] = scale * z[r*vocabChunk+t-from]
			}
		}
	})
	q.pool.split(n, 8, func(_ *worker, from, to int) { q.kernels.vocabMerge(sums.merge(start(out), from, to)) })
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
	columns, release := q.vocabulary(w, forward)
	defer release()
	rows, release := q.vocabulary(w, backward)
	defer release()
	n, d := min(gradRows, h.Dim(0)), h.Dim(1)
	g := logprobGrad{
		queue: q, dh: dh, dw: dw, h: h, targets: targets, lse: lse, entropy: entropy, dlogp: dlogp, dentropy: dentropy, head: head,
		columns: columns, rows: rows, kind: productType(q.kernels, kind(h), kind(w)), acc: q.scratch.floats(n * d),
	}
	g.dz = q.scratch.bytes(n * vocabGroup * elementSize(g.kind))
	g.right = columnsOf(h)
	g.right.k, g.right.columns, g.right.dstType = int64(n), int64(d), g.kind
	g.right.dst = q.scratch.bytes(g.right.packedBytes(q.kernels))
	if w.Stamp() == nil {
		g.group = q.scratch.bytes(w.DType().Size() * depth(q.kernels, min(vocabGroup, w.Dim(0)), kind(w)) * roundUp(d, q.kernels.panel()))
	}
	for lo := 0; lo < h.Dim(0); lo += gradRows {
		g.rowsFrom(lo, min(gradRows, h.Dim(0)-lo))
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
	dz      ptr        // [rows][vocabGroup]
	acc     []float32  // [rows][D] chains of dh
	right   packArgs   // h as the right operand of dzᵀ·h
	group   ptr        // panels of a group of the vocabulary, for a weight without a stamp
}

// rowsFrom does n rows from row lo on.
func (g *logprobGrad) rowsFrom(lo, n int) {
	entries, d := g.dw.Dim(0), g.h.Dim(1)
	clear(g.acc)
	part := g.right
	part.src, part.k = row(g.h, lo), int64(n)
	right := packPanels(g.kernels, g.pool, part, part.dst)
	left, id := g.columns.left(g.h), g.pool.products.Add(1)
	for first := 0; first < entries; first += vocabGroup {
		end := min(first+vocabGroup, entries)
		chunk := g.chunkOf(end - first)
		g.pool.run((end-first+chunk-1)/chunk, func(w *worker, i int) {
			from := first + i*chunk
			tiles := w.pack(g.kernels, left, packedLeft{id, 0, 0}, lo, lo+n, d)
			g.chunk(w, tiles, right, lo, n, first, from, min(from+chunk, end))
		})
		g.chains(n, first, end)
	}
	g.kernels.copyRows(copyRowsArgs{
		dst: row(g.dh, lo), src: start(g.acc), rows: 1, columns: int64(n * d), dstType: kind(g.dh), srcType: float32Type, add: 1,
	})
}

// chunk computes dz for entries [from, to) and adds dzᵀ·h to their rows of dw.
func (g *logprobGrad) chunk(w *worker, tiles ptr, right panels, lo, n, first, from, to int) {
	dz, d := unsafe.Add(g.dz, (from-first)*elementSize(g.kind)), g.h.Dim(1)
	z, ld := dz, vocabGroup
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
			dst: dz, src: z, rows: int64(n), columns: int64(to - from), dstLD: vocabGroup, srcLD: int64(ld), dstType: g.kind, srcType: float32Type,
		})
	}
	part := packArgs{
		src: dz, ld: vocabGroup, k: int64(n), columns: int64(to - from), width: int64(g.kernels.rowTile()), srcType: g.kind, dstType: g.kind, balanced: 1,
	}
	part.dst = w.scratch.bytes(elementSize(g.kind) * depth(g.kernels, n, g.kind) * (to - from))
	g.kernels.pack(part)
	g.kernels.multiply(multiplyArgs{
		a: part.dst, b: right.data, y: row(g.dw, from), k: int64(n), rows: int64(to - from), columns: int64(d), ld: int64(d),
		panelStride: int64(right.depth * g.kernels.panel()), layout: layoutTiles, aType: g.kind, bType: g.kind, yType: float32Type, mode: resume,
	})
}

// chains continues the chains of dh over entries [first, end).
func (g *logprobGrad) chains(n, first, end int) {
	d := g.h.Dim(1)
	right, rightRow := g.rows.kept, first
	if right.data == nil {
		right, rightRow = packPanels(g.kernels, g.pool, packing(g.rows.w.Slice(first, end), backward), g.group), 0
	}
	g.multiply(product{
		m: n, n: d, left: packArgs{src: g.dz, srcType: g.kind, ld: vocabGroup, k: int64(end - first), transposed: 1},
		right: right, rightRow: rightRow, y: start(g.acc), ld: d, yType: float32Type, mode: resume,
	})
}
