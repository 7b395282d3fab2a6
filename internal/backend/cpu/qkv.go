package cpu

import (
	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// SplitQKV: q, k and v from the fused projection; q and k are rotated.
func (q *queue) SplitQKV(query, key, value, qkv tensor.Tensor, r backend.Rotary) {
	q.splitQKV("split qkv", query, key, value, qkv, r, 0)
}

// SplitQKVBackward: dqkv += the gradients put back into place, rotated the other way.
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
	q.pool.split(qkv.Dim(0), rowGrain(qkv.Dim(1)), func(_ *worker, lo, hi int) {
		a := splitQKVArgs{
			q: row(query, lo), k: row(key, lo), v: row(value, lo), qkv: row(qkv, lo), cos: at(r.Cos), sin: at(r.Sin),
			rows: int64(hi - lo), heads: int64(query.Dim(1)), groups: int64(key.Dim(1)), dim: int64(query.Dim(2)),
			dtype: kind(qkv), backward: backward,
		}
		if a.cos != nil {
			a.positions = row(r.Positions, lo)
		}
		q.kernels.splitQKV(a)
	})
}
