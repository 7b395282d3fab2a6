package cpu

import (
	"unsafe"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// elementGrain is the number of elements below which a range is not worth a tile of its own.
const elementGrain = 1 << 14

// rowGrain is elementGrain in rows of so many elements.
func rowGrain(columns int) int { return max(1, elementGrain/max(columns, 1)) }

// LayerNorm: y = (x-μ)·rstd·γ + β.
func (q *queue) LayerNorm(y, mean, rstd, x, gamma, beta tensor.Tensor, eps float64) {
	if !q.computes("layer norm", y, mean, rstd, x, gamma, beta) {
		return
	}
	defer q.end()
	split(q, x.Dim(0), rowGrain(x.Dim(1)), layerNorm{y: y, mean: mean, rstd: rstd, x: x, gamma: gamma, beta: beta, eps: eps})
}

type layerNorm struct {
	y, mean, rstd, x, gamma, beta tensor.Tensor

	eps float64
}

func (o *layerNorm) compute(w *worker, lo, hi int) {
	w.kernels.layerNorm(layerNormArgs{
		x: row(o.x, lo), gamma: at(o.gamma), beta: at(o.beta), y: row(o.y, lo), mean: row(o.mean, lo), rstd: row(o.rstd, lo),
		rows: int64(hi - lo), columns: int64(o.x.Dim(1)), eps: o.eps, dtype: kind(o.x),
	})
}

// LayerNormBackward: dx by rows. dγ and dβ are summed over groups of rows whose size depends on the number of rows alone,
// and then over the groups in order.
func (q *queue) LayerNormBackward(dx, dgamma, dbeta, dy, x, gamma, mean, rstd tensor.Tensor, into backend.Into) {
	if !q.computes("layer norm backward", dx, dgamma, dbeta, dy, x, gamma, mean, rstd) {
		return
	}
	defer q.end()
	n, d := x.Dim(0), x.Dim(1)
	each := max(8, roundUp((n+63)/64, 8))
	groups := (n + each - 1) / each
	sums := q.scratch.floats(groups * 2 * d)
	run(q, groups, layerNormGrad{dx: dx, dy: dy, x: x, gamma: gamma, mean: mean, rstd: rstd, mode: modeOf(into), each: each, sums: sums})
	split(q, d, max(64, elementGrain/max(groups, 1)), layerNormSums{dgamma: dgamma, dbeta: dbeta, groups: groups, sums: sums})
}

// layerNormGrad takes a group of rows as a tile.
type layerNormGrad struct {
	dx, dy, x, gamma, mean, rstd tensor.Tensor

	mode int32
	each int       // rows of a group
	sums []float32 // [groups][2][D]: dγ and dβ of each
}

func (o *layerNormGrad) compute(w *worker, g, _ int) {
	d, lo, hi := o.x.Dim(1), g*o.each, min((g+1)*o.each, o.x.Dim(0))
	w.kernels.layerNormBackward(layerNormBackwardArgs{
		dy: row(o.dy, lo), x: row(o.x, lo), gamma: at(o.gamma), mean: row(o.mean, lo), rstd: row(o.rstd, lo), dx: row(o.dx, lo),
		dgamma: start(o.sums[g*2*d:]), dbeta: start(o.sums[(g*2+1)*d:]),
		rows: int64(hi - lo), columns: int64(d), dtype: kind(o.x), mode: o.mode,
	})
}

// layerNormSums takes columns.
type layerNormSums struct {
	dgamma, dbeta tensor.Tensor
	groups        int
	sums          []float32
}

func (o *layerNormSums) compute(w *worker, lo, hi int) {
	part, d := w.scratch.floats(hi-lo), o.dgamma.Len()
	for i, out := range [...]tensor.Tensor{o.dgamma, o.dbeta} {
		w.kernels.sumRows(sumRowsArgs{
			out: start(part), x: unsafe.Add(start(o.sums), 4*(i*d+lo)),
			rows: int64(o.groups), columns: int64(hi - lo), ld: int64(2 * d), dtype: float32Type,
		})
		for j, v := range part {
			floats(out)[lo+j] += v
		}
	}
}
