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
	vocabChunk = 512  // entries of one tile
	vocabGroup = 4096 // entries whose gradients exist at a time
)

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

// logits is z [rows][ld] = h·wᵀ over entries [lo, hi), h packed by packLeft.
func (v vocabulary) logits(w *worker, z, h ptr, rows, lo, hi, ld int) {
	p := v.columns(w, lo, hi)
	v.kernels.multiply(multiplyArgs{
		a: h, b: p.data, y: z, k: int64(p.k), rows: int64(rows), columns: int64(hi - lo), ld: int64(ld),
		panelStride: int64(p.depth * v.kernels.panel()), layout: layoutTiles, aType: productType(v.kernels, kind(v.w), p.dtype), bType: p.dtype, yType: float32Type, mode: store,
	})
}

// packLeft packs n rows of h from row lo on as one left operand of w, which has the same type.
func (q *queue) packLeft(h tensor.Tensor, lo, n int) ptr {
	a := rowsOf(h)
	a.dstType = productType(q.kernels, kind(h), kind(h))
	a.src, a.dst = row(h, lo), q.left.bytes(elementSize(a.dstType)*n*depth(q.kernels, h.Dim(1), a.dstType))
	a.columns, a.width, a.balanced = int64(n), int64(q.kernels.rowTile()), 1
	q.kernels.pack(a)
	return a.dst
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
	blocks := (w.Dim(0) + keyBlock - 1) / keyBlock
	sums := newVocabSums(&q.scratch, min(statsRows, h.Dim(0)), blocks)
	for lo := 0; lo < h.Dim(0); lo += statsRows {
		q.statsOf(stats, h, ints(targets), lo, min(statsRows, h.Dim(0)-lo), v, sums, head)
	}
}

// statsOf does n rows from row lo on: the blocks of the vocabulary on all workers, then their sums.
func (q *queue) statsOf(stats, h tensor.Tensor, targets []int32, lo, n int, v vocabulary, sums vocabSums, head backend.Head) {
	entries, scale, out := v.w.Dim(0), float32(head.Scale), floats(stats)[lo*statColumns:]
	q.left.reset()
	left := q.packLeft(h, lo, n)
	for r := range n {
		out[r*statColumns+statTarget] = 0
	}
	q.pool.run((entries+vocabChunk-1)/vocabChunk, func(w *worker, i int) {
		from, to := i*vocabChunk, min((i+1)*vocabChunk, entries)
		z := w.scratch.floats(n * vocabChunk)
		v.logits(w, start(z), left, n, from, to, vocabChunk)
		q.kernels.vocabBlocks(sums.blocks(start(z), n, from, to, vocabChunk, scale))
		for r := range n {
			if t := int(targets[lo+r]) - head.First; t >= from && t < to {
				out[r*statColumns+statTarget] = scale * z[r*vocabChunk+t-from]
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
		columns: columns, rows: rows,
		dz: q.scratch.floats(n * vocabGroup), acc: q.scratch.floats(n * d), right: q.scratch.floats(n * roundUp(d, q.kernels.panel())),
	}
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
	dz      []float32  // [rows][vocabGroup]
	acc     []float32  // [rows][D] chains of dh
	right   []float32  // h as the right operand of dzᵀ·h
	group   ptr        // panels of a group of the vocabulary, for a weight without a stamp
}

// rowsFrom does n rows from row lo on.
func (g *logprobGrad) rowsFrom(lo, n int) {
	entries, d := g.dw.Dim(0), g.h.Dim(1)
	clear(g.acc)
	part := columnsOf(g.h.Slice(lo, lo+n))
	part.columns, part.dstType = int64(d), float32Type
	right := packPanels(g.kernels, g.pool, part, start(g.right))
	for first := 0; first < entries; first += vocabGroup {
		end := min(first+vocabGroup, entries)
		g.left.reset()
		left := g.packLeft(g.h, lo, n)
		g.pool.run((end-first+vocabChunk-1)/vocabChunk, func(w *worker, i int) {
			from := first + i*vocabChunk
			g.chunk(w, left, right, lo, n, first, from, min(from+vocabChunk, end))
		})
		g.chains(n, first, end)
	}
	g.kernels.copyRows(copyRowsArgs{
		dst: row(g.dh, lo), src: start(g.acc), rows: 1, columns: int64(n * d), dstType: kind(g.dh), srcType: float32Type, add: 1,
	})
}

// chunk computes dz for entries [from, to) and adds dzᵀ·h to their rows of dw.
func (g *logprobGrad) chunk(w *worker, left ptr, right panels, lo, n, first, from, to int) {
	z, d := start(g.dz[from-first:]), g.h.Dim(1)
	g.columns.logits(w, z, left, n, from, to, vocabGroup)
	g.kernels.logprobGrad(logprobGradArgs{
		z: z, lse: row(g.lse, lo), entropy: row(g.entropy, lo), dlogp: row(g.dlogp, lo), dentropy: row(g.dentropy, lo),
		targets: row(g.targets, lo), rows: int64(n), columns: int64(to - from), ld: vocabGroup, first: int64(g.head.First + from),
		scale: float32(g.head.Scale),
	})
	tiles := w.scratch.floats(n * (to - from))
	g.kernels.pack(packArgs{
		src: z, dst: start(tiles), ld: vocabGroup, k: int64(n), columns: int64(to - from), width: int64(g.kernels.rowTile()),
		srcType: float32Type, dstType: float32Type, balanced: 1,
	})
	g.kernels.multiply(multiplyArgs{
		a: start(tiles), b: right.data, y: row(g.dw, from), k: int64(n), rows: int64(to - from), columns: int64(d), ld: int64(d),
		panelStride: int64(n * g.kernels.panel()), layout: layoutTiles, aType: float32Type, bType: float32Type, yType: float32Type, mode: add,
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
		m: n, n: d, left: packArgs{src: start(g.dz), srcType: float32Type, ld: vocabGroup, k: int64(end - first), transposed: 1},
		right: right, rightRow: rightRow, y: start(g.acc), ld: d, yType: float32Type, mode: resume,
	})
}
