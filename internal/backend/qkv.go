package backend

import "alfred/internal/tensor"

// Rotary holds the tables of rotary position embedding (Su et al., arXiv:2104.09864) in its half-split form: dimension j
// is paired with dimension j + K/2. The zero value rotates nothing.
type Rotary struct {
	Cos, Sin  tensor.Tensor // [P K/2] wide
	Positions tensor.Tensor // [N] int32, each below P
}

// QKVOps cut fused projections into heads. Rows of the projection come in G groups, each holding the H/G query heads of
// the group, then its key head, then its value head: the layout of Falcon-40B, of which Falcon-7B (one group) and Falcon-RW
// (one query head per group) are special cases.
type QKVOps interface {
	// SplitQKV: q [N H K], k and v [N G K] from qkv [N (H+2G)K]; q and k are rotated.
	SplitQKV(q, k, v, qkv tensor.Tensor, r Rotary)
	// SplitQKVBackward: dqkv = the gradients of q, k, v put back into place, rotated the other way.
	SplitQKVBackward(dqkv, dq, dk, dv tensor.Tensor, r Rotary)
}

// SplitQKV: see QKVOps.
func (s *Stream) SplitQKV(q, k, v, qkv tensor.Tensor, r Rotary) {
	if s.ok(checking("split qkv").qkv(s.wide, q, k, v, qkv, r)) {
		s.queue.SplitQKV(q, k, v, qkv, r)
	}
}

// SplitQKVBackward: see QKVOps.
func (s *Stream) SplitQKVBackward(dqkv, dq, dk, dv tensor.Tensor, r Rotary) {
	if s.ok(checking("split qkv backward").qkv(s.wide, dq, dk, dv, dqkv, r)) {
		s.queue.SplitQKVBackward(dqkv, dq, dk, dv, r)
	}
}

// qkv demands heads, projection and tables that fit together.
func (c *check) qkv(wide tensor.DType, q, k, v, qkv tensor.Tensor, r Rotary) *check {
	n, h, g, d := dim(q, 0), dim(q, 1), dim(k, 1), dim(q, 2)
	c.shape("q", q, n, h, d).shape("k", k, n, g, d).shape("v", v, n, g, d).shape("qkv", qkv, n, (h+2*g)*d).
		dtype("q", q, qkv.DType()).dtype("k", k, qkv.DType()).dtype("v", v, qkv.DType())
	if g == 0 || h%g != 0 {
		c.failf("%d query heads in %d groups", h, g)
	}
	if !r.Cos.Absent() {
		c.shape("cos", r.Cos, dim(r.Cos, 0), d/2).shape("sin", r.Sin, dim(r.Cos, 0), d/2).shape("positions", r.Positions, n).
			dtype("cos", r.Cos, wide).dtype("sin", r.Sin, wide).dtype("positions", r.Positions, tensor.Int32)
		if d%2 != 0 {
			c.failf("rotary needs an even head dimension, not %d", d)
		}
	}
	return c
}
