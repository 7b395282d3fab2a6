package cpu

import (
	"bytes"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// TestBothWalksGiveTheSameGradients: one worker has enough sequences to take them whole, seven walk by queries and by keys.
func TestBothWalksGiveTheSameGradients(t *testing.T) {
	const heads, groups, dim = 6, 2, 20 // 3 heads to a group: tiles of 21 tokens, which do not end where blocks do
	lengths := []int{65, 1, 200, 64, 130}
	n := 0
	var offsets []int
	for _, l := range lengths {
		offsets = append(offsets, n)
		n += l
	}
	offsets = append(offsets, n)
	for _, isa := range InstructionSets() {
		for _, dtype := range []tensor.DType{tensor.Float32, tensor.BFloat16} {
			t.Run(isa+"/"+dtype.String(), func(t *testing.T) {
				run := func(workers int) (bits [][]byte) {
					r := newRig(t, Options{Workers: workers, ISA: isa}, 8<<20)
					rand := func(heads int) tensor.Tensor { return r.random(dtype, 1, n, heads, dim) }
					q, k, v, o, do, dq, dk, dv := rand(heads), rand(groups), rand(groups), rand(heads), rand(heads), rand(heads), rand(groups), rand(groups)
					seqs := backend.Sequences{Offsets: r.ints([]int{len(offsets)}, func(i int) int { return offsets[i] }), Lengths: lengths}
					opt := backend.Attention{Scale: 0.2, Bias: r.random(tensor.Float32, 1, heads, 200)}
					lse := r.s.Alloc(tensor.Float32, n, heads)
					r.s.Attention(o, lse, q, k, v, seqs, opt)
					r.s.AttentionBackward(dq, dk, dv, do, o, lse, q, k, v, seqs, opt)
					if err := r.s.Sync(); err != nil {
						t.Fatal(err)
					}
					queue := r.s.Queue().(*queue)
					c := attentionGrad{attention: queue.attention(q, k, v, queue.spans, opt)}
					if whole := c.wholes(); whole != (workers == 1) {
						t.Fatalf("%d workers: whole sequences %v", workers, whole)
					}
					return [][]byte{r.bits(o), r.bits(lse), r.bits(dq), r.bits(dk), r.bits(dv)}
				}
				one, seven := run(1), run(7)
				for i, name := range []string{"o", "lse", "dq", "dk", "dv"} {
					if !bytes.Equal(one[i], seven[i]) {
						t.Errorf("%s differs", name)
					}
				}
			})
		}
	}
}
