package cpu

import (
	"math"
	"unsafe"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// Sizes of what attention works on at a time. They steer speed alone: the bits do not depend on them.
const (
	attentionRows = 64 // rows (query heads of tokens) of a tile, about
	stripTiles    = 8  // tiles that share the packed keys and values of a block, at most
)

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
	dot       int // dim as the kernels want it in products over it, see depth
	rowTokens int // tokens of a tile
	scale     float32
	product   int32 // type in which rows and keys are multiplied, see productType
}

func (q *queue) attention(query, k, v tensor.Tensor, spans []span, a backend.Attention) attention {
	c := attention{queue: q, q: query, k: k, v: v, bias: a.Bias, spans: spans, scale: float32(a.Scale)}
	c.heads, c.groups, c.dim = query.Dim(1), k.Dim(1), query.Dim(2)
	c.share = c.heads / c.groups
	c.padded = roundUp(c.dim, q.kernels.panel())
	c.rowTokens = max(1, attentionRows/c.share)
	c.product = productType(q.kernels, kind(query), kind(k))
	c.dot = depth(q.kernels, c.dim, c.product)
	return c
}

// strip says which rows a worker has before it: the query heads of groups [g, g+groups) for tokens [first, first+count) of
// sequence s. There are several groups for a single token only.
type strip struct {
	s            span
	g, groups    int
	first, count int
}

// position is the number of the key that the strip's first token is.
func (t strip) position() int { return t.s.keys - t.s.count + t.first }

// seen is the number of keys that the strip's last token sees.
func (t strip) seen() int { return t.position() + t.count }

// tile is the part of the strip that starts at its token number from.
func (c *attention) tile(t strip, from int) strip {
	t.first, t.count = t.first+from, min(c.rowTokens, t.count-from)
	return t
}

// byQueries cuts the queries into strips and portions, of each sequence those with the most keys first, and returns the number of portions: single
// strips, or several of one token each. As long as there is enough for all workers, a strip has several tiles, or several groups of its
// only token.
func (c *attention) byQueries() int {
	tiles := 0
	for _, s := range c.spans {
		tiles += c.groups * ((s.count + c.rowTokens - 1) / c.rowTokens)
	}
	each := max(1, tiles/(4*c.pool.size)) // tiles of a portion
	tokens := c.rowTokens * min(stripTiles, each)
	c.strips, c.portions = c.strips[:0], c.portions[:0]
	for _, s := range c.spans {
		groups := 1
		if s.count == 1 {
			groups = min(c.groups, each)
		}
		for first := (s.count - 1) / tokens * tokens; first >= 0 && s.count > 0; first -= tokens {
			for g := 0; g < c.groups; g += groups {
				t := strip{s: s, g: g, groups: min(groups, c.groups-g), first: first, count: min(tokens, s.count-first)}
				c.strips = append(c.strips, t)
				if last := len(c.portions) - 1; last >= 0 && c.portions[last].room >= t.groups && t.count == 1 {
					c.portions[last].room -= t.groups
					c.portions[last].to++
					continue
				}
				room := 0
				if t.count == 1 {
					room = each - t.groups
				}
				c.portions = append(c.portions, portion{from: len(c.strips) - 1, to: len(c.strips), room: room})
			}
		}
	}
	return len(c.portions)
}

// portion is the range of strips that a worker computes in one go, and how many groups of single tokens it could still take.
type portion struct{ from, to, room int }

func (c *attention) portion(i int) []strip { return c.strips[c.portions[i].from:c.portions[i].to] }

// address of the strip's first row in a tensor [N H K] or, with dim 1, [N H].
func (c *attention) address(x tensor.Tensor, t strip, dim int) ptr {
	return unsafe.Add(at(x), ((t.s.first+t.first)*c.heads+t.g*c.share)*dim*x.DType().Size())
}

// gather copies the strip's rows of x [N H K] to buf.
func (c *attention) gather(buf []float32, x tensor.Tensor, t strip) block {
	c.kernels.copyRows(copyRowsArgs{
		dst: start(buf), src: c.address(x, t, c.dim), rows: int64(t.count), columns: int64(c.share * c.dim),
		dstLD: int64(c.share * c.dim), srcLD: int64(c.heads * c.dim), dstType: kind(x), srcType: kind(x),
	})
	return block{src: start(buf), dtype: kind(x), ld: c.dim, n: t.count * c.share}
}

