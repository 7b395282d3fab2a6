package nn

import (
	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// Sequence is one token sequence and the positions at which the model's head is read: From ≤ t < To. A language-model head
// read at t says the log-prob of token t+1, at the last position that of Next; a score head says a number.
type Sequence struct {
	IDs      []int32
	From, To int
	Next     int32
	Kept     Kept // where a cache keeps activations of the IDs for training; nowhere if it has no cache
}

// Batch is a micro-batch on the device: sequences packed end to end, no padding. One that is done with can be filled again.
type Batch struct {
	IDs, Positions tensor.Tensor // [N] int32; positions count from 0 in each sequence
	Seqs           backend.Sequences
	Rows           tensor.Tensor // [M] int32: the packed rows at which the head is read
	Targets        tensor.Tensor // [M] int32: the token after each of them
	Cache          *Cache        // keeps the activations of all tokens, or nil

	ids, positions, offsets, rows, targets, slots []int32 // the same on the host: room for the next filling
}

// Fill uploads seqs into the stream's current arena.
func (b *Batch) Fill(s *backend.Stream, seqs []Sequence) {
	b.ids, b.positions, b.rows, b.targets = b.ids[:0], b.positions[:0], b.rows[:0], b.targets[:0]
	b.slots, b.Cache = b.slots[:0], nil
	if len(seqs) > 0 {
		b.Cache = seqs[0].Kept.Cache
	}
	b.offsets, b.Seqs.Lengths = append(b.offsets[:0], 0), b.Seqs.Lengths[:0]
	for _, q := range seqs {
		start := int32(len(b.ids))
		b.ids = append(b.ids, q.IDs...)
		for t := range q.IDs {
			b.positions = append(b.positions, int32(t))
		}
		for t := q.From; t < q.To; t++ {
			b.rows = append(b.rows, start+int32(t))
			target := q.Next
			if t+1 < len(q.IDs) {
				target = q.IDs[t+1]
			}
			b.targets = append(b.targets, target)
		}
		b.offsets = append(b.offsets, int32(len(b.ids)))
		b.Seqs.Lengths = append(b.Seqs.Lengths, len(q.IDs))
		b.slots = append(b.slots, q.Kept.Slots...)
		if q.Kept.Cache != b.Cache {
			b.Cache = nil
		}
	}
	b.IDs, b.Positions = upload(s, b.ids), upload(s, b.positions)
	b.Seqs.Offsets = upload(s, b.offsets)
	b.Rows, b.Targets = upload(s, b.rows), upload(s, b.targets)
}

// Slots uploads where the cache keeps the tokens [N]: what only looks at the outputs does without.
func (b *Batch) Slots(s *backend.Stream) tensor.Tensor { return upload(s, b.slots) }

// upload puts xs into a new int32 tensor.
func upload(s *backend.Stream, xs []int32) tensor.Tensor {
	t := s.Alloc(tensor.Int32, len(xs))
	s.Upload(t, backend.Int32s(xs))
	return t
}
