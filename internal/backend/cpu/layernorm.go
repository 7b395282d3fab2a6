package cpu

import (
	"unsafe"

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
	n, d := x.Dim(0), x.Dim(1)
	q.pool.split(n, rowGrain(d), func(_ *worker, lo, hi int) {
		q.kernels.layerNorm(layerNormArgs{
			x: row(x, lo), gamma: at(gamma), beta: at(beta), y: row(y, lo), mean: row(mean, lo), rstd: row(rstd, lo),
			rows: int64(hi - lo), columns: int64(d), eps: eps, dtype: kind(x),
		})
	})
}

// LayerNormBackward: dx by rows. dγ and dβ are summed over groups of rows whose size depends on the number of rows alone,
// and then over the groups in order.
func (q *queue) LayerNormBackward(dx, dgamma, dbeta, dy, x, gamma, mean, rstd tensor.Tensor) {
	if !q.computes("layer norm backward", dx, dgamma, dbeta, dy, x, gamma, mean, rstd) {
		return
	}
	defer q.end()
	n, d := x.Dim(0), x.Dim(1)
	each := max(8, roundUp((n+63)/64, 8))
	groups := (n + each - 1) / each
	sums := q.scratch.floats(groups * 2 * d)
	q.pool.run(groups, func(_ *worker, g int) {
		lo, hi := g*each, min((g+1)*each, n)
		q.kernels.layerNormBackward(layerNormBackwardArgs{
			dy: row(dy, lo), x: row(x, lo), gamma: at(gamma), mean: row(mean, lo), rstd: row(rstd, lo), dx: row(dx, lo),
			dgamma: start(sums[g*2*d:]), dbeta: start(sums[(g*2+1)*d:]),
			rows: int64(hi - lo), columns: int64(d), dtype: kind(x),
		})
	})
	q.pool.split(d, max(64, elementGrain/max(groups, 1)), func(w *worker, lo, hi int) {
		part := w.scratch.floats(hi - lo)
		for i, out := range []tensor.Tensor{dgamma, dbeta} {
			q.kernels.sumRows(sumRowsArgs{
				out: start(part), x: unsafe.Add(start(sums), 4*(i*d+lo)),
				rows: int64(groups), columns: int64(hi - lo), ld: int64(2 * d), dtype: float32Type,
			})
			for j, v := range part {
				floats(out)[lo+j] += v
			}
		}
	})
}
