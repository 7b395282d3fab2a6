package cpu

import "alfred/internal/tensor"

// Embedding: y[n] = table[ids[n]-first], or zeros when that row is not held here.
func (q *queue) Embedding(y, table, ids tensor.Tensor, first int) {
	if !q.computes("embedding", y, table, ids) {
		return
	}
	defer q.end()
	if !q.entries("id", ids) {
		return
	}
	bytes := y.Cols() * y.DType().Size()
	to, from, id := raw(y), raw(table), ints(ids)
	q.pool.split(len(id), rowGrain(y.Cols()), func(_ *worker, lo, hi int) {
		for n := lo; n < hi; n++ {
			dst := to[n*bytes : (n+1)*bytes]
			if v := int(id[n]) - first; v >= 0 && v < table.Dim(0) {
				copy(dst, from[v*bytes:])
			} else {
				clear(dst)
			}
		}
	})
}

// EmbeddingBackward: dtable[ids[n]-first] += dy[n], in the order of n.
func (q *queue) EmbeddingBackward(dtable, dy, ids tensor.Tensor, first int) {
	if !q.computes("embedding backward", dtable, dy, ids) {
		return
	}
	defer q.end()
	if q.entries("id", ids) {
		q.addRows(dtable, dy, ids, first)
	}
}
