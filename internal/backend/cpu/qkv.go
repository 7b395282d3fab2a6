package cpu

import (
	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// SplitQKV: q, k and v from the fused projection; q and k are rotated.
func (q *queue) SplitQKV(query, key, value, qkv tensor.Tensor, r backend.Rotary) {
	q.splitQKV("split qkv", query, key, value, qkv, r, 0)
}

// SplitQKVBackward: dqkv = the gradients put back into place, rotated the other way.
func (q *queue) SplitQKVBackward(dqkv, dq, dk, dv tensor.Tensor, r backend.Rotary) {
	q.splitQKV("split qkv backward", dq, dk, dv, dqkv, r, 1)
}

func (q *queue) splitQKV(name string, query, key, value, qkv tensor.Tensor, r backend.Rotary, backward int32) {
	if !q.computes(name, query, key, value, qkv, r.Cos, r.Sin, r.Positions) {
		return
	}
	defer q.end()
	if !r.Cos.Absent() && !q.below("position", ints(r.Positions), r.Cos.Dim(0)) {
		return
	}
	split(q, qkv.Dim(0), rowGrain(qkv.Dim(1)), splittingQKV{q: query, k: key, v: value, qkv: qkv, rotary: r, backward: backward})
}

type splittingQKV struct {
	q, k, v, qkv tensor.Tensor
	rotary       backend.Rotary
	backward     int32
}

func (o *splittingQKV) compute(w *worker, lo, hi int) {
	a := splitQKVArgs{
		q: row(o.q, lo), k: row(o.k, lo), v: row(o.v, lo), qkv: row(o.qkv, lo), cos: at(o.rotary.Cos), sin: at(o.rotary.Sin),
		rows: int64(hi - lo), heads: int64(o.q.Dim(1)), groups: int64(o.k.Dim(1)), dim: int64(o.q.Dim(2)),
		dtype: kind(o.qkv), backward: o.backward,
	}
	if a.cos != nil {
		a.positions = row(o.rotary.Positions, lo)
	}
	w.kernels.splitQKV(a)
}
