package cpu

import (
	"math"
	"unsafe"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// wholeBytes is how much temporary memory a worker takes to have all gradients of a sequence before it.
const wholeBytes = 16 << 20

// AttentionBackward gives each worker whole sequences, group by group. Where there are too few of them, or they are too long, it walks
// twice instead: by queries for dq, and by blocks of keys for dk and dv, which computes the scores twice. Each sum has one owner and
// one order (dq over ascending keys, dk and dv over ascending tokens), so that the bits are the same either way
// (of finite numbers: a key that a token does not see has a gradient of 0 there, which NaN would make NaN).
func (q *queue) AttentionBackward(dq, dk, dv, do, o, lse, query, k, v tensor.Tensor, seqs backend.Sequences, a backend.Attention) {
	if !q.computes("attention backward", dq, dk, dv, do, o, lse, query, k, v, seqs.Offsets, a.Bias) {
		return
	}
	defer q.end()
	spans, ok := q.packedSpans(query.Dim(0), seqs)
	if !ok {
		return
	}
	c := attentionGrad{attention: q.attention(query, k, v, spans, a), do: do, lse: floats(lse)}
	rows := query.Dim(0) * c.heads
	c.delta = q.scratch.floats(rows)
	split(q, rows, rowGrain(c.dim), rowDots{a: do, b: o, out: c.delta, columns: c.dim})
	if c.wholes() {
		c.dq, c.dk, c.dv = dq, dk, dv
		run(q, c.byKeys(math.MaxInt), c)
		return
	}
	c.dq = dq
	run(q, c.byQueries(), c)
	c.dq, c.dk, c.dv = tensor.Tensor{}, dk, dv
	run(q, c.byKeys(keyBlock), c)
}

// rowDots is out [N] = the products of rows of a and b.
type rowDots struct {
	a, b    tensor.Tensor
	out     []float32
	columns int
}

func (o *rowDots) compute(w *worker, lo, hi int) {
	w.kernels.rowDot(rowDotArgs{
		a: element(o.a, lo*o.columns), b: element(o.b, lo*o.columns), out: start(o.out[lo:]),
		rows: int64(hi - lo), columns: int64(o.columns), dtype: kind(o.a),
	})
}

// attentionGrad is one walk of a backward call.
type attentionGrad struct {
	attention
	do         tensor.Tensor
	dq, dk, dv tensor.Tensor // those that this walk sets: dq, or dk and dv, or all
	lse        []float32
	delta      []float32 // do·o of each row
}

// compute does the strips of a portion. A walk by keys has one block of them, any other all that the strip sees.
func (c *attentionGrad) compute(w *worker, i, _ int) {
	for _, t := range c.portion(i) {
		lo, hi := 0, t.seen()
		if c.dq.Absent() {
			lo, hi = t.first, min(t.first+keyBlock, t.s.keys)
		}
		for g := range t.groups {
			one := t
			one.g, one.groups = t.g+g, 1
			w.scratch.reset()
			c.gradients(w, one, lo, hi)
		}
	}
}

// wholes reports whether there are enough sequences for all workers, none of them too long.
func (c *attentionGrad) wholes() bool {
	longest := 0
	for _, s := range c.spans {
		longest = max(longest, s.keys)
	}
	return len(c.spans)*c.groups >= 4*c.pool.size && 4*longest*(2*c.dim+3*c.padded) <= wholeBytes
}

// byKeys cuts the keys of all groups into portions of so many and returns the number of these: strips of the tokens that may see the
// keys, all from the first key on.
func (c *attentionGrad) byKeys(keys int) int {
	c.strips, c.portions = c.strips[:0], c.portions[:0]
	for _, s := range c.spans {
		for first := 0; first < s.keys; first += min(keys, s.keys) {
			for g := range c.groups {
				c.portions = append(c.portions, portion{from: len(c.strips), to: len(c.strips) + 1})
				c.strips = append(c.strips, strip{s: s, g: g, groups: 1, first: first, count: s.count - first})
			}
		}
	}
	return len(c.portions)
}

// gradients stores what the tokens of a strip and keys [lo, hi) give: dq = ds·k, dv = pᵀ·do and dk = dsᵀ·q, where p are the
// probabilities and ds the gradients of q·k. lo is the first key of a block.
func (c *attentionGrad) gradients(w *worker, t strip, lo, hi int) {
	queries, blocks := !c.dq.Absent(), !c.dk.Absent()
	b := c.buffers(&w.scratch, min(t.count, c.rowTokens)*c.share, hi-lo, queries, blocks)
	for first := lo; first < hi; first += keyBlock {
		at, n := first-lo, min(keyBlock, hi-first)
		k := c.block(nil, c.k, t, first, n)
		c.packKeys(b.keys[at*c.dim:], k)
		c.packKeys(b.values[at*c.dim:], c.block(nil, c.v, t, first, n))
		if queries {
			c.packRows(b.right[at*c.padded:], k)
		}
	}
	for from := 0; from < t.count; from += c.rowTokens {
		tile := c.tile(t, from)
		rows := tile.count * c.share
		c.load(b, tile, blocks)
		clear(b.accQ)
		for first := lo; first < min(hi, tile.seen()); first += keyBlock {
			at, n := first-lo, min(keyBlock, hi-first)
			c.probabilities(b, tile, first, at, min(n, tile.seen()-first))
			if queries {
				c.accumulate(b.accQ, b.ds, b.right[at*c.padded:], layoutRows, rows, min(n, tile.seen()-first), n)
			}
			if blocks {
				c.accumulate(b.accV[at*c.padded:], b.p, b.rightDO, layoutColumns, min(n, tile.seen()-first), rows, rows)
				c.accumulate(b.accK[at*c.padded:], b.ds, b.rightQ, layoutColumns, min(n, tile.seen()-first), rows, rows)
			}
		}
		for i := 0; i < tile.count && queries; i++ {
			one := tile
			one.first += i
			c.store(c.address(c.dq, one, c.dim), kind(c.dq), b.accQ[i*c.share*c.padded:], c.share, c.dim)
		}
	}
	if !blocks {
		return
	}
	head := func(x tensor.Tensor) ptr { return unsafe.Add(row(x, t.s.first+lo), t.g*c.dim*x.DType().Size()) }
	c.store(head(c.dk), kind(c.dk), b.accK, hi-lo, c.groups*c.dim)
	c.store(head(c.dv), kind(c.dv), b.accV, hi-lo, c.groups*c.dim)
}

// gradBuffers is what a strip needs.
type gradBuffers struct {
	rows            []float32 // of a tile, as they are
	qTiles, doTiles []float32 // the same as left operands
	rightQ, rightDO []float32 // the same as right operands
	p, ds           []float32 // [rows][64]
	keys, values    []float32 // blocks of keys as right operands, columns first
	right           []float32 // keys as right operands, rows first
	accQ            []float32 // [rows][padded]
	accK, accV      []float32 // [keys][padded]
}

// buffers takes memory for tiles of so many rows and for so many keys.
func (c *attentionGrad) buffers(f *scratch, rows, keys int, queries, blocks bool) gradBuffers {
	whole := roundUp(keys, keyBlock)
	b := gradBuffers{
		rows: f.floats(rows * c.dim), qTiles: f.floats(rows * c.dim), doTiles: f.floats(rows * c.dim),
		p: f.floats(rows * keyBlock), ds: f.floats(rows * keyBlock), keys: f.floats(whole * c.dim), values: f.floats(whole * c.dim),
	}
	if queries {
		b.right, b.accQ = f.floats(whole*c.padded), f.floats(rows*c.padded)
	}
	if blocks {
		b.rightQ, b.rightDO = f.floats(rows*c.padded), f.floats(rows*c.padded)
		b.accK, b.accV = f.floats(keys*c.padded), f.floats(keys*c.padded)
		clear(b.accK)
		clear(b.accV)
	}
	return b
}

// load reads the rows of a tile and packs them as left operands, and as right ones if asked to.
func (c *attentionGrad) load(b gradBuffers, t strip, right bool) {
	rows := c.gather(b.rows, c.q, t)
	c.packTiles(b.qTiles, rows)
	if right {
		c.packRows(b.rightQ, rows)
	}
	rows = c.gather(b.rows, c.do, t)
	c.packTiles(b.doTiles, rows)
	if right {
		c.packRows(b.rightDO, rows)
	}
}

// probabilities fills p and ds for n keys of the block that starts at key first and lies at place at of the packed ones.
func (c *attentionGrad) probabilities(b gradBuffers, t strip, first, at, n int) {
	rows := t.count * c.share
	c.products(b.p, b.qTiles, b.keys[at*c.dim:], rows, n)
	c.products(b.ds, b.doTiles, b.values[at*c.dim:], rows, n)
	bias, biasLD := c.biasOf(t.g)
	offset := (t.s.first+t.first)*c.heads + t.g*c.share
	c.kernels.attendBackward(attendBackwardArgs{
		scores: start(b.p), dp: start(b.ds), lse: start(c.lse[offset:]), delta: start(c.delta[offset:]), bias: bias,
		rows: int64(rows), heads: int64(c.share), position: int64(t.position()), block: int64(first), biasLD: biasLD,
		tokenLD: int64(c.heads), scale: c.scale,
	})
}

// accumulate is acc [rows][padded] += a·right, continuing its chains over k; right was packed with so many rows.
func (c *attentionGrad) accumulate(acc, a, right []float32, layout int32, rows, k, packed int) {
	c.kernels.multiply(multiplyArgs{
		a: start(a), b: start(right), y: start(acc), k: int64(k), rows: int64(rows), columns: int64(c.padded), aLD: keyBlock, ld: int64(c.padded),
		panelStride: int64(packed * c.kernels.panel()), layout: layout, aType: float32Type, bType: float32Type, yType: float32Type, mode: resume,
	})
}

// store sets rows of a gradient, ld elements apart, to acc [rows][padded].
func (c *attentionGrad) store(y ptr, dtype int32, acc []float32, rows, ld int) {
	c.kernels.copyRows(copyRowsArgs{
		dst: y, src: start(acc), rows: int64(rows), columns: int64(c.dim), dstLD: int64(ld), srcLD: int64(c.padded),
		dstType: dtype, srcType: float32Type,
	})
}
