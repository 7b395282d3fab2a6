package reference

import (
	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// SplitQKV: q, k and v from the fused projection; q and k are rotated.
func (q *queue) SplitQKV(query, key, value, qkv tensor.Tensor, r backend.Rotary) {
	if !q.floats("split qkv", query, key, value, qkv, r.Cos, r.Sin) || !q.positions("split qkv", r) {
		return
	}
	eachHead(query, key, value, qkv, r, func(n int, head, fused []float64, rotate bool) {
		copy(head, fused)
		if rotate {
			turn(head, r, n, 1)
		}
	})
}

// SplitQKVBackward: dqkv = the gradients of q, k, v put back into place, rotated the other way.
func (q *queue) SplitQKVBackward(dqkv, dq, dk, dv tensor.Tensor, r backend.Rotary) {
	if !q.floats("split qkv backward", dqkv, dq, dk, dv, r.Cos, r.Sin) || !q.positions("split qkv backward", r) {
		return
	}
	eachHead(dq, dk, dv, dqkv, r, func(n int, head, fused []float64, rotate bool) {
		copy(fused, head)
		if rotate {
			turn(fused, r, n, -1)
		}
	})
}

// eachHead walks the heads of every token: the head's own K elements and its K elements in the fused projection, whose
// groups hold H/G query heads, one key head, one value head.
func eachHead(query, key, value, qkv tensor.Tensor, r backend.Rotary, visit func(n int, head, fused []float64, rotate bool)) {
	qNHK, kNGK, vNGK, fusedNC := f64(query), f64(key), f64(value), f64(qkv)
	numH, numG, numK := query.Dim(1), key.Dim(1), query.Dim(2)
	ratio, rotary := numH/numG, !r.Cos.Absent()
	for n := range qkv.Dim(0) {
		for g := range numG {
			group := row(row(fusedNC, n, qkv.Dim(1)), g, (ratio+2)*numK)
			for i := range ratio {
				visit(n, row(qNHK, n*numH+g*ratio+i, numK), row(group, i, numK), rotary)
			}
			visit(n, row(kNGK, n*numG+g, numK), row(group, ratio, numK), rotary)
			visit(n, row(vNGK, n*numG+g, numK), row(group, ratio+1, numK), false)
		}
	}
}

// turn rotates the pairs (j, j+K/2) of a head by the angle of token n's position, or back when sign is -1.
func turn(head []float64, r backend.Rotary, n int, sign float64) {
	half := len(head) / 2
	p := int(i32(r.Positions)[n])
	cosJ, sinJ := row(f64(r.Cos), p, half), row(f64(r.Sin), p, half)
	for j := range half {
		a, b, c, s := head[j], head[j+half], cosJ[j], sign*sinJ[j]
		head[j], head[j+half] = a*c-b*s, b*c+a*s
	}
}

// positions reports whether every position has a row in the rotary tables.
func (q *queue) positions(op string, r backend.Rotary) bool {
	if !r.Cos.Absent() && q.inMemory(op, r.Positions) {
		q.below(op, "position", i32(r.Positions), r.Cos.Dim(0))
	}
	return q.err == nil
}
