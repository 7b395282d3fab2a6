package cpu

import (
	"math"
	"unsafe"
)

var negInf = float32(math.Inf(-1))

// limitOf is how many keys of a block a row sees.
func limitOf(position, block, row, heads int64) int64 {
	return min(max(position+row/heads-block+1, 0), keyBlock)
}

// visible is the bias of the keys of a block that a row sees, or nil.
func visible(bias ptr, ld, heads, row, block, limit int64) []float32 {
	if bias == nil {
		return nil
	}
	return floatsAt(bias, row%heads*ld+block, limit)
}

func scoreOf(s float32, bias []float32, j int, scale float32) float32 {
	if bias != nil {
		s += bias[j]
	}
	return float32(s * scale)
}

func (goKernels) attend(a attendArgs) {
	for r := range a.rows {
		limit := limitOf(a.position, a.block, r, a.heads)
		if limit == 0 {
			continue
		}
		s, acc := floatsAt(a.scores, r*keyBlock, limit), floatsAt(a.acc, r*a.ld, a.ld)
		softmax(s, &floatsAt(a.m, r, 1)[0], &floatsAt(a.l, r, 1)[0], acc, visible(a.bias, a.biasLD, a.heads, r, a.block, limit), a.scale)
		for c := range a.dim {
			v := floatsAt(a.v, c/goPanel*goPanel*a.keys+c%goPanel, (limit-1)*goPanel+1)
			x := acc[c]
			for j, p := range s {
				x = mulAdd(p, v[j*goPanel], x)
			}
			acc[c] = x
		}
	}
}

// softmax turns the scores of a row into exp(s - m) with the running maximum m, and rescales what was summed before.
func softmax(s []float32, m, l *float32, acc, bias []float32, scale float32) {
	now := *m
	for j := range s {
		s[j] = scoreOf(s[j], bias, j, scale)
		if s[j] > now {
			now = s[j]
		}
	}
	var sum [lanes]float32
	for j := range s {
		s[j] = expf(s[j] - now)
		sum[j%lanes] += s[j]
	}
	keep := expf(*m - now)
	*l = mulAdd(*l, keep, sum16(&sum))
	if *m != now {
		for c := range acc {
			acc[c] = float32(acc[c] * keep)
		}
	}
	*m = now
}

func (goKernels) attendTokens(a attendTokensArgs) {
	for _, t := range unsafe.Slice((*attendTokenArgs)(a.tokens), a.n) {
		attendToken(t)
	}
}

func attendToken(a attendTokenArgs) {
	var scores [keyBlock]float32
	row := func(x ptr, head, j int64) vector {
		i := a.base + j
		if a.table != nil {
			i = int64(unsafe.Slice((*int32)(a.table), j/a.page+1)[j/a.page])*a.page + j%a.page
		}
		return vectorAt(x, a.dtype, i*a.ld+head/a.heads*a.dim, a.dim)
	}
	for first := int64(0); first < a.keys; first += keyBlock {
		s := scores[:min(keyBlock, a.keys-first)]
		for head := range a.groups * a.heads {
			q, acc := floatsAt(a.q, head*a.dim, a.dim), floatsAt(a.acc, head*a.accLD, a.accLD)
			for j := range s {
				k, x := row(a.k, head, first+int64(j)), float32(0)
				for d, y := range q {
					x = mulAdd(y, k.get(d), x)
				}
				s[j] = x
			}
			bias := visible(a.bias, a.biasLD, a.groups*a.heads, head, first, int64(len(s)))
			softmax(s, &floatsAt(a.m, head, 1)[0], &floatsAt(a.l, head, 1)[0], acc, bias, a.scale)
			for j, p := range s {
				v := row(a.v, head, first+int64(j))
				for c := range q {
					acc[c] = mulAdd(p, v.get(c), acc[c])
				}
			}
		}
	}
}

func (goKernels) attendFinish(a attendFinishArgs) {
	for r, l := range floatsAt(a.l, 0, a.rows) {
		r := int64(r)
		inverse := 1 / l
		o := vectorAt(a.o, a.dtype, r/a.heads*a.tokenLD+r%a.heads*a.dim, a.dim)
		for c, x := range floatsAt(a.acc, r*a.ld, a.dim) {
			o.put(c, x*inverse)
		}
	}
}

