package nn

import (
	"math"

	"alfred/internal/backend"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

// Attention is causal self-attention with grouped heads. QKV is column-parallel by heads, Dense row-parallel: the output is
// a partial sum.
type Attention struct {
	QKV, Dense              Linear // [(H+2G)K D] and [D HK]
	Heads, KVHeads, HeadDim int    // H and G of this rank, K
}

// Positions are the tables that tell attention where a token is, shared by all layers: rotary angles or additive biases.
type Positions struct {
	Cos, Sin tensor.Tensor // [P K/2] wide, or absent
	Bias     tensor.Tensor // [H P] wide for the heads of this rank, or absent
}

// AttentionSaved is what Attention's Backward needs.
type AttentionSaved struct {
	x, q, k, v, o, lse tensor.Tensor
	rows               tensor.Tensor // that were asked for
	read               tensor.Tensor // these of o
}

// Forward sets y [M D] from x [N D]: the outputs at rows.
func (a *Attention) Forward(s *backend.Stream, y, x tensor.Tensor, b *Batch, pos Positions, rows tensor.Tensor) (saved AttentionSaved) {
	saved = AttentionSaved{x: x, rows: rows}
	saved.q, saved.k, saved.v = a.project(s, x, b.IDs.Len(), pos.rotary(b.Positions))
	saved.o = s.Alloc(x.DType(), saved.q.Dims()...)
	saved.lse = s.Alloc(s.Wide(), x.Rows(), a.Heads)
	s.Attention(saved.o, saved.lse, saved.q, saved.k, saved.v, b.Seqs, a.options(pos))
	saved.read = Gather(s, saved.o, rows)
	a.Dense.Forward(s, y, a.flat(saved.read), tensor.Tensor{})
	return saved
}

// Backward sets or adds to dx [N D] from dy [M D].
func (a *Attention) Backward(s *backend.Stream, dx, dy tensor.Tensor, b *Batch, pos Positions, saved AttentionSaved, into backend.Into) {
	mark := s.Arena().Mark()
	dread := s.Alloc(dx.DType(), saved.read.Dims()...)
	a.Dense.Backward(s, a.flat(dread), dy, a.flat(saved.read), backend.Set)
	do := Spread(s, dread, saved.rows, dx.Rows())
	dq, dk, dv := s.Alloc(dx.DType(), saved.q.Dims()...), s.Alloc(dx.DType(), saved.k.Dims()...), s.Alloc(dx.DType(), saved.v.Dims()...)
	s.AttentionBackward(dq, dk, dv, do, saved.o, saved.lse, saved.q, saved.k, saved.v, b.Seqs, a.options(pos))
	dqkv := s.Alloc(dx.DType(), dx.Rows(), a.width())
	s.SplitQKVBackward(dqkv, dq, dk, dv, pos.rotary(b.Positions))
	a.QKV.Backward(s, dx, dqkv, saved.x, into)
	s.Arena().Release(mark)
}

// Cached is Forward for tokens whose sequences began earlier: it writes their keys and values to layer l of the cache and
// attends to everything that the cache holds of their sequences. A cache that keeps activations gets those too.
func (a *Attention) Cached(s *backend.Stream, y, x tensor.Tensor, b *CachedBatch, pos Positions, cache *Cache, l int, rows tensor.Tensor) {
	q, k, v := a.project(s, x, b.IDs.Len(), pos.rotary(b.Positions))
	s.ScatterRows(cache.Keys[l], k, b.Slots)
	s.ScatterRows(cache.Values[l], v, b.Slots)
	o, lse := s.Alloc(x.DType(), q.Dims()...), tensor.Tensor{}
	if cache.Kept != nil {
		lse = s.Alloc(s.Wide(), x.Rows(), a.Heads)
	}
	s.AttentionPaged(o, lse, q, cache.Keys[l], cache.Values[l], b.Pages, a.options(pos))
	if cache.Kept != nil {
		kept := &cache.Kept.Layers[l]
		s.ScatterRows(kept.q, q, b.Slots)
		s.ScatterRows(kept.o, o, b.Slots)
		s.ScatterRows(kept.lse, lse, b.Slots)
	}
	a.Dense.Forward(s, y, a.flat(Gather(s, o, rows)), tensor.Tensor{})
}

// Allot takes memory for the activations of tokens tokens.
func (a *Attention) Allot(s *backend.Stream, kept *LayerActivations, dtype tensor.DType, tokens int) {
	kept.q, kept.o = s.Alloc(dtype, tokens, a.Heads, a.HeadDim), s.Alloc(dtype, tokens, a.Heads, a.HeadDim)
	kept.lse = s.Alloc(s.Wide(), tokens, a.Heads)
}

// Recall is what Forward saves, for tokens that layer l of a cache has kept: x [N D] and rows as Forward would be given them, slots [N].
func (a *Attention) Recall(s *backend.Stream, x tensor.Tensor, cache *Cache, l int, slots, rows tensor.Tensor) AttentionSaved {
	kept := &cache.Kept.Layers[l]
	o := Gather(s, kept.o, slots)
	return AttentionSaved{
		x: x, q: Gather(s, kept.q, slots), k: Gather(s, cache.Keys[l], slots), v: Gather(s, cache.Values[l], slots),
		o: o, lse: Gather(s, kept.lse, slots), rows: rows, read: Gather(s, o, rows),
	}
}

// project computes rotated queries, keys and values of n tokens. The fused projection is scratch.
func (a *Attention) project(s *backend.Stream, x tensor.Tensor, n int, r backend.Rotary) (q, k, v tensor.Tensor) {
	q = s.Alloc(x.DType(), n, a.Heads, a.HeadDim)
	k, v = s.Alloc(x.DType(), n, a.KVHeads, a.HeadDim), s.Alloc(x.DType(), n, a.KVHeads, a.HeadDim)
	mark := s.Arena().Mark()
	qkv := s.Alloc(x.DType(), n, a.width())
	a.QKV.Forward(s, qkv, x, tensor.Tensor{})
	s.SplitQKV(q, k, v, qkv, r)
	s.Arena().Release(mark)
	return q, k, v
}

func (a *Attention) options(pos Positions) backend.Attention {
	return backend.Attention{Scale: 1 / math.Sqrt(float64(a.HeadDim)), Bias: pos.Bias}
}

func (a *Attention) width() int { return (a.Heads + 2*a.KVHeads) * a.HeadDim }

// flat views heads [N H K] as rows [N HK].
func (a *Attention) flat(x tensor.Tensor) tensor.Tensor {
	return x.Reshape(x.Rows(), a.Heads*a.HeadDim)
}

// Params lists the parameters of QKV, then of Dense.
func (a *Attention) Params() []*param.Param { return a.Dense.params(a.QKV.params(nil)) }

func (p Positions) rotary(positions tensor.Tensor) backend.Rotary {
	if p.Cos.Absent() {
		return backend.Rotary{}
	}
	return backend.Rotary{Cos: p.Cos, Sin: p.Sin, Positions: positions}
}
