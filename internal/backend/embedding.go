package backend

import "alfred/internal/tensor"

// EmbeddingOps look rows up in a table of which this rank holds rows first to first+V.
type EmbeddingOps interface {
	// Embedding: y[n] = table[ids[n]-first], or zeros when that row is not held here. A negative id is an error.  y [N D]  table [V D]  ids [N] int32.
	Embedding(y, table, ids tensor.Tensor, first int)
	// EmbeddingBackward: dtable[ids[n]-first] += dy[n], in the order of n.  dtable [V D] wide.
	EmbeddingBackward(dtable, dy, ids tensor.Tensor, first int)
}

// Embedding: see EmbeddingOps.
func (s *Stream) Embedding(y, table, ids tensor.Tensor, first int) {
	n, d := dim(ids, 0), dim(table, 1)
	c := checking("embedding").shape("ids", ids, n).shape("table", table, -1, d).shape("y", y, n, d).
		dtype("ids", ids, tensor.Int32).dtype("y", y, table.DType())
	if s.ok(c) {
		s.queue.Embedding(y, table, ids, first)
	}
}

// EmbeddingBackward: see EmbeddingOps.
func (s *Stream) EmbeddingBackward(dtable, dy, ids tensor.Tensor, first int) {
	n, d := dim(ids, 0), dim(dy, 1)
	c := checking("embedding backward").shape("ids", ids, n).shape("dy", dy, n, d).float("dy", dy).shape("dtable", dtable, -1, d).
		dtype("ids", ids, tensor.Int32).dtype("dtable", dtable, s.wide)
	if s.ok(c) {
		s.queue.EmbeddingBackward(dtable, dy, ids, first)
	}
}