// packTiles packs rows as a left operand.
func (c *attention) packTiles(dst []float32, rows block) {
	c.kernels.pack(packArgs{
		src: rows.src, dst: start(dst), ld: int64(rows.ld), k: int64(c.dim), columns: int64(rows.n), width: int64(c.kernels.rowTile()),
		srcType: rows.dtype, dstType: c.product, transposed: 1, balanced: 1,
	})
}

// block is where n rows lie, ld elements apart: keys or values of a group, or query heads.
type block struct {
	src   ptr
	dtype int32
	ld, n int
}

// block finds n keys from the block's first key on. Keys that do not follow each other in memory are copied to buf.
func (c *attention) block(buf []float32, x tensor.Tensor, t strip, first, n int) block {
	for lo := 0; lo < n; {
		i, length := t.s.stretch(first, lo, n)
		src := unsafe.Add(row(x, i), t.g*c.dim*x.DType().Size())
		if length == n {
			return block{src: src, dtype: kind(x), ld: c.groups * c.dim, n: n}
		}
		c.kernels.copyRows(copyRowsArgs{
			dst: unsafe.Add(start(buf), lo*c.dim*x.DType().Size()), src: src, rows: int64(length), columns: int64(c.dim), dstLD: int64(c.dim),
			srcLD: int64(c.groups * c.dim), dstType: kind(x), srcType: kind(x),
		})
		lo += length
	}
	return block{src: start(buf), dtype: kind(x), ld: c.dim, n: n}
}

// packRows packs a block as a right operand whose inner dimension are the block's rows.
func (c *attention) packRows(dst []float32, b block) {
	c.kernels.pack(packArgs{
		src: b.src, dst: start(dst), ld: int64(b.ld), k: int64(b.n), columns: int64(c.dim), width: int64(c.kernels.panel()),
		srcType: b.dtype, dstType: float32Type,
	})
}

// packKeys packs a block as a right operand whose columns are the block's rows.
func (c *attention) packKeys(dst []float32, b block) {
	c.kernels.pack(packArgs{
		src: b.src, dst: start(dst), ld: int64(b.ld), k: int64(c.dim), columns: int64(b.n), width: int64(c.kernels.panel()),
		srcType: b.dtype, dstType: c.product, transposed: 1,
	})
}