func (goKernels) attendBackward(a attendBackwardArgs) {
	for r := range a.rows {
		limit := limitOf(a.position, a.block, r, a.heads)
		at := r/a.heads*a.tokenLD + r%a.heads
		s, dp := floatsAt(a.scores, r*keyBlock, keyBlock), floatsAt(a.dp, r*keyBlock, keyBlock)
		lse, delta := floatsAt(a.lse, at, 1)[0], floatsAt(a.delta, at, 1)[0]
		bias := visible(a.bias, a.biasLD, a.heads, r, a.block, limit)
		for j := range limit {
			s[j] = expf(scoreOf(s[j], bias, int(j), a.scale) - lse)
			dp[j] = float32(s[j]*(dp[j]-delta)) * a.scale
		}
		clear(s[limit:])
		clear(dp[limit:])
	}
}

func (goKernels) rowDot(d rowDotArgs) {
	out := floatsAt(d.out, 0, d.rows)
	for r := range d.rows {
		a, b := vectorAt(d.a, d.dtype, r*d.columns, d.columns), vectorAt(d.b, d.dtype, r*d.columns, d.columns)
		var sum [lanes]float32
		for i := range int(d.columns) {
			sum[i%lanes] = mulAdd(a.get(i), b.get(i), sum[i%lanes])
		}
		out[r] = sum16(&sum)
	}
}

// origin is what logits are taken relative to: see logprob.inc.h.
func origin(top float32) float32 {
	if top == negInf {
		return 0
	}
	return top
}

func (goKernels) vocabBlocks(v vocabBlocksArgs) {
	for r := range v.rows {
		for c := int64(0); c < v.columns; c += keyBlock {
			z, at := floatsAt(v.z, r*v.ld+c, min(keyBlock, v.columns-c)), r*v.outLD+c/keyBlock
			top := negInf
			for _, x := range z {
				if x = float32(x * v.scale); x > top {
					top = x
				}
			}
			var sum, moment [lanes]float32
			for i, x := range z {
				x = float32(x * v.scale)
				e := expf(x - origin(top))
				sum[i%lanes] += e
				if x == negInf {
					x = 0
				}
				moment[i%lanes] = mulAdd(e, x, moment[i%lanes])
			}
			floatsAt(v.max, at, 1)[0], floatsAt(v.sum, at, 1)[0], floatsAt(v.moment, at, 1)[0] = top, sum16(&sum), sum16(&moment)
		}
	}
}

func (goKernels) vocabMerge(v vocabMergeArgs) {
	for r := range v.rows {
		tops, sums, moments := floatsAt(v.max, r*v.inLD, v.blocks), floatsAt(v.sum, r*v.inLD, v.blocks), floatsAt(v.moment, r*v.inLD, v.blocks)
		top, s, t := negInf, float32(0), float32(0)
		for _, x := range tops {
			if x > top {
				top = x
			}
		}
		for b, x := range tops {
			e := expf(x - origin(top))
			s, t = mulAdd(sums[b], e, s), mulAdd(moments[b], e, t)
		}
		copy(floatsAt(v.out, r*statColumns, 3), []float32{top, s, t})
	}
}

func (goKernels) logprobGrad(g logprobGradArgs) {
	lse, entropy, dlogp := floatsAt(g.lse, 0, g.rows), floatsAt(g.entropy, 0, g.rows), floatsAt(g.dlogp, 0, g.rows)
	targets := unsafe.Slice((*int32)(g.targets), g.rows)
	for r := range g.rows {
		z, dent := floatsAt(g.z, r*g.ld, g.columns), float32(0)
		if g.dentropy != nil {
			dent = floatsAt(g.dentropy, r, 1)[0]
		}
		target := int64(targets[r]) - g.first
		for v, logit := range z {
			x := float32(logit*g.scale) - lse[r]
			p := expf(x)
			if int64(v) == target {
				z[v] = mulAdd(float32(-dent*p), x+entropy[r], float32(dlogp[r]*(1-p))) * g.scale
			} else {
				z[v] = float32(mulAdd(x+entropy[r], -dent, -dlogp[r])*p) * g.scale
			}
		}
	}
}
