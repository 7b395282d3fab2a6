package nn

import (
	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// Sequence is one token sequence and the positions at which the model's head is read: From ≤ t < To. A language-model head
// read at t says the log-prob of token t+1 (of nothing in particular at the last position); a score head says a number.
type Sequence struct {
	IDs      []int32
	From, To int
}

// Batch is a micro-batch on the device: sequences packed end to end, no padding.
type Batch struct {
	IDs, Positions tensor.Tensor // [N] int32; positions count from 0 in each sequence
	Seqs           backend.Sequences
	Rows           tensor.Tensor // [M] int32: the packed rows at which the head is read
	Targets        tensor.Tensor // [M] int32: the token after each of them; 0 at the end of a sequence
}

// NewBatch uploads seqs into the stream's current arena.
func NewBatch(s *backend.Stream, seqs []Sequence) *Batch {
	b := &Batch{}
	var ids, positions, rows, targets []int32
	offsets := []int32{0}
	for _, q := range seqs {
		start := int32(len(ids))
		ids = append(ids, q.IDs...)
		for t := range q.IDs {
			positions = append(positions, int32(t))
		}
		for t := q.From; t < q.To; t++ {
			rows = append(rows, start+int32(t))
			var target int32
			if t+1 < len(q.IDs) {
				target = q.IDs[t+1]
			}
			targets = append(targets, target)
		}
		offsets = append(offsets, int32(len(ids)))
		b.Seqs.Lengths = append(b.Seqs.Lengths, len(q.IDs))
	}
	b.IDs, b.Positions = upload(s, ids), upload(s, positions)
	b.Seqs.Offsets = upload(s, offsets)
	b.Rows, b.Targets = upload(s, rows), upload(s, targets)
	return b
}

// upload puts xs into a new int32 tensor.
func upload(s *backend.Stream, xs []int32) tensor.Tensor {
	t := s.Alloc(tensor.Int32, len(xs))
	s.Upload(t, backend.Int32s(xs))
	return t
}
