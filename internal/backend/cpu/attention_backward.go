package cpu

import (
	"unsafe"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// AttentionBackward walks the tiles twice: once by queries for dq, once by blocks of keys for dk and dv. Each sum then has
// one owner and one order, whatever the number of workers; the scores are computed twice for it.
func (q *queue) AttentionBackward(dq, dk, dv, do, o, lse, query, k, v tensor.Tensor, seqs backend.Sequences, a backend.Attention) {
	if !q.computes("attention backward", dq, dk, dv, do, o, lse, query, k, v, seqs.Offsets, a.Bias) {
		return
	}
	defer q.end()
	spans, ok := q.packedSpans(query.Dim(0), seqs)
	if !ok {
		return
	}
	c := &attentionGrad{attention: q.attention(query, k, v, spans, a), do: do, lse: floats(lse)}
	rows := query.Dim(0) * c.heads
	c.delta = q.scratch.floats(rows)
	q.pool.split(rows, rowGrain(c.dim), func(_ *worker, lo, hi int) {
		offset := lo * c.dim * do.DType().Size()
		q.kernels.rowDot(rowDotArgs{
			a: unsafe.Add(at(do), offset), b: unsafe.Add(at(o), offset), out: start(c.delta[lo:]),
			rows: int64(hi - lo), columns: int64(c.dim), dtype: kind(do),
		})
	})
	c.overTiles(false, func(w *worker, t tokenTile) { c.queries(w, t, dq) })
	c.overBlocks(func(w *worker, t tokenTile) { c.keys(w, t, dk, dv) })
}

// attentionGrad is one backward call.
type attentionGrad struct {
	*attention
	do    tensor.Tensor
	lse   []float32
	delta []float32 // do·o of each row
}

// overBlocks calls compute for all blocks of keys of all groups on all workers: tiles whose first token is the block's.
func (c *attentionGrad) overBlocks(compute func(w *worker, t tokenTile)) {
	c.tiles = c.tiles[:0]
	for _, s := range c.spans {
		for first := 0; first < s.keys; first += keyBlock {
			for g := range c.groups {
				c.tiles = append(c.tiles, tokenTile{s: s, g: g, groups: 1, first: first})
			}
		}
	}
	tiles := c.tiles
	c.pool.run(len(tiles), func(w *worker, i int) { compute(w, tiles[i]) })
}

// gradBuffers is what a tile needs to recompute probabilities p and to get ds, the gradient of q·k.
type gradBuffers struct {
	q, do         []float32 // [rows][dim]
	qTiles, tiles []float32 // the same as left operands
	keys, values  []float32 // a block as right operands
	p, ds         []float32 // [rows][64]
}

func (c *attentionGrad) buffers(f *scratch) gradBuffers {
	rows := c.rowTokens * c.share
	return gradBuffers{
		q: f.floats(rows * c.dim), do: f.floats(rows * c.dim), qTiles: f.floats(rows * c.dim), tiles: f.floats(rows * c.dim),
		keys: f.floats(keyBlock * c.dim), values: f.floats(keyBlock * c.dim), p: f.floats(rows * keyBlock), ds: f.floats(rows * keyBlock),
	}
}

func (c *attentionGrad) load(b gradBuffers, t tokenTile) {
	rows := t.count * c.share
	c.gather(b.q, c.q, t)
	c.gather(b.do, c.do, t)
	c.packTiles(b.qTiles, b.q, rows)
	c.packTiles(b.tiles, b.do, rows)
}

// probabilities fills p and ds for n keys of a block.
func (c *attentionGrad) probabilities(b gradBuffers, t tokenTile, first, n int) {
	rows := t.count * c.share
	c.products(b.p, b.qTiles, b.keys, rows, n)
	c.products(b.ds, b.tiles, b.values, rows, n)
	bias, biasLD := c.biasOf(t.g)
	offset := (t.s.first+t.first)*c.heads + t.g*c.share
	c.kernels.attendBackward(attendBackwardArgs{
		scores: start(b.p), dp: start(b.ds), lse: start(c.lse[offset:]), delta: start(c.delta[offset:]), bias: bias,
		rows: int64(rows), heads: int64(c.share), position: int64(t.position()), block: int64(first), biasLD: biasLD,
		tokenLD: int64(c.heads), scale: c.scale,
	})
}

// queries: dq += ds·k over the blocks of keys in order.
func (c *attentionGrad) queries(w *worker, t tokenTile, dq tensor.Tensor) {
	rows := t.count * c.share
	b := c.buffers(&w.scratch)
	right, acc := w.scratch.floats(keyBlock*c.padded), w.scratch.floats(rows*c.padded)
	clear(acc)
	c.load(b, t)
	seen := t.position() + t.count
	for first := 0; first < seen; first += keyBlock {
		n := min(keyBlock, seen-first)
		k, v := c.block(nil, c.k, t, first, n), c.block(nil, c.v, t, first, n)
		c.packKeys(b.keys, k, 0)
		c.packKeys(b.values, v, 0)
		c.packRows(right, k, 0)
		c.probabilities(b, t, first, n)
		c.accumulate(acc, b.ds, right, layoutRows, rows, n)
	}
	for i := range t.count {
		one := t
		one.first += i
		c.addTo(c.address(dq, one, c.dim), kind(dq), acc[i*c.share*c.padded:], c.share, c.dim)
	}
}

// keys: dv += pᵀ·do and dk += dsᵀ·q over the tokens in order, from the block's first key on: earlier ones do not see it.
func (c *attentionGrad) keys(w *worker, t tokenTile, dk, dv tensor.Tensor) {
	s, first := t.s, t.first
	n := min(keyBlock, s.keys-first)
	b := c.buffers(&w.scratch)
	right := w.scratch.floats(c.rowTokens * c.share * c.padded)
	accK, accV := w.scratch.floats(n*c.padded), w.scratch.floats(n*c.padded)
	clear(accK)
	clear(accV)
	c.packKeys(b.keys, c.block(nil, c.k, t, first, n), 0)
	c.packKeys(b.values, c.block(nil, c.v, t, first, n), 0)
	for token := first; token < s.count; token += c.rowTokens {
		t.first, t.count = token, min(c.rowTokens, s.count-token)
		rows := t.count * c.share
		c.load(b, t)
		c.probabilities(b, t, first, n)
		c.packRows(right, c.rows(b.do, rows), 0)
		c.accumulate(accV, b.p, right, layoutColumns, n, rows)
		c.packRows(right, c.rows(b.q, rows), 0)
		c.accumulate(accK, b.ds, right, layoutColumns, n, rows)
	}
	head := func(x tensor.Tensor) ptr { return unsafe.Add(row(x, s.first+first), t.g*c.dim*x.DType().Size()) }
	c.addTo(head(dk), kind(dk), accK, n, c.groups*c.dim)
	c.addTo(head(dv), kind(dv), accV, n, c.groups*c.dim)
}

// accumulate is acc [rows][padded] += a·right, continuing its chains over k.
func (c *attentionGrad) accumulate(acc, a, right []float32, layout int32, rows, k int) {
	c.kernels.multiply(multiplyArgs{
		a: start(a), b: start(right), y: start(acc), k: int64(k), rows: int64(rows), columns: int64(c.padded), ld: int64(c.padded),
		panelStride: int64(k * c.kernels.panel()), layout: layout, aType: float32Type, bType: float32Type, yType: float32Type, mode: resume,
	})
}

// addTo adds acc [rows][padded] to rows of a gradient, ld elements apart.
func (c *attentionGrad) addTo(y ptr, dtype int32, acc []float32, rows, ld int) {
	c.kernels.copyRows(copyRowsArgs{
		dst: y, src: start(acc), rows: int64(rows), columns: int64(c.dim), dstLD: int64(ld), srcLD: int64(c.padded),
		dstType: dtype, srcType: float32Type, add: 1,
	})
}
