package dry_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/backendtest"
	"alfred/internal/backend/dry"
	"alfred/internal/backend/reference"
	"alfred/internal/tensor"
)

// stream opens a stream with an arena of this size.
func stream(t *testing.T, d backend.Device, bytes int) *backend.Stream {
	t.Helper()
	a, err := d.Arena("program", bytes)
	if err != nil {
		t.Fatal(err)
	}
	s := d.Stream()
	s.Use(a)
	return s
}

// block is a program with the shape of a transformer block, forward and backward, with scratch memory in between. It must not
// look into tensors: on a stream that has failed they are absent.
func block(s *backend.Stream, lengths []int) {
	const d, h, g, k, v = 12, 4, 2, 6, 70
	n, offsets := 0, []int32{0}
	for _, l := range lengths {
		n += l
		offsets = append(offsets, int32(n))
	}
	wide := s.Wide()
	x, w := s.Zeros(wide, n, d), s.Zeros(wide, (h+2*g)*k, d)
	gamma, beta, mean, rstd := s.Zeros(wide, d), s.Zeros(wide, d), s.Zeros(wide, n), s.Zeros(wide, n)
	normed, qkv := s.Zeros(wide, n, d), s.Zeros(wide, n, (h+2*g)*k)
	s.LayerNorm(normed, mean, rstd, x, gamma, beta, 1e-5)
	s.MatMul(qkv, normed, w, backend.Epilogue{})
	q, key, value := s.Zeros(wide, n, h, k), s.Zeros(wide, n, g, k), s.Zeros(wide, n, g, k)
	s.SplitQKV(q, key, value, qkv, backend.Rotary{})
	o, lse, off := s.Zeros(wide, n, h, k), s.Zeros(wide, n, h), s.Zeros(tensor.Int32, len(offsets))
	s.Upload(off, backend.Int32s(offsets))
	seqs, options := backend.Sequences{Offsets: off, Lengths: lengths}, backend.Attention{Scale: 1}
	s.Attention(o, lse, q, key, value, seqs, options)
	mark := s.Arena().Mark()
	logits := s.Zeros(wide, n, v)
	s.Gelu(logits, logits)
	s.Arena().Release(mark)
	dq, dk, dv, do := s.Zeros(wide, n, h, k), s.Zeros(wide, n, g, k), s.Zeros(wide, n, g, k), s.Zeros(wide, n, h, k)
	s.AttentionBackward(dq, dk, dv, do, o, lse, q, key, value, seqs, options)
	dqkv, dw := s.Zeros(wide, n, (h+2*g)*k), s.Zeros(wide, (h+2*g)*k, d)
	s.SplitQKVBackward(dqkv, dq, dk, dv, backend.Rotary{})
	s.MatMulWeight(dw, dqkv, normed)
	s.Arena().Release(0)
	if err := s.Download(backend.Float64s(make([]float64, n*d)), x).Wait(); err != nil {
		s.Fail(err)
	}
}

// TestPeakSuffices: the peak of a dry run is the size of the arena that the program needs, to the byte.
func TestPeakSuffices(t *testing.T) {
	for _, lengths := range [][]int{{1}, {3, 0, 5}, {40, 17}, {}} {
		d := dry.New(dry.Options{Wide: tensor.Float64})
		s := stream(t, d, 0)
		block(s, lengths)
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		peak := s.Arena().Peak()
		for _, c := range []struct {
			bytes int
			fits  bool
		}{{peak, true}, {peak - 1, false}} {
			s := stream(t, reference.New(), c.bytes)
			block(s, lengths)
			if err := s.Sync(); (err == nil) != c.fits {
				t.Errorf("%v: peak %d, arena of %d bytes: %v", lengths, peak, c.bytes, err)
			}
		}
	}
}

