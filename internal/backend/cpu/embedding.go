package cpu

import "alfred/internal/tensor"

// Embedding: y[n] = table[ids[n]-first], or zeros when that row is not held here.
func (q *queue) Embedding(y, table, ids tensor.Tensor, first int) {
	if !q.computes("embedding", y, table, ids) {
		return
	}
	defer q.end()
	if q.entries("id", ids) {
		split(q, ids.Len(), rowGrain(y.Cols()), embedding{y: raw(y), table: raw(table), ids: ints(ids), rowBytes: rowBytes(y), first: first, rows: table.Dim(0)})
	}
}

type embedding struct {
	y, table    []byte
	ids         []int32
	rowBytes    int
	first, rows int // that the table holds
}

func (o *embedding) compute(_ *worker, lo, hi int) {
	for n := lo; n < hi; n++ {
		dst := o.y[n*o.rowBytes : (n+1)*o.rowBytes]
		if v := int(o.ids[n]) - o.first; v >= 0 && v < o.rows {
			copy(dst, o.table[v*o.rowBytes:])
		} else {
			clear(dst)
		}
	}
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
