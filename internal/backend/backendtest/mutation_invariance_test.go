package backendtest

import (
	"math"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"alfred/internal/backend"
	"alfred/internal/backend/reference"
	"alfred/internal/random"
	"alfred/internal/tensor"
)

// nudge changes the last bit of one element.
func nudge(x tensor.Tensor, i int) { memoryOf(x)[x.DType().Size()*i] ^= 1 }

func TestInvarianceFindsRowsThatDependOnTheBatch(t *testing.T) {
	for _, op := range []string{"MatMul", "MatMulInput", "LayerNorm", "LayerNormBackward", "SplitQKV", "Gelu", "LogProbStats", "LogProbBackward", "SampleBlocks", "AddRows"} {
		// The last row of a batch gets other bits, as it would from a kernel that treats what is left over after its tiles apart.
		d := intercepted(func(name string, writes []tensor.Tensor, run func()) {
			run()
			if name == op && writes[0].Len() > 0 {
				nudge(writes[0], writes[0].Len()-1)
			}
		})
		found := false
		for _, g := range groups {
			b := mustBench(t, d)
			for _, c := range g.cases() {
				if strings.HasPrefix(c.name, op+" ") && rowsAlone(b, c, tensor.Float64) != nil {
					found = true
				}
			}
		}
		if want := op != "AddRows"; found != want { // whose output has no rows of the batch
			t.Errorf("%s: found %v, want %v", op, found, want)
		}
	}
}

func TestInvarianceFindsTiles(t *testing.T) {
	// Blocks of 8 rows; what is left over gets other bits.
	d := intercepted(func(name string, writes []tensor.Tensor, run func()) {
		run()
		if y := writes[0]; name == "MatMul" {
			for n := y.Rows() / 8 * 8; n < y.Rows(); n++ {
				nudge(y, n*y.Cols())
			}
		}
	})
	if batchSizes(mustBench(t, d), tensor.Float64) == nil {
		t.Error("nobody notices")
	}
}

// leaky multiplies the keys after a sequence by 0 and adds them.
type leaky struct{ backend.Queue }

func (q leaky) Attention(o, lse, query, key, value tensor.Tensor, seqs backend.Sequences, a backend.Attention) {
	q.Queue.Attention(o, lse, query, key, value, seqs, a)
	for i := range o.Rows() - 1 {
		*floatAt(o, i*o.Cols()) += 0 * *floatAt(value, (i+1)*value.Cols())
	}
}

func floatAt(x tensor.Tensor, i int) *float64 {
	return (*float64)(unsafe.Pointer(&memoryOf(x)[8*i]))
}

func TestInvarianceFindsNeighboursThatLeak(t *testing.T) {
	d := wrong{reference.New(), func(inner backend.Queue) backend.Queue { return leaky{inner} }}
	if sequencesAlone(mustBench(t, d), tensor.Float64) == nil {
		t.Error("nobody notices")
	}
	if conformance(d, tensor.Float64, "Attention") != nil {
		t.Error("with finite neighbours the leak is 0")
	}
}

func TestInvarianceFindsOtherBits(t *testing.T) {
	nudging := func(op string) backend.Device {
		return intercepted(func(name string, writes []tensor.Tensor, run func()) {
			run()
			if name == op && writes[0].Len() > 0 {
				nudge(writes[0], writes[0].Len()/2)
			}
		})
	}
	if pagedBits(mustBench(t, nudging("AttentionPaged")), tensor.Float64) == nil {
		t.Error("paged attention may have other bits than packed attention")
	}
	if samplerStatistics(mustBench(t, nudging("LogProbStats")), tensor.Float64) == nil {
		t.Error("the sampler's statistics may have other bits than the log-prob head's")
	}
	for _, g := range groups {
		for _, op := range operations {
			cases := slices.DeleteFunc(g.cases(), func(c testCase) bool { return !strings.HasPrefix(c.name, op.name+" ") })
			if len(cases) > 0 && sameBits([]backend.Device{reference.New(), nudging(op.name)}, cases, tensor.Float64) == nil {
				t.Errorf("%s may have other bits with other workers", op.name)
			}
		}
	}
}

func TestChiSquareFindsBias(t *testing.T) {
	logits := make([]float64, 50)
	for v := range logits {
		logits[v] = float64(v) / 25
	}
	p := expected(logits, -1, backend.Draw{Head: backend.Head{Scale: 1}, TopP: 1})
	key := random.Key{Seed: 7, Purpose: random.Rollout}
	draw := func(power float64) []int {
		tokens := make([]int, 20000)
		for i := range tokens {
			u := math.Pow(key.Uniform(1, 2, uint32(i)), power)
			for v := 0; v < len(logits); v++ {
				if tokens[i], u = v, u-p[v]; u < 0 {
					break
				}
			}
		}
		return tokens
	}
	if err := chiSquare(draw(1), p); err != nil {
		t.Errorf("fair: %v", err)
	}
	if chiSquare(draw(1.05), p) == nil {
		t.Error("uniform numbers to the power of 1.05 go unnoticed")
	}
}

// stale keeps a copy of each weight with a Stamp, and does not look at versions.
type stale struct {
	backend.Queue
	copies map[*tensor.Stamp][]byte
}

func (q stale) MatMul(y, x, w tensor.Tensor, e backend.Epilogue) {
	if stamp := w.Stamp(); stamp != nil {
		if kept, ok := q.copies[stamp]; ok {
			now := slices.Clone(memoryOf(w))
			copy(memoryOf(w), kept)
			defer copy(memoryOf(w), now)
		} else {
			q.copies[stamp] = slices.Clone(memoryOf(w))
		}
	}
	q.Queue.MatMul(y, x, w, e)
}

func TestSuiteFindsStaleWeights(t *testing.T) {
	d := wrong{reference.New(), func(inner backend.Queue) backend.Queue { return stale{inner, map[*tensor.Stamp][]byte{}} }}
	if stampedWeights(mustBench(t, d), tensor.Float64) == nil {
		t.Error("nobody notices")
	}
	if err := stampedWeights(mustBench(t, reference.New()), tensor.Float64); err != nil {
		t.Error(err)
	}
}
