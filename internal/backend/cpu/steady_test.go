package cpu

import (
	"fmt"
	"reflect"
	"runtime"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

type namedOperation struct {
	name string
	run  func()
}

// operations are all operations of a stream, on n tokens, each with the operands that it has every time.
func (r *rig) operations(dtype tensor.DType, n int) []namedOperation {
	const d, h, g, k, v, page = 96, 4, 2, 24, 300, 16
	s := r.s
	half := func(dims ...int) tensor.Tensor { return r.random(dtype, 0.5, dims...) }
	wide := func(dims ...int) tensor.Tensor { return r.random(tensor.Float32, 0.5, dims...) }
	ids := r.ints([]int{n}, func(i int) int { return i * 7 % v })
	rows := r.ints([]int{n}, func(i int) int { return n - 1 - i })
	x, y, dy := half(n, d), half(n, d), half(n, d)
	w, grad, bias := half(d, d), wide(d, d), half(d)
	kept := half(d, d).WithStamp(&tensor.Stamp{})
	gamma, mean, rstd, dgamma := half(d), wide(n), wide(n), wide(d)
	q, key, value, qkv := half(n, h, k), half(n, g, k), half(n, g, k), half(n, (h+2*g)*k)
	o, lse, dq, dk := half(n, h, k), wide(n, h), half(n, h, k), half(n, g, k)
	rotary := backend.Rotary{Cos: wide(n, k/2), Sin: wide(n, k/2), Positions: rows}
	seqs := backend.Sequences{Offsets: r.ints([]int{3}, func(i int) int { return i * n / 2 }), Lengths: []int{n / 2, n - n/2}}
	attention := backend.Attention{Scale: 0.2, Bias: wide(h, n)}
	pages := backend.Pages{
		Table: r.ints([]int{1, n/page + 1}, func(i int) int { return i }), Queries: r.ints([]int{2}, func(i int) int { return i * n }),
		KeyLengths: r.ints([]int{1}, func(int) int { return n }), PageSize: page, QueryCounts: []int{n}, KeyCounts: []int{n},
	}
	cacheK, cacheV := half((n/page+1)*page, g, k), half((n/page+1)*page, g, k)
	table, dtable := half(v, d), wide(v, d)
	keptTable := half(v, d).WithStamp(&tensor.Stamp{})
	head := backend.Head{Scale: 0.9}
	stats, logp, logits, blocks := wide(n, 4), wide(n), wide(n, v), wide(n, (v+keyBlock-1)/keyBlock, 2)
	tokens, banned := r.ints([]int{n}, func(int) int { return 0 }), r.ints([]int{n}, func(i int) int { return i%5 - 1 })
	uniforms, sum := s.Zeros(tensor.Float64, n), s.Zeros(tensor.Float64, 1)
	float32s, numbers := wide(n, d), make([]float64, x.Len())
	other := r.d.Stream()
	step := backend.AdamWStep{LearningRate: 1e-6, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Step: 1, GradScale: 1}
	master, m, second := wide(d, d), wide(d, d), s.Zeros(tensor.Float32, d, d)
	return []namedOperation{
		{"MatMul", func() { s.MatMul(y, x, w, backend.Epilogue{Bias: bias, Residual: dy}) }},
		{"MatMul, kept", func() { s.MatMul(y, x, kept, backend.Epilogue{}) }},
		{"MatMulInput", func() { s.MatMulInput(y, dy, w, backend.Set) }},
		{"MatMulInput, kept", func() { s.MatMulInput(y, dy, kept, backend.Add) }},
		{"MatMulWeight", func() { s.MatMulWeight(grad, dy, x) }},
		{"SumRows", func() { s.SumRows(dgamma, dy) }},
		{"LayerNorm", func() { s.LayerNorm(y, mean, rstd, x, gamma, bias, 1e-5) }},
		{"LayerNormBackward", func() { s.LayerNormBackward(y, dgamma, dgamma, dy, x, gamma, mean, rstd, backend.Set) }},
		{"SplitQKV", func() { s.SplitQKV(q, key, value, qkv, rotary) }},
		{"SplitQKVBackward", func() { s.SplitQKVBackward(qkv, q, key, value, rotary) }},
		{"Attention", func() { s.Attention(o, lse, q, key, value, seqs, attention) }},
		{"AttentionBackward", func() { s.AttentionBackward(dq, dk, dk, o, o, lse, q, key, value, seqs, attention) }},
		{"AttentionPaged", func() { s.AttentionPaged(o, lse, q, cacheK, cacheV, pages, attention) }},
		{"Gelu", func() { s.Gelu(y, x) }},
		{"GeluBackward", func() { s.GeluBackward(y, dy, x) }},
		{"Embedding", func() { s.Embedding(y, table, ids, 0) }},
		{"EmbeddingBackward", func() { s.EmbeddingBackward(dtable, dy, ids, 0) }},
		{"LogProbStats", func() { s.LogProbStats(stats, x, table, ids, head) }},
		{"LogProbStats, kept", func() { s.LogProbStats(stats, x, keptTable, ids, head) }},
		{"LogProbMerge", func() { s.LogProbMerge(logp, mean, rstd, stats.Reshape(1, n, 4)) }},
		{"LogProbBackward", func() { s.LogProbBackward(y, dtable, x, table, ids, logp, mean, rstd, logp, head) }},
		{"LogProbBackward, kept", func() {
			s.LogProbBackward(y, dtable, x, keptTable, ids, logp, mean, rstd, tensor.Tensor{}, head)
		}},
		{"Zero", func() { s.Zero(y) }},
		{"Copy", func() { s.Copy(y, x) }},
		{"Copy, converting", func() { s.Copy(y, float32s) }},
		{"Add", func() { s.Add(y, x, dy) }},
		{"GatherRows", func() { s.GatherRows(y, x, rows) }},
		{"ScatterRows", func() { s.ScatterRows(y, x, rows) }},
		{"AddRows", func() { s.AddRows(y, x, rows) }},
		{"SumSquares", func() { s.SumSquares(sum, x) }},
		{"AdamW", func() { s.AdamW(w, master, m, second, grad, step) }},
		{"SampleBlocks and SamplePick", func() {
			s.SampleBlocks(blocks, stats, logits, banned, head)
			s.SamplePick(tokens, stats, logits, blocks, uniforms, banned, backend.Draw{Head: head, TopP: 1})
			s.SamplePick(tokens, stats, logits, blocks, uniforms, banned, backend.Draw{Head: head, Greedy: true})
		}},
		{"SampleTruncated", func() {
			s.SampleTruncated(tokens, stats, logits, uniforms, banned, backend.Draw{Head: head, TopK: 9, TopP: 0.9})
			s.SampleTruncated(tokens, stats, logits, uniforms, banned, backend.Draw{Head: head, TopP: 0.9})
		}},
		{"Upload", func() { s.Upload(y, backend.Float64s(numbers)) }},
		{"Download", func() {
			if err := s.Download(backend.Float64s(numbers), y).Wait(); err != nil {
				r.Error(err)
			}
		}},
		{"WaitFor", func() { other.WaitFor(s.Record()) }},
		{"Zeros", func() {
			mark := s.Arena().Mark()
			s.Zeros(dtype, x.Dims()...)
			s.Arena().Release(mark)
		}},
	}
}

// TestSteadyState: from the second time on, operations take nothing from the Go heap, and after some rounds no more scratch.
func TestSteadyState(t *testing.T) {
	if separately {
		t.Skip("scratch memory is not used again in this build")
	}
	for _, dtype := range []tensor.DType{tensor.Float32, tensor.BFloat16} {
		for _, workers := range []int{1, 2, 3} {
			for _, n := range []int{2, 400} {
				t.Run(fmt.Sprintf("%v/%d workers/%d tokens", dtype, workers, n), func(t *testing.T) {
					r := newRig(t, Options{Workers: workers}, 64<<20)
					if dtype == tensor.BFloat16 && r.d.kernels.isa() == "go" {
						t.Skip("kernels in Go widen bfloat16 to memory that they allocate")
					}
					operations := r.operations(dtype, n)
					for _, op := range operations {
						for processors := 1; processors <= 2; processors++ {
							if got := allocations(5, processors, op.run); got > 0 {
								t.Errorf("%s allocates %d times with %d processors", op.name, got, processors)
							}
						}
					}
					round := func() {
						for _, op := range operations {
							op.run()
						}
					}
					scratch := func() int {
						q := r.s.Queue().(*queue)
						return r.d.ScratchBytes() + q.scratch.size()
					}
					for range 5 { // which worker gets which tile is left to chance: all of them shall have grown
						round()
					}
					before := scratch()
					for range 5 {
						round()
					}
					if after := scratch(); after > 2*before {
						t.Errorf("temporary memory grew from %d to %d bytes", before, after)
					}
					if err := r.s.Sync(); err != nil {
						t.Fatal(err)
					}
					for _, p := range r.s.Queue().(*queue).job.places {
						if op := reflect.ValueOf(p).Elem(); !op.IsZero() {
							t.Errorf("%v holds its operands after its end", op.Type())
						}
					}
				})
			}
		}
	}
}

// allocations is the number of objects that each of so many calls of f allocates on the Go heap once all workers have the scratch that
// they need: which of them gets a tile is left to chance, so several attempts are made. Fewer objects than calls are the runtime's own.
func allocations(calls, processors int, f func()) (least int) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
	for attempt := range 20 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range calls {
			f()
		}
		runtime.ReadMemStats(&after)
		each := int(after.Mallocs-before.Mallocs) / calls
		if least = min(least, each); attempt == 0 {
			least = each
		}
		if least == 0 {
			break
		}
	}
	return least
}