// TestPeakOfAnyProgram allocates, marks and releases at random.
func TestPeakOfAnyProgram(t *testing.T) {
	for seed := range uint64(200) {
		program := func(s *backend.Stream) {
			rng := rand.New(rand.NewPCG(seed, 0))
			marks := []int{0}
			for range 30 {
				switch rng.IntN(4) {
				case 0:
					marks = append(marks, s.Arena().Mark())
				case 1:
					if last := len(marks) - 1; last > 0 && s.Err() == nil {
						s.Arena().Release(marks[last])
						marks = marks[:last]
					}
				default:
					dtype := []tensor.DType{tensor.Float32, tensor.BFloat16, tensor.Float64, tensor.Int32}[rng.IntN(4)]
					s.Zeros(dtype, rng.IntN(40), 1+rng.IntN(40))
				}
			}
		}
		s := stream(t, dry.New(dry.Options{}), 0)
		program(s)
		peak := s.Arena().Peak()
		if s.Sync() != nil || peak == 0 {
			t.Fatalf("seed %d: peak %d, %v", seed, peak, s.Err())
		}
		for bytes, fits := range map[int]bool{peak: true, peak - 1: false} {
			s := stream(t, reference.New(), bytes)
			if program(s); (s.Sync() == nil) != fits {
				t.Errorf("seed %d: peak %d, arena of %d bytes: %v", seed, peak, bytes, s.Err())
			}
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	s := stream(t, dry.New(dry.Options{}), 0)
	w := s.Alloc(tensor.BFloat16, 1<<20, 1<<20) // 2 TiB
	x, y := s.Alloc(tensor.BFloat16, 1<<20, 1<<20), s.Alloc(tensor.Float32, 1<<20, 1<<20)
	s.MatMul(y, x, w, backend.Epilogue{})
	if err := s.Sync(); err != nil || s.Arena().Peak() != 8<<40 {
		t.Errorf("peak %d, %v", s.Arena().Peak(), err)
	}
}

func TestCounts(t *testing.T) {
	const n, i, o = 10, 20, 30
	bf, f32 := tensor.BFloat16, tensor.Float32
	offsets := func(s *backend.Stream) tensor.Tensor { return s.Alloc(tensor.Int32, 3) }
	for _, c := range []struct {
		op    string
		flops float64
		bytes float64
		run   func(s *backend.Stream)
	}{
		{"matmul", 2 * n * i * o, 2*(n*i+o*i) + 4*n*o + 2*o, func(s *backend.Stream) {
			s.MatMul(s.Alloc(f32, n, o), s.Alloc(bf, n, i), s.Alloc(bf, o, i), backend.Epilogue{Bias: s.Alloc(bf, o)})
		}},
		{"matmul input gradient", 2 * n * i * o, 2 * (n*i + n*o + o*i), func(s *backend.Stream) {
			s.MatMulInput(s.Alloc(bf, n, i), s.Alloc(bf, n, o), s.Alloc(bf, o, i), backend.Set)
		}},
		{"matmul input gradient", 2 * n * i * o, 2 * (2*n*i + n*o + o*i), func(s *backend.Stream) {
			s.MatMulInput(s.Alloc(bf, n, i), s.Alloc(bf, n, o), s.Alloc(bf, o, i), backend.Add)
		}},
		{"matmul weight gradient", 2 * n * i * o, 4*2*o*i + 2*(n*i+n*o), func(s *backend.Stream) {
			s.MatMulWeight(s.Alloc(f32, o, i), s.Alloc(bf, n, o), s.Alloc(bf, n, i))
		}},
		// Sequences of 4 and 6 tokens have 10 and 21 pairs; 8 heads of 16 take 4·8·16 operations for each.
		{"attention", 4 * 8 * 16 * 31, 2*(2*10*8*16+2*10*2*16) + 4*10*8 + 3*4, func(s *backend.Stream) {
			s.Attention(s.Alloc(bf, n, 8, 16), s.Alloc(f32, n, 8), s.Alloc(bf, n, 8, 16), s.Alloc(bf, n, 2, 16), s.Alloc(bf, n, 2, 16),
				backend.Sequences{Offsets: offsets(s), Lengths: []int{4, 6}}, backend.Attention{})
		}},
		{"attention backward", 10 * 8 * 16 * 31, 2*(4*10*8*16+4*10*2*16) + 4*10*8 + 3*4, func(s *backend.Stream) {
			q := func() tensor.Tensor { return s.Alloc(bf, n, 8, 16) }
			kv := func() tensor.Tensor { return s.Alloc(bf, n, 2, 16) }
			s.AttentionBackward(q(), kv(), kv(), q(), q(), s.Alloc(f32, n, 8), q(), kv(), kv(),
				backend.Sequences{Offsets: offsets(s), Lengths: []int{4, 6}}, backend.Attention{})
		}},
		// One query of 7 keys, three of 5 (which see 3, 4 and 5): 19 pairs; 12 keys are read from a cache of 64.
		{"paged attention", 4 * 8 * 16 * 19, 2*(2*4*8*16+2*12*2*16) + 4*(4*8+2*2+3+2), func(s *backend.Stream) {
			s.AttentionPaged(s.Alloc(bf, 4, 8, 16), s.Alloc(f32, 4, 8), s.Alloc(bf, 4, 8, 16), s.Alloc(bf, 64, 2, 16), s.Alloc(bf, 64, 2, 16),
				backend.Pages{Table: s.Alloc(tensor.Int32, 2, 2), Queries: offsets(s), KeyLengths: s.Alloc(tensor.Int32, 2), PageSize: 16,
					QueryCounts: []int{1, 3}, KeyCounts: []int{7, 5}}, backend.Attention{})
		}},
		{"log-prob", 2 * n * i * o, 4*n*4 + 2*(n*i+o*i) + 4*n, func(s *backend.Stream) {
			s.LogProbStats(s.Alloc(f32, n, 4), s.Alloc(bf, n, i), s.Alloc(bf, o, i), s.Alloc(tensor.Int32, n), backend.Head{})
		}},
		{"embedding", 0, 2*2*n*i + 4*n, func(s *backend.Stream) {
			s.Embedding(s.Alloc(bf, n, i), s.Alloc(bf, 1000, i), s.Alloc(tensor.Int32, n), 0)
		}},
		{"adamw", 0, 2*n + 4*(2*3*n+n), func(s *backend.Stream) {
			s.AdamW(s.Alloc(bf, n), s.Alloc(f32, n), s.Alloc(f32, n), s.Alloc(f32, n), s.Alloc(f32, n), backend.AdamWStep{Step: 1})
		}},
		{"adamw", 0, 4 * (2*3*n + n), func(s *backend.Stream) {
			w := s.Alloc(f32, n)
			s.AdamW(w, w, s.Alloc(f32, n), s.Alloc(f32, n), s.Alloc(f32, n), backend.AdamWStep{Step: 1})
		}},
		{"gradient sum", 0, 4 * 2 * n, func(s *backend.Stream) {
			x := s.Alloc(f32, n)
			s.Enqueue("gradient sum", []tensor.Tensor{x}, []tensor.Tensor{x}, func() error { panic("there is no memory to work on") })
		}},
		{"upload", 0, 4 * n, func(s *backend.Stream) { s.Upload(s.Alloc(f32, n), backend.Float64s(make([]float64, n))) }},
	} {
		t.Run(c.op, func(t *testing.T) {
			d := dry.New(dry.Options{})
			s := stream(t, d, 0)
			c.run(s)
			c.run(s)
			if err := s.Sync(); err != nil {
				t.Fatal(err)
			}
			want := dry.Count{Calls: 2, FLOPs: 2 * c.flops, Bytes: 2 * c.bytes}
			if got := d.Counts()[c.op]; got != want || d.Total() != want {
				t.Errorf("got %+v of %+v, want %+v", got, d.Total(), want)
			}
			if d.Reset(); d.Total() != (dry.Count{}) {
				t.Errorf("after Reset: %+v", d.Total())
			}
		})
	}
}

// loud is a model that says which tensor it was asked for.
type loud struct{ asked []string }

func (m *loud) Fill(dst backend.Host, src tensor.Tensor) {
	m.asked = append(m.asked, src.String())
	dry.Constant{Number: 2.5, Token: 11}.Fill(dst, src)
}

func TestDownloadsComeFromTheModel(t *testing.T) {
	model := &loud{}
	for _, c := range []struct {
		model  dry.Model
		number float64
		token  int32
	}{{nil, 0, 0}, {dry.Constant{Number: -1, Token: 3}, -1, 3}, {model, 2.5, 11}} {
		s := stream(t, dry.New(dry.Options{Model: c.model}), 0)
		scores, tokens := s.Alloc(tensor.BFloat16, 5), s.Alloc(tensor.Int32, 7)
		gotScores, gotTokens := []float32{9, 9, 9, 9, 9}, []int32{9, 9, 9, 9, 9, 9, 9}
		for _, e := range []backend.Event{
			s.Download(backend.Float32s(gotScores), scores), s.Download(backend.Int32s(gotTokens), tokens),
			s.Download(backend.Float32s(nil), s.Alloc(tensor.Float32, 0)),
		} {
			if err := e.Wait(); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 7 {
			if gotTokens[i] != c.token || gotScores[i%5] != float32(c.number) {
				t.Fatalf("%v: got %v, %v", c.model, gotScores, gotTokens)
			}
		}
	}
	if want := "[bfloat16[5] int32[7] float32[0]]"; fmt.Sprint(model.asked) != want {
		t.Errorf("the model was asked for %v, want %v", model.asked, want)
	}
}

func TestRanksShareADevice(t *testing.T) {
	d := dry.New(dry.Options{})
	var group sync.WaitGroup
	for range 8 {
		s := stream(t, d, 0)
		group.Go(func() {
			for range 100 {
				s.Zeros(tensor.Float32, 4)
			}
		})
	}
	group.Wait()
	if got := d.Counts()["zero"]; got.Calls != 800 || got.Bytes != 800*16 {
		t.Errorf("got %+v", got)
	}
	for _, a := range d.Arenas() {
		if a.Name() != "program" || a.Peak() != 100*256 {
			t.Errorf("arena %q has peak %d", a.Name(), a.Peak())
		}
	}
}

// TestEveryOperationIsCounted runs the conformance cases, none of which a dry device can fail.
func TestEveryOperationIsCounted(t *testing.T) {
	d := dry.New(dry.Options{})
	backendtest.RunDeterminism(t, func(int) backend.Device { return d })
	counts := d.Counts()
	for _, op := range []string{
		"matmul", "matmul input gradient", "matmul weight gradient", "sum rows", "layer norm", "layer norm backward", "split qkv", "split qkv backward",
		"attention", "attention backward", "paged attention", "gelu", "gelu backward", "embedding", "embedding backward",
		"log-prob", "log-prob merge", "log-prob backward", "zero", "copy", "add", "gather rows", "scatter rows", "add rows", "sum of squares",
		"adamw", "sample blocks", "sample pick", "sample truncated", "upload", "download",
	} {
		if c := counts[op]; c.Calls == 0 || c.Bytes == 0 {
			t.Errorf("%s: %+v", op, c)
		}
		delete(counts, op)
	}
	if len(counts) > 0 {
		t.Errorf("counted under other names: %v", counts)
	}
}
