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

// tokenTile says which rows a tile has: the query heads of groups [g, g+groups) for tokens [first, first+count) of sequence s.
type tokenTile struct {
	s            span
	g, groups    int
	first, count int
}

// only is the tile's part of group g.
func (t tokenTile) only(g int) tokenTile {
	t.g, t.groups = g, 1
	return t
}

// position is the number of the key that the tile's first token is.
func (t tokenTile) position() int { return t.s.keys - t.s.count + t.first }

// overTiles calls compute for all tiles of queries on all workers, the longest (those with the most keys) first. A tile of few
// tokens takes several groups, so that keys are read in long pieces, as long as enough tiles remain for all workers.
func (c *attention) overTiles(several bool, compute func(w *worker, t tokenTile)) {
	c.tiles = c.tiles[:0]
	count := 0
	for _, s := range c.spans {
		count += (s.count + c.rowTokens - 1) / c.rowTokens
	}
	for _, s := range c.spans {
		groups := 1
		if several {
			groups = min(c.groups, max(1, attentionRows/(c.share*max(s.count, 1))), max(1, count*c.groups/(4*c.pool.size)))
		}
		for first := (s.count - 1) / c.rowTokens * c.rowTokens; first >= 0 && s.count > 0; first -= c.rowTokens {
			for g := 0; g < c.groups; g += groups {
				c.tiles = append(c.tiles, tokenTile{s: s, g: g, groups: min(groups, c.groups-g), first: first, count: min(c.rowTokens, s.count-first)})
			}
		}
	}
	tiles := c.tiles
	c.pool.run(len(tiles), func(w *worker, i int) { compute(w, tiles[i]) })
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

// block is where n keys (or values) of some groups lie, rows of the keys ld elements apart.
type block struct {
	src   ptr
	dtype int32
	ld, n int
}

// head is the block's part of group g, counted from the first.
func (b block) head(g, dim int) ptr { return unsafe.Add(b.src, g*dim*elementSize(b.dtype)) }

// block finds n keys from the block's first key on. Keys that do not follow each other in memory are copied to buf, as are
// those of several groups: they are read in one go then.
func (c *attention) block(buf []float32, x tensor.Tensor, t tokenTile, first, n int) block {
	columns := t.groups * c.dim
	for lo := 0; lo < n; {
		i, length := t.s.stretch(first, lo, n)
		src := unsafe.Add(row(x, i), t.g*c.dim*x.DType().Size())
		if length == n && t.groups == 1 {
			return block{src: src, dtype: kind(x), ld: c.groups * c.dim, n: n}
		}
		c.kernels.copyRows(copyRowsArgs{
			dst: start(buf[lo*columns:]), src: src, rows: int64(length), columns: int64(columns), dstLD: int64(columns),
			srcLD: int64(c.groups * c.dim), dstType: float32Type, srcType: kind(x),
		})
		lo += length
	}
	return block{src: start(buf), dtype: float32Type, ld: columns, n: n}
}

// rows is float32 rows [n][dim] as a block.
func (c *attention) rows(src []float32, n int) block {
	return block{src: start(src), dtype: float32Type, ld: c.dim, n: n}
}

// packRows packs head g of a block as a right operand whose inner dimension are the block's rows.
func (c *attention) packRows(dst []float32, b block, g int) {
	c.kernels.pack(packArgs{
		src: b.head(g, c.dim), dst: start(dst), ld: int64(b.ld), k: int64(b.n), columns: int64(c.dim), width: int64(c.kernels.panel()),
		srcType: b.dtype, dstType: float32Type,
	})
}

// packKeys packs head g of a block as a right operand whose columns are the block's rows.
func (c *attention) packKeys(dst []float32, b block, g int) {
	c.kernels.pack(packArgs{
		src: b.head(g, c.dim), dst: start(dst), ld: int64(b.ld), k: int64(c.dim), columns: int64(b.n), width: int64(c.kernels.panel()),
		srcType: b.dtype, dstType: float32Type, transposed: 1,
	})
}

// products is scores [rows][64] = rows·keysᵀ; whole panels are written.
func (c *attention) products(scores, tiles, keys []float32, rows, n int) {
	c.kernels.multiply(multiplyArgs{
		a: start(tiles), b: start(keys), y: start(scores), k: int64(c.dim), rows: int64(rows),
		columns: int64(roundUp(n, c.kernels.panel())), ld: keyBlock, panelStride: int64(c.dim * c.kernels.panel()),
		layout: layoutTiles, aType: float32Type, bType: float32Type, yType: float32Type, mode: store,
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
		c.overTiles(true, func(w *worker, t tokenTile) { c.forward(w, t, o, lse) })
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
		c.overTiles(true, func(w *worker, t tokenTile) { c.forward(w, t, o, tensor.Tensor{}) })
	}
}

// forward computes a tile: over the blocks of keys, scores, running softmax, and the weighted sum of values.
func (c *attention) forward(w *worker, t tokenTile, o, lse tensor.Tensor) {
	rows := t.count * c.share // of each group
	all, tile := rows*t.groups, rows*c.dim
	f := &w.scratch
	bufK, bufV, tiles := f.floats(max(tile, keyBlock*t.groups*c.dim)), f.floats(keyBlock*t.groups*c.dim), f.floats(all*c.dim)
	keys, values, scores := f.floats(keyBlock*c.dim), f.floats(keyBlock*c.padded), f.floats(rows*keyBlock)
	acc, m, l := f.floats(all*c.padded), f.floats(all), f.floats(all)
	clear(acc)
	clear(l)
	for r := range m {
		m[r] = float32(math.Inf(-1))
	}
	for g := range t.groups {
		c.gather(bufK, c.q, t.only(t.g+g))
		c.packTiles(tiles[g*tile:], bufK, rows)
	}
	seen := t.position() + t.count // keys that the last token sees
	for first := 0; first < seen; first += keyBlock {
		n := min(keyBlock, seen-first)
		k, v := c.block(bufK, c.k, t, first, n), c.block(bufV, c.v, t, first, n)
		for g := range t.groups {
			c.packKeys(keys, k, g)
			c.packRows(values, v, g)
			c.products(scores, tiles[g*tile:], keys, rows, n)
			bias, biasLD := c.biasOf(t.g + g)
			c.kernels.attend(attendArgs{
				scores: start(scores), v: start(values), bias: bias, m: start(m[g*rows:]), l: start(l[g*rows:]),
				acc: start(acc[g*rows*c.padded:]), rows: int64(rows), heads: int64(c.share), dim: int64(c.dim), ld: int64(c.padded),
				keys: int64(n), position: int64(t.position()), block: int64(first), biasLD: biasLD, scale: c.scale,
			})
		}
	}
	for g := range t.groups {
		c.finish(t.only(t.g+g), acc[g*rows*c.padded:], m[g*rows:][:rows], l[g*rows:], o, lse)
	}
}

// finish divides the sums of one group by l and stores them; lse is m + log l.
func (c *attention) finish(t tokenTile, acc, m, l []float32, o, lse tensor.Tensor) {
	c.kernels.attendFinish(attendFinishArgs{
		acc: start(acc), l: start(l), o: c.address(o, t, c.dim), rows: int64(len(m)), heads: int64(c.share), dim: int64(c.dim),
		ld: int64(c.padded), tokenLD: int64(c.heads * c.dim), dtype: kind(o),
	})
	if lse.Absent() {
		return
	}
	out := floats(lse)[(t.s.first+t.first)*c.heads+t.g*c.share:]
	for r, top := range m {
		out[r/c.share*c.heads+r%c.share] = float32(float64(top) + math.Log(float64(l[r])))
	}
}