// products is scores [rows][64] = rows·keysᵀ; whole panels are written.
func (c *attention) products(scores, tiles, keys []float32, rows, n int) {
	c.kernels.multiply(multiplyArgs{
		a: start(tiles), b: start(keys), y: start(scores), k: int64(c.dim), rows: int64(rows),
		columns: int64(roundUp(n, c.kernels.panel())), ld: keyBlock, panelStride: int64(c.dot * c.kernels.panel()),
		layout: layoutTiles, aType: c.product, bType: c.product, yType: float32Type, mode: store,
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
		c := attentionForward{attention: q.attention(query, k, v, spans, a), o: o, lse: lse}
		run(q, c.byQueries(), c)
	}
}

// AttentionPaged: the same over a paged cache.
func (q *queue) AttentionPaged(o, lse, query, keys, values tensor.Tensor, p backend.Pages, a backend.Attention) {
	if !q.computes("paged attention", o, lse, query, keys, values, p.Table, p.Queries, p.KeyLengths, a.Bias) {
		return
	}
	defer q.end()
	if spans, ok := q.pagedSpans(query.Dim(0), keys.Dim(0), p, a.Bias); ok {
		c := attentionForward{attention: q.attention(query, keys, values, spans, a), o: o, lse: lse}
		run(q, c.byQueries(), c)
	}
}

// attentionForward takes portions of the queries.
type attentionForward struct {
	attention
	o, lse tensor.Tensor
}

func (c *attentionForward) compute(w *worker, i, _ int) {
	if strips := c.portion(i); strips[0].count == 1 {
		c.single(w, strips)
	} else {
		c.strip(w, strips[0])
	}
}

// sums is what softmax keeps of so many rows: maximum, sum of exponentials, and weighted sum of values.
func (c *attention) sums(f *scratch, rows int) (m, l, acc []float32) {
	m, l, acc = f.floats(rows), f.floats(rows), f.floats(rows*c.padded)
	for r := range m {
		m[r] = negInf
	}
	clear(l)
	clear(acc)
	return m, l, acc
}

// single computes strips of one token each, whose keys are read where they lie.
func (c *attentionForward) single(w *worker, strips []strip) {
	f := &w.scratch
	all := unsafe.Slice((*attendTokenArgs)(f.bytes(len(strips)*int(unsafe.Sizeof(attendTokenArgs{})))), len(strips))
	rows := 0
	for _, t := range strips {
		rows += t.groups * c.share
	}
	m, l, acc := c.sums(f, rows)
	query := f.floats(rows * c.dot)
	clear(query)
	row := 0
	for i, t := range strips {
		all[i] = c.token(t, query[row*c.dot:], m[row:], l[row:], acc[row*c.padded:])
		row += t.groups * c.share
	}
	c.kernels.attendTokens(attendTokensArgs{tokens: start(all), n: int64(len(all))})
	row = 0
	for _, t := range strips {
		c.finish(t, m[row:], l[row:], acc[row*c.padded:])
		row += t.groups * c.share
	}
}

// token says where the keys of a strip of one token lie, and reads its query heads.
func (c *attention) token(t strip, query, m, l, acc []float32) attendTokenArgs {
	c.kernels.copyRows(copyRowsArgs{
		dst: start(query), src: c.address(c.q, t, c.dim), rows: int64(t.groups * c.share), columns: int64(c.dim), dstLD: int64(c.dot), srcLD: int64(c.dim),
		dstType: c.product, srcType: kind(c.q),
	})
	group := t.g * c.dim * c.k.DType().Size()
	a := attendTokenArgs{
		q: start(query), k: unsafe.Add(at(c.k), group), v: unsafe.Add(at(c.v), group), m: start(m), l: start(l), acc: start(acc),
		groups: int64(t.groups), heads: int64(c.share), dim: int64(c.dim), ld: int64(c.groups * c.dim), accLD: int64(c.padded),
		keys: int64(t.seen()), base: int64(t.s.base), scale: c.scale, dtype: kind(c.k),
	}
	a.bias, a.biasLD = c.biasOf(t.g)
	if t.s.table != nil {
		a.table, a.page = start(t.s.table), int64(t.s.page)
	}
	return a
}

// strip computes a strip of one group: over the blocks of keys, and the tiles that see them, scores, running softmax, and the
// weighted sum of values.
func (c *attentionForward) strip(w *worker, t strip) {
	rows, tileRows := t.count*c.share, min(t.count, c.rowTokens)*c.share
	f := &w.scratch
	buf, tiles := f.floats(max(tileRows, keyBlock)*c.dim), f.floats(rows*c.dim)
	keys, values, scores := f.floats(keyBlock*c.dim), f.floats(keyBlock*c.padded), f.floats(tileRows*keyBlock)
	m, l, acc := c.sums(f, rows)
	for from := 0; from < t.count; from += c.rowTokens {
		tile := c.tile(t, from)
		c.packTiles(tiles[from*c.share*c.dim:], c.gather(buf, c.q, tile))
	}
	bias, biasLD := c.biasOf(t.g)
	for first := 0; first < t.seen(); first += keyBlock {
		n := min(keyBlock, t.seen()-first)
		c.packKeys(keys, c.block(buf, c.k, t, first, n))
		c.packRows(values, c.block(buf, c.v, t, first, n))
		for from := 0; from < t.count; from += c.rowTokens {
			tile := c.tile(t, from)
			if tile.seen() <= first {
				continue
			}
			rows, at := tile.count*c.share, from*c.share
			c.products(scores, tiles[at*c.dim:], keys, rows, min(n, tile.seen()-first))
			c.kernels.attend(attendArgs{
				scores: start(scores), v: start(values), bias: bias, m: start(m[at:]), l: start(l[at:]), acc: start(acc[at*c.padded:]),
				rows: int64(rows), heads: int64(c.share), dim: int64(c.dim), ld: int64(c.padded), keys: int64(n),
				position: int64(tile.position()), block: int64(first), biasLD: biasLD, scale: c.scale,
			})
		}
	}
	c.finish(t, m, l, acc)
}

// finish divides the sums of a strip by l and stores them; lse is m + log l.
func (c *attentionForward) finish(t strip, m, l, acc []float32) {
	heads := t.groups * c.share
	rows := t.count * heads
	c.kernels.attendFinish(attendFinishArgs{
		acc: start(acc), l: start(l), o: c.address(c.o, t, c.dim), rows: int64(rows), heads: int64(heads), dim: int64(c.dim),
		ld: int64(c.padded), tokenLD: int64(c.heads * c.dim), dtype: kind(c.o),
	})
	if c.lse.Absent() {
		return
	}
	out := floats(c.lse)[(t.s.first+t.first)*c.heads+t.g*c.share:]
	for r, top := range m[:rows] {
		out[r/heads*c.heads+r%heads] = float32(float64(top) + math.Log(float64(l[r])))
	}
}
