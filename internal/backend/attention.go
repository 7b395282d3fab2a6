package backend

import "alfred/internal/tensor"

// AttentionBlock is the number of keys that attention handles at a time, counted from key 0 of the sequence. Pages of the
// key/value cache hold a divisor or a multiple of it, so that cached and packed attention cut the keys alike and give the
// same bits.
const AttentionBlock = 64

// Sequences says how the N tokens of a batch divide into sequences, packed end to end.
type Sequences struct {
	Offsets tensor.Tensor // [B+1] int32: sequence b holds tokens Offsets[b] to Offsets[b+1]
	Lengths []int         // the same on the host: tokens of each sequence
}

// Pages says where the keys and values of each sequence lie in a paged cache, and which of its tokens ask.
type Pages struct {
	Table      tensor.Tensor // [B M] int32: page numbers of sequence b in order; a page may be in several rows
	Queries    tensor.Tensor // [B+1] int32: offsets of the queries, as in Sequences
	KeyLengths tensor.Tensor // [B] int32: keys of sequence b so far, its queries' own included
	PageSize   int           // tokens of one page
	// Host copies, for counting work.
	QueryCounts, KeyCounts []int
}

// Attention options. Scores are (q·k + bias)·Scale before the softmax.
type Attention struct {
	Scale float64
	Bias  tensor.Tensor // [H P] wide, by key position (ALiBi, arXiv:2108.12409); absent for none
}

// AttentionOps are causal softmax attention with grouped heads: query head h reads key/value head h/(H/G). The T x T
// matrix of scores is never stored (FlashAttention, arXiv:2205.14135).
type AttentionOps interface {
	// Attention: o [N H K] from q [N H K], k and v [N G K]; lse [N H] wide gets log Σ exp of the scores, or is absent.
	Attention(o, lse, q, k, v tensor.Tensor, seqs Sequences, a Attention)
	// AttentionBackward sets dq, dk, dv; probabilities are recomputed from lse.
	AttentionBackward(dq, dk, dv, do, o, lse, q, k, v tensor.Tensor, seqs Sequences, a Attention)
	// AttentionPaged: o [N H K] and lse [N H] wide, or absent, from q [N H K] and a cache, keys and values [S G K] with
	// S = pages·PageSize. The queries of a sequence are its last tokens. On a batch-invariant device the results have the bits that
	// Attention gives.
	AttentionPaged(o, lse, q, keys, values tensor.Tensor, p Pages, a Attention)
}

// Attention: see AttentionOps.
func (s *Stream) Attention(o, lse, q, k, v tensor.Tensor, seqs Sequences, a Attention) {
	c := checking("attention").attention(s.wide, q, k, v, seqs, a).shape("o", o, q.Dims()...).dtype("o", o, q.DType()).
		optional("lse", lse, dim(q, 0), dim(q, 1)).dtype("lse", lse, s.wide)
	if s.ok(c) {
		s.queue.Attention(o, lse, q, k, v, seqs, a)
	}
}

// AttentionBackward: see AttentionOps.
func (s *Stream) AttentionBackward(dq, dk, dv, do, o, lse, q, k, v tensor.Tensor, seqs Sequences, a Attention) {
	c := checking("attention backward").attention(s.wide, q, k, v, seqs, a).shape("o", o, q.Dims()...).shape("do", do, q.Dims()...).
		shape("dq", dq, q.Dims()...).shape("dk", dk, k.Dims()...).shape("dv", dv, k.Dims()...).
		shape("lse", lse, dim(q, 0), dim(q, 1)).dtype("lse", lse, s.wide).
		dtype("o", o, q.DType()).dtype("do", do, q.DType()).dtype("dq", dq, q.DType()).dtype("dk", dk, q.DType()).dtype("dv", dv, q.DType())
	if s.ok(c) {
		s.queue.AttentionBackward(dq, dk, dv, do, o, lse, q, k, v, seqs, a)
	}
}

// AttentionPaged: see AttentionOps.
func (s *Stream) AttentionPaged(o, lse, q, keys, values tensor.Tensor, p Pages, a Attention) {
	n, h, g, d, b := dim(q, 0), dim(q, 1), dim(keys, 1), dim(q, 2), len(p.KeyCounts)
	c := checking("paged attention").shape("q", q, n, h, d).shape("o", o, n, h, d).shape("keys", keys, -1, g, d).
		shape("values", values, dim(keys, 0), g, d).shape("page table", p.Table, b, -1).shape("query offsets", p.Queries, b+1).
		shape("key lengths", p.KeyLengths, b).optional("bias", a.Bias, h, -1).
		dtype("o", o, q.DType()).dtype("keys", keys, q.DType()).dtype("values", values, q.DType()).dtype("bias", a.Bias, s.wide).
		optional("lse", lse, n, h).dtype("lse", lse, s.wide).
		dtype("page table", p.Table, tensor.Int32).dtype("query offsets", p.Queries, tensor.Int32).dtype("key lengths", p.KeyLengths, tensor.Int32)
	c.groups(h, g)
	if p.PageSize <= 0 || AttentionBlock%p.PageSize != 0 && p.PageSize%AttentionBlock != 0 {
		c.failf("page size %d is neither a divisor nor a multiple of %d", p.PageSize, AttentionBlock)
	} else if dim(keys, 0)%p.PageSize != 0 {
		c.failf("cache of %d tokens in pages of %d", dim(keys, 0), p.PageSize)
	}
	asked := 0
	for _, n := range p.QueryCounts {
		asked += n
	}
	if len(p.QueryCounts) != b {
		c.failf("%d query counts for %d sequences", len(p.QueryCounts), b)
	} else if asked != n {
		c.failf("%d queries, q is %v", asked, q)
	}
	if s.ok(c) {
		s.queue.AttentionPaged(o, lse, q, keys, values, p, a)
	}
}

// attention demands operands of packed attention that fit together.
func (c *check) attention(wide tensor.DType, q, k, v tensor.Tensor, seqs Sequences, a Attention) *check {
	n, h, g, d := dim(q, 0), dim(q, 1), dim(k, 1), dim(q, 2)
	c.shape("q", q, n, h, d).shape("k", k, n, g, d).shape("v", v, n, g, d).
		shape("offsets", seqs.Offsets, len(seqs.Lengths)+1).optional("bias", a.Bias, h, -1).
		dtype("k", k, q.DType()).dtype("v", v, q.DType()).dtype("offsets", seqs.Offsets, tensor.Int32).dtype("bias", a.Bias, wide)
	c.groups(h, g)
	total := 0
	for _, l := range seqs.Lengths {
		total += l
		if !a.Bias.Absent() && l > dim(a.Bias, 1) {
			c.failf("a sequence of %d tokens with a bias for %d positions", l, dim(a.Bias, 1))
		}
	}
	if total != n {
		c.failf("sequences of %d tokens in all, q is %v", total, q)
	}
	return c
}

// groups demands that h query heads divide into g groups.
func (c *check) groups(h, g int) {
	if g == 0 || h%g != 0 {
		c.failf("%d query heads for %d key/value heads", h, g)
	}
}
