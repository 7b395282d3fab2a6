package reference

import "alfred/internal/tensor"

// Embedding: y[n] = table[ids[n]-first], or zeros when that row is not held here.
func (q *queue) Embedding(y, table, ids tensor.Tensor, first int) {
	if !q.floats("embedding", y, table) || !q.vocabulary("embedding", "id", ids) {
		return
	}
	yND, tableVD, numD := f64(y), f64(table), table.Dim(1)
	for n, id := range i32(ids) {
		yD := row(yND, n, numD)
		clear(yD)
		if v := int(id) - first; v >= 0 && v < table.Dim(0) {
			copy(yD, row(tableVD, v, numD))
		}
	}
}

// EmbeddingBackward: dtable[ids[n]-first] += dy[n], in the order of n.
func (q *queue) EmbeddingBackward(dtable, dy, ids tensor.Tensor, first int) {
	if !q.floats("embedding backward", dtable, dy) || !q.vocabulary("embedding backward", "id", ids) {
		return
	}
	dtableVD, dyND, numD := f64(dtable), f64(dy), dy.Dim(1)
	for n, id := range i32(ids) {
		if v := int(id) - first; v >= 0 && v < dtable.Dim(0) {
			addScaled(row(dtableVD, v, numD), 1, row(dyND, n, numD))
		}
	}
}
