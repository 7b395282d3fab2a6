package reference

import (
	"math"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// The columns of statistics, as LogProbStats describes them.
const (
	statMax = iota
	statSum
	statSumZ
	statTarget
	numStats
)

// LogProbStats: (m, Σ exp(z-m), Σ exp(z-m)·z, z[target] or 0) with z = Scale·h·wᵀ, m = max z.
func (q *queue) LogProbStats(stats, h, w, targets tensor.Tensor, head backend.Head) {
	const op = "log-prob"
	if !q.floats(op, stats, h, w) || !q.vocabulary(op, "target", targets) {
		return
	}
	statsN4 := f64(stats)
	for n, target := range i32(targets) {
		zV := logits(h, w, n, head.Scale)
		summarise(row(statsN4, n, numStats), zV)
		if v := int(target) - head.First; v >= 0 && v < len(zV) {
			row(statsN4, n, numStats)[statTarget] = zV[v]
		}
	}
}

// LogProbMerge combines the stats [S N 4] of S ranks in rank order.
func (q *queue) LogProbMerge(logp, lse, entropy, stats tensor.Tensor) {
	if !q.floats("log-prob merge", logp, lse, entropy, stats) {
		return
	}
	logpN, lseN, entropyN, statsSN4 := f64(logp), f64(lse), f64(entropy), f64(stats)
	numS, numN := stats.Dim(0), stats.Dim(1)
	for n := range numN {
		rank := func(s int) []float64 { return row(statsSN4, s*numN+n, numStats) }
		top := math.Inf(-1)
		for s := range numS {
			top = max(top, rank(s)[statMax])
		}
		sum, sumZ, target := 0.0, 0.0, 0.0
		for s := range numS {
			f := math.Exp(rank(s)[statMax] - top)
			sum += f * rank(s)[statSum]
			sumZ += f * rank(s)[statSumZ]
			target += rank(s)[statTarget]
		}
		lseN[n] = top + math.Log(sum)
		logpN[n] = target - lseN[n]
		entropyN[n] = lseN[n] - sumZ/sum
	}
}

// LogProbBackward, with p = exp(z - lse) and dz = dlogp·(1[target] - p) - dentropy·p·(z - lse + entropy):
//
//	dh = Scale·dz·w   dw += Scale·dzᵀ·h
func (q *queue) LogProbBackward(dh, dw, h, w, targets, lse, entropy, dlogp, dentropy tensor.Tensor, head backend.Head) {
	const op = "log-prob backward"
	if !q.floats(op, dh, dw, h, w, lse, entropy, dlogp, dentropy) || !q.vocabulary(op, "target", targets) {
		return
	}
	dhND, dwVD, hND, wVD, numD := f64(dh), f64(dw), f64(h), f64(w), h.Dim(1)
	clear(dhND)
	lseN, entropyN, dlogpN, dentropyN := f64(lse), f64(entropy), f64(dlogp), f64(dentropy)
	for n, target := range i32(targets) {
		for v, z := range logits(h, w, n, head.Scale) {
			p := math.Exp(z - lseN[n])
			dz := -dlogpN[n] * p
			if v == int(target)-head.First {
				dz += dlogpN[n]
			}
			if dentropyN != nil {
				dz -= dentropyN[n] * p * (z - lseN[n] + entropyN[n])
			}
			addScaled(row(dhND, n, numD), head.Scale*dz, row(wVD, v, numD))
			addScaled(row(dwVD, v, numD), head.Scale*dz, row(hND, n, numD))
		}
	}
}

// logits is Scale·h[n]·wᵀ.
func logits(h, w tensor.Tensor, n int, scale float64) []float64 {
	zV, hND, wVD, numD := make([]float64, w.Dim(0)), f64(h), f64(w), w.Dim(1)
	for v := range zV {
		zV[v] = scale * dot(row(hND, n, numD), row(wVD, v, numD))
	}
	return zV
}

// summarise fills the statistics of one row of logits, 0 in place of the target's.
func summarise(stats, zV []float64) {
	top := math.Inf(-1)
	for _, z := range zV {
		top = max(top, z)
	}
	sum, sumZ := 0.0, 0.0
	for _, z := range zV {
		if math.IsInf(z, -1) {
			continue
		}
		sum += math.Exp(z - top)
		sumZ += math.Exp(z-top) * z
	}
	stats[statMax], stats[statSum], stats[statSumZ], stats[statTarget] = top, sum, sumZ, 0
}
