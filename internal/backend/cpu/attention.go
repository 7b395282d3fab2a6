package cpu

import (
	"math"
	"unsafe"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// attentionRows is how many rows (query heads of tokens) a tile holds, about.
const attentionRows = 64

// attention is one call: shapes, and the operands that forward and backward share.
type attention struct {
	*queue
	q, k, v   tensor.Tensor
	bias      tensor.Tensor
	spans     []span
	heads     int // query heads
	groups    int // key/value heads
	share     int // query heads of a group
	dim       int // of a head
	padded    int // dim in whole panels
	rowTokens int // tokens of a tile
	scale     float32
}

func (q *queue) attention(query, k, v tensor.Tensor, spans []span, a backend.Attention) *attention {
	c := &attention{queue: q, q: query, k: k, v: v, bias: a.Bias, spans: spans, scale: float32(a.Scale)}
	c.heads, c.groups, c.dim = query.Dim(1), k.Dim(1), query.Dim(2)
	c.share = c.heads / c.groups
	c.padded = roundUp(c.dim, q.kernels.panel())
	c.rowTokens = max(1, attentionRows/c.share)
	return c
}

// tokenTile is the part of a tile's rows that says which they are: the query heads of group g for tokens
// [first, first+count) of sequence s.
type tokenTile struct {
	s            span
	g            int
	first, count int
}

// position is the number of the key that the tile's first token is.
func (t tokenTile) position() int { return t.s.keys - t.s.count + t.first }

// overTiles calls compute for all tiles of queries on all workers, the longest (those with the most keys) first.
func (c *attention) overTiles(compute func(w *worker, t tokenTile)) {
	c.tiles = c.tiles[:0]
	for _, s := range c.spans {
		for first := (s.count - 1) / c.rowTokens * c.rowTokens; first >= 0 && s.count > 0; first -= c.rowTokens {
			c.tiles = append(c.tiles, tokenTile{s: s, first: first, count: min(c.rowTokens, s.count-first)})
		}
	}
	tiles := c.tiles
	c.pool.run(len(tiles)*c.groups, func(w *worker, i int) {
		t := tiles[i/c.groups]
		t.g = i % c.groups
		compute(w, t)
	})
}

// address of the tile's first row in a tensor [N H K] or, with dim 1, [N H].
func (c *attention) address(x tensor.Tensor, t tokenTile, dim int) ptr {
	return unsafe.Add(at(x), ((t.s.first+t.first)*c.heads+t.g*c.share)*dim*x.DType().Size())
}

// gather copies the tile's rows of x [N H K] to dst [rows][dim] as float32.
func (c *attention) gather(dst []float32, x tensor.Tensor, t tokenTile) {
	c.kernels.copyRows(copyRowsArgs{
		dst: start(dst), src: c.address(x, t, c.dim), rows: int64(t.count), columns: int64(c.share * c.dim),
		dstLD: int64(c.share * c.dim), srcLD: int64(c.heads * c.dim), dstType: float32Type, srcType: kind(x),
	})
}

// packTiles packs rows [rows][dim] as a left operand.
func (c *attention) packTiles(dst, src []float32, rows int) {
	c.kernels.pack(packArgs{
		src: start(src), dst: start(dst), ld: int64(c.dim), k: int64(c.dim), columns: int64(rows), width: int64(c.kernels.rowTile()),
		srcType: float32Type, dstType: float32Type, transposed: 1, balanced: 1,
	})
}

// packRows packs rows [n][dim] as a right operand whose inner dimension are the rows.
func (c *attention) packRows(dst, src []float32, n int) {
	c.kernels.pack(packArgs{
		src: start(src), dst: start(dst), ld: int64(c.dim), k: int64(n), columns: int64(c.dim), width: int64(c.kernels.panel()),
		srcType: float32Type, dstType: float32Type,
	})
}

// packKeys packs rows [n][dim] as a right operand whose columns are the rows.
func (c *attention) packKeys(dst, src []float32, n int) {
	c.kernels.pack(packArgs{
		src: start(src), dst: start(dst), ld: int64(c.dim), k: int64(c.dim), columns: int64(n), width: int64(c.kernels.panel()),
		srcType: float32Type, dstType: float32Type, transposed: 1,
	})
}

// block copies n keys (or values) of head g from the block's first key on to dst [n][dim] as float32.
func (c *attention) block(dst []float32, x tensor.Tensor, s span, g, first, n int) {
	for lo := 0; lo < n; {
		row, length := s.stretch(first, lo, n)
		c.kernels.copyRows(copyRowsArgs{
			dst: start(dst[lo*c.dim:]), src: unsafe.Add(at(x), (row*c.groups+g)*c.dim*x.DType().Size()),
			rows: int64(length), columns: int64(c.dim), dstLD: int64(c.dim), srcLD: int64(c.groups * c.dim),
			dstType: float32Type, srcType: kind(x),
		})
		lo += length
	}
}

// products is scores [rows][64] = rows·keysᵀ; whole panels are written.
func (c *attention) products(scores, tiles, keys []float32, rows, n int) {
	c.kernels.multiply(multiplyArgs{
		a: start(tiles), b: start(keys), y: start(scores), k: int64(c.dim), rows: int64(rows),
		columns: int64(roundUp(n, c.kernels.panel())), ld: keyBlock, panelStride: int64(c.dim * c.kernels.panel()),
		layout: layoutTiles, bType: float32Type, yType: float32Type, mode: store,
	})
}

// biasOf is the bias of the group's first head.
func (c *attention) biasOf(g int) (bias ptr, ld int64) {
	if c.bias.Absent() {
		return nil, 0
	}
	return row(c.bias, g*c.share), int64(c.bias.Dim(1))
}

// Attention: softmax attention of packed sequences.
func (q *queue) Attention(o, lse, query, k, v tensor.Tensor, seqs backend.Sequences, a backend.Attention) {
	if !q.computes("attention", o, lse, query, k, v, seqs.Offsets, a.Bias) {
		return
	}
	defer q.end()
	if spans, ok := q.packedSpans(query.Dim(0), seqs); ok {
		c := q.attention(query, k, v, spans, a)
		c.overTiles(func(w *worker, t tokenTile) { c.forward(w, t, o, lse) })
	}
}

// AttentionPaged: the same over a paged cache.
func (q *queue) AttentionPaged(o, query, keys, values tensor.Tensor, p backend.Pages, a backend.Attention) {
	if !q.computes("paged attention", o, query, keys, values, p.Table, p.Queries, p.KeyLengths, a.Bias) {
		return
	}
	defer q.end()
	if spans, ok := q.pagedSpans(query.Dim(0), keys.Dim(0), p, a.Bias); ok {
		c := q.attention(query, keys, values, spans, a)
		c.overTiles(func(w *worker, t tokenTile) { c.forward(w, t, o, tensor.Tensor{}) })
	}
}

// forward computes a tile: over the blocks of keys, scores, running softmax, and the weighted sum of values.
func (c *attention) forward(w *worker, t tokenTile, o, lse tensor.Tensor) {
	rows, dim := t.count*c.share, c.dim
	f := &w.scratch
	gathered, tiles := f.floats(max(rows, keyBlock)*dim), f.floats(rows*dim)
	keys, values := f.floats(keyBlock*dim), f.floats(keyBlock*c.padded)
	scores, acc := f.floats(rows*keyBlock), f.floats(rows*c.padded)
	m, l := f.floats(rows), f.floats(rows)
	clear(acc)
	clear(l)
	for r := range m {
		m[r] = float32(math.Inf(-1))
	}
	c.gather(gathered, c.q, t)
	c.packTiles(tiles, gathered, rows)
	bias, biasLD := c.biasOf(t.g)
	seen := t.position() + t.count // keys that the last token sees
	for first := 0; first < seen; first += keyBlock {
		n := min(keyBlock, seen-first)
		c.block(gathered, c.k, t.s, t.g, first, n)
		c.packKeys(keys, gathered, n)
		c.products(scores, tiles, keys, rows, n)
		c.block(gathered, c.v, t.s, t.g, first, n)
		c.packRows(values, gathered, n)
		c.kernels.attend(attendArgs{
			scores: start(scores), v: start(values), bias: bias, m: start(m), l: start(l), acc: start(acc),
			rows: int64(rows), heads: int64(c.share), dim: int64(dim), ld: int64(c.padded), keys: int64(n),
			position: int64(t.position()), block: int64(first), biasLD: biasLD, scale: c.scale,
		})
	}
	c.kernels.attendFinish(attendFinishArgs{
		acc: start(acc), l: start(l), o: c.address(o, t, dim), rows: int64(rows), heads: int64(c.share), dim: int64(dim),
		ld: int64(c.padded), tokenLD: int64(c.heads * dim), dtype: kind(o),
	})
	if !lse.Absent() {
		out := floats(lse)
		for r := range rows {
			out[(t.s.first+t.first+r/c.share)*c.heads+t.g*c.share+r%c.share] = float32(float64(m[r]) + math.Log(float64(l[r])))
		}
	}
}
