package backendtest

import (
	"bytes"
	"fmt"
	"math"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// batchSizes multiplies every number of rows from 1 to 200: whatever a kernel does with the rows that are left over after its
// tiles, a row keeps its bits.
func batchSizes(b *bench, storage tensor.DType) error {
	const most = 200
	for _, s := range [][2]int{{33, 65}, {130, 17}, {300, 40}, {1024, 20}} {
		numI, numO := s[0], s[1]
		c := testCase{label("MatMul of 1 to 200 rows", s), most, func(r *rig) {
			x, dy := r.random("x", storage, 1, rows, numI), r.random("dy", storage, 1, rows, numO)
			w, bias := r.random("w", storage, 1, numO, numI), r.random("bias", storage, 1, numO)
			y, wideY := r.output(exact, "y", storage, rows, numO), r.output(exact, "wide y", r.wide, rows, numO)
			dx := r.output(exact, "dx", storage, rows, numI)
			r.do(func(s side) {
				s.MatMul(s.of(y), s.of(x), s.of(w), backend.Epilogue{Bias: s.of(bias)})
				s.MatMul(s.of(wideY), s.of(x), s.of(w), backend.Epilogue{})
				s.MatMulInput(s.of(dx), s.of(dy), s.of(w), backend.Set)
			})
		}}
		whole, err := b.run(c, storage, nil, true)
		if err != nil {
			return err
		}
		for n := 1; n < most; n++ {
			// The last n rows, so that each row gets every place in its tile.
			part, err := b.run(c, storage, upTo(most)[most-n:], true)
			if err != nil {
				return err
			}
			for i, o := range part {
				if !bytes.HasSuffix(whole[i].bits, o.bits) {
					return fmt.Errorf("%s: %v has other bits than the same rows of %v", c.name, o, whole[i])
				}
			}
		}
	}
	return nil
}

// besideNaN multiplies rows, every second of which is NaN: the others have the bits that they have among numbers, also where a kernel
// reads more of a row than there is of it and multiplies what lies there by 0.
func besideNaN(b *bench, storage tensor.DType) error {
	for _, s := range [][3]int{{29, 33, 65}, {17, 65, 33}, {29, 64, 31}, {8, 31, 1100}} {
		n, numI, numO := s[0], s[1], s[2]
		run := func(poisoned bool) ([]*operand, error) {
			return b.run(testCase{label("MatMul beside NaN", s), n, func(r *rig) {
				input := func(name string, columns int) *operand {
					return r.filled(name, storage, func(i int) float64 {
						x := r.rng.NormFloat64()
						if poisoned && i/columns%2 == 1 {
							return math.NaN()
						}
						return x
					}, rows, columns)
				}
				x, dy, w := input("x", numI), input("dy", numO), r.random("w", storage, 1, numO, numI)
				y, dx := r.output(exact, "y", storage, rows, numO), r.output(exact, "dx", storage, rows, numI)
				r.do(func(s side) {
					s.MatMul(s.of(y), s.of(x), s.of(w), backend.Epilogue{})
					s.MatMulInput(s.of(dx), s.of(dy), s.of(w), backend.Set)
				})
			}}, storage, nil, true)
		}
		among, err := run(false)
		if err != nil {
			return err
		}
		beside, err := run(true)
		if err != nil {
			return err
		}
		for i, o := range beside {
			rowBytes := o.dtype.Size() * o.dims[1]
			for r := 0; r < n; r += 2 {
				if !bytes.Equal(among[i].bits[r*rowBytes:(r+1)*rowBytes], o.bits[r*rowBytes:(r+1)*rowBytes]) {
					return fmt.Errorf("%v: row %d has other bits beside rows of NaN", o, r)
				}
			}
		}
	}
	return nil
}

// sequencesAlone compares each sequence of a packed batch with the same sequence by itself, and with the same sequence
// between others, some of which are NaN: a kernel that multiplies masked keys by 0 lets them through.
func sequencesAlone(b *bench, storage tensor.DType) error {
	for _, h := range []heads{{4, 2, 16, 1, true}, {3, 1, 33, 1, false}, {2, 2, 64, 30, false}} {
		lengths := []int{1, 64, 65, 7, 130, 0, 33, 63}
		batch, err := attentionBatch(b, h, storage, lengths, upTo(len(lengths)), nil)
		if err != nil {
			return err
		}
		rng := seeded(h.String())
		for seq := range lengths {
			for _, among := range [][]int{{seq}, rng.Perm(len(lengths))} {
				// Every neighbour is NaN.
				part, err := attentionBatch(b, h, storage, lengths, among, func(other int) bool { return other != seq })
				if err != nil {
					return err
				}
				for i, name := range []string{"o", "lse", "dq", "dk", "dv"} {
					if !bytes.Equal(batch[seq][i], part[seq][i]) {
						return fmt.Errorf("%v, %v: %s of a sequence of %d tokens has other bits in a batch of %d sequences", h, storage, name, lengths[seq], len(among))
					}
				}
			}
		}
	}
	return nil
}

// attentionBatch packs the named sequences, in this order, runs attention forward and backward, and returns the bits of o, lse,
// dq, dk and dv of each sequence. The numbers of a sequence depend on its index alone, or are NaN.
func attentionBatch(b *bench, h heads, storage tensor.DType, lengths, order []int, isNaN func(seq int) bool) ([][][]byte, error) {
	name := fmt.Sprint("batch of ", h, lengths)
	offsets := make([]int, len(lengths)+1)
	for i, l := range lengths {
		offsets[i+1] = offsets[i] + l
	}
	picked, packed := []int{}, []int{}
	for _, seq := range order {
		packed = append(packed, lengths[seq])
		for i := range lengths[seq] {
			picked = append(picked, offsets[seq]+i)
		}
	}
	c := testCase{name, offsets[len(lengths)], func(r *rig) {
		poisoned := make([]bool, r.n)
		for seq := range lengths {
			for i := offsets[seq]; i < offsets[seq+1]; i++ {
				poisoned[i] = isNaN != nil && isNaN(seq)
			}
		}
		input := func(name string, dtype tensor.DType, deviation float64, dims ...int) *operand {
			return r.filled(name, dtype, func(i int) float64 {
				x := deviation * r.rng.NormFloat64()
				if poisoned[i/length(dims[1:])] {
					return math.NaN()
				}
				return x
			}, dims...)
		}
		q, k, v := input("q", storage, h.deviation, rows, h.h, h.k), input("k", storage, 1, rows, h.g, h.k), input("v", storage, 1, rows, h.g, h.k)
		do := input("do", storage, 1, rows, h.h, h.k)
		a, seqs := h.options(r, 200), r.sequences(packed)
		o, lse := r.output(exact, "o", storage, rows, h.h, h.k), r.output(exact, "lse", r.wide, rows, h.h)
		dq, dk, dv := r.output(exact, "dq", storage, rows, h.h, h.k), r.output(exact, "dk", storage, rows, h.g, h.k), r.output(exact, "dv", storage, rows, h.g, h.k)
		r.do(func(s side) {
			s.Attention(s.of(o), s.of(lse), s.of(q), s.of(k), s.of(v), seqs(s), a(s))
			s.AttentionBackward(s.of(dq), s.of(dk), s.of(dv), s.of(do), s.of(o), s.of(lse), s.of(q), s.of(k), s.of(v), seqs(s), a(s))
		})
	}}
	outputs, err := b.run(c, storage, picked, true)
	if err != nil {
		return nil, err
	}
	bits := make([][][]byte, len(lengths))
	first := 0
	for _, seq := range order {
		for _, o := range outputs {
			rowBytes := o.dtype.Size() * length(o.dims[1:])
			bits[seq] = append(bits[seq], o.bits[first*rowBytes:(first+lengths[seq])*rowBytes])
		}
		first += lengths[seq]
	}
	return bits, nil
}
