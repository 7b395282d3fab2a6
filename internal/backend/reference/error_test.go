package reference_test

import (
	"math"
	"strings"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/reference"
	"alfred/internal/tensor"
)

// elsewhere is memory that the host cannot address.
type elsewhere int

func (e elsewhere) Size() int { return int(e) }

func TestErrorsSayWhatWhereAndWhy(t *testing.T) {
	none := tensor.Tensor{}
	head := backend.Head{Scale: 1}
	attention := func(b bench, lengths []int, offsets ...int32) {
		x := alloc(b, 3, 1, 2)
		b.Attention(alloc(b, 3, 1, 2), none, x, x, x, backend.Sequences{Offsets: b.ints(offsets...), Lengths: lengths}, backend.Attention{Scale: 1})
	}
	for _, c := range []struct {
		want string
		run  func(b bench)
	}{
		{"reference: embedding: id -5 of row 1 is negative", func(b bench) { b.Embedding(alloc(b, 2, 1), alloc(b, 9, 1), b.ints(3, -5), 0) }},
		{"reference: gather rows: index 9 of row 0 is outside [0, 9)", func(b bench) { b.GatherRows(alloc(b, 1, 1), alloc(b, 9, 1), b.ints(9)) }},
		{"reference: scatter rows: index 4 of row 2 is that of row 0 already", func(b bench) { b.ScatterRows(alloc(b, 9, 1), alloc(b, 3, 1), b.ints(4, 5, 4)) }},
		{"reference: attention: offset 2 of row 1, the lengths on the host make it 1", func(b bench) { attention(b, []int{1, 2}, 0, 2, 3) }},
		{"reference: attention: offset 4 of row 2, the lengths on the host make it 3, and the batch has 3 tokens", func(b bench) { attention(b, []int{1, 2}, 0, 1, 4) }},
		{"reference: attention: offset 1 of row 0, the lengths on the host make it 0", func(b bench) { attention(b, []int{3}, 1, 3) }},
		{"reference: gelu: float32[2]: the reference computes in float64 only", func(b bench) {
			x := b.Alloc(tensor.Float32, 2)
			b.Gelu(x, x)
		}},
		{"reference: zero: float64[2] lies in the memory of another kind of device", func(b bench) { b.Zero(tensor.New(elsewhere(16), 0, tensor.Float64, 2)) }},
		{"reference: upload: int32[1] lies in the memory of another kind of device", func(b bench) {
			b.Upload(tensor.New(elsewhere(4), 0, tensor.Int32, 1), backend.Int32s([]int32{1}))
		}},
		{"reference: sample blocks: banned entry -2 of row 0 is below -1", func(b bench) {
			b.SampleBlocks(alloc(b, 1, 1, 2), alloc(b, 1, 4), alloc(b, 1, 3), b.ints(-2), head)
		}},
		{"reference: sample pick: uniform number 1 of row 0 is outside [0, 1)", func(b bench) {
			b.SamplePick(b.ints(0), alloc(b, 1, 4), alloc(b, 1, 3), alloc(b, 1, 1, 2), b.put([]float64{1}, 1), b.ints(-1), backend.Draw{Head: head, TopP: 1})
		}},
		{"reference: sample pick: blocks 1 to 2 are held here, the vocabulary has 1", func(b bench) {
			b.SamplePick(b.ints(0), alloc(b, 1, 4), alloc(b, 1, 3), alloc(b, 1, 1, 2), alloc(b, 1), b.ints(-1), backend.Draw{Head: backend.Head{First: 64, Scale: 1}, TopP: 1})
		}},
		{"reference: sample truncated: row 0 has no entry to choose from", func(b bench) {
			b.SampleTruncated(b.ints(0), alloc(b, 1, 4), alloc(b, 1, 1), alloc(b, 1), b.ints(0), backend.Draw{Head: head, TopP: 1})
		}},
	} {
		t.Run(c.want, func(t *testing.T) {
			b := newBench(t)
			c.run(b)
			if err := b.Sync(); err == nil || err.Error() != c.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestArenaSizes(t *testing.T) {
	for _, bytes := range []int{-1, 1 << 60} {
		if _, err := reference.New().Arena("weights", bytes); err == nil || !strings.Contains(err.Error(), `arena "weights"`) {
			t.Errorf("%d bytes: %v", bytes, err)
		}
	}
	a, err := reference.New().Arena("none", 0)
	if err != nil || a.Size() != 0 {
		t.Errorf("%v, %v", a, err)
	}
	if _, err := a.Alloc(tensor.Float64, 0, 3); err != nil {
		t.Errorf("nothing does not fit into nothing: %v", err)
	}
	if a, _ := reference.New().Arena("odd", 13); a.Size() != 13 {
		t.Errorf("13 bytes became %d", a.Size())
	}
}

// TestNotANumber: bad logits give some token, and statistics that show it; the run decides what to do.
func TestNotANumber(t *testing.T) {
	b := newBench(t)
	logits := b.put([]float64{0, math.NaN(), 1}, 1, 3)
	blocks, stats, token := alloc(b, 1, 1, 2), alloc(b, 1, 4), b.ints(7)
	for _, greedy := range []bool{false, true} {
		d := backend.Draw{Head: backend.Head{Scale: 1}, Greedy: greedy, TopP: 1}
		b.SampleBlocks(blocks, stats, logits, b.ints(-1), d.Head)
		b.SamplePick(token, stats, logits, blocks, alloc(b, 1), b.ints(-1), d)
		if got := b.getInts(token)[0]; got < 0 || got > 2 || !math.IsNaN(b.get(stats)[0]) {
			t.Errorf("greedy %v: token %d, statistics %v", greedy, got, b.get(stats))
		}
	}
}
