package backend_test

import (
	"math"
	"strings"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/dry"
	"alfred/internal/tensor"
)

// operand is one tensor of a call. Without a name, messages speak of it by its type and shape.
type operand struct {
	name       string
	dtype      tensor.DType
	dims       []int
	optional   bool // may be absent
	anyType    bool
	freeLength bool // of the last dimension
}

func of(name string, dtype tensor.DType, dims ...int) operand {
	return operand{name: name, dtype: dtype, dims: dims}
}

func optional(o operand) operand {
	o.optional = true
	return o
}

func anyType(o operand) operand {
	o.anyType = true
	return o
}

func freeLength(o operand) operand {
	o.freeLength = true
	return o
}

const (
	bf  = tensor.BFloat16
	f32 = tensor.Float32
	f64 = tensor.Float64
	i32 = tensor.Int32
)

// call is an operation with operands that fit together, on a device that is wide in float32.
type call struct {
	op       string
	operands []operand
	run      func(s *backend.Stream, t []tensor.Tensor)
}

func calls() []call {
	type ts = []tensor.Tensor
	head := backend.Head{Scale: 1}
	draw := backend.Draw{Head: head, TopP: 1}
	seqs := func(offsets tensor.Tensor) backend.Sequences {
		return backend.Sequences{Offsets: offsets, Lengths: []int{1, 2}}
	}
	rotary := func(t ts) backend.Rotary { return backend.Rotary{Cos: t[4], Sin: t[5], Positions: t[6]} }
	tables := []operand{optional(of("cos", f32, 9, 2)), of("sin", f32, 9, 2), of("positions", i32, 3)}
	return []call{
		{"matmul", []operand{of("y", bf, 3, 5), of("x", bf, 3, 4), of("w", bf, 5, 4), optional(of("bias", bf, 5)), optional(of("residual", bf, 3, 5))},
			func(s *backend.Stream, t ts) {
				s.MatMul(t[0], t[1], t[2], backend.Epilogue{Bias: t[3], Residual: t[4]})
			}},
		{"matmul input gradient", []operand{of("dx", bf, 3, 4), of("dy", bf, 3, 5), of("w", bf, 5, 4)},
			func(s *backend.Stream, t ts) { s.MatMulInput(t[0], t[1], t[2], backend.Set) }},
		{"matmul weight gradient", []operand{of("dw", f32, 5, 4), of("dy", bf, 3, 5), of("x", bf, 3, 4)},
			func(s *backend.Stream, t ts) { s.MatMulWeight(t[0], t[1], t[2]) }},
		{"sum rows", []operand{of("db", f32, 5), anyType(of("dy", bf, 3, 5))}, func(s *backend.Stream, t ts) { s.SumRows(t[0], t[1]) }},
		{"layer norm", []operand{of("y", bf, 3, 4), of("mean", f32, 3), of("rstd", f32, 3), of("x", bf, 3, 4), of("gamma", bf, 4), of("beta", bf, 4)},
			func(s *backend.Stream, t ts) { s.LayerNorm(t[0], t[1], t[2], t[3], t[4], t[5], 1e-5) }},
		{"layer norm backward", []operand{of("dx", bf, 3, 4), of("dgamma", f32, 4), of("dbeta", f32, 4), of("dy", bf, 3, 4), of("x", bf, 3, 4),
			of("gamma", bf, 4), of("mean", f32, 3), of("rstd", f32, 3)},
			func(s *backend.Stream, t ts) {
				s.LayerNormBackward(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], backend.Set)
			}},
		{"split qkv", append([]operand{of("q", bf, 3, 4, 4), of("k", bf, 3, 2, 4), of("v", bf, 3, 2, 4), of("qkv", bf, 3, 32)}, tables...),
			func(s *backend.Stream, t ts) { s.SplitQKV(t[0], t[1], t[2], t[3], rotary(t)) }},
		{"split qkv backward", append([]operand{of("q", bf, 3, 4, 4), of("k", bf, 3, 2, 4), of("v", bf, 3, 2, 4), of("qkv", bf, 3, 32)}, tables...),
			func(s *backend.Stream, t ts) { s.SplitQKVBackward(t[3], t[0], t[1], t[2], rotary(t)) }},
		{"attention", []operand{of("o", bf, 3, 4, 2), optional(of("lse", f32, 3, 4)), of("q", bf, 3, 4, 2), of("k", bf, 3, 2, 2), of("v", bf, 3, 2, 2),
			of("offsets", i32, 3), optional(freeLength(of("bias", f32, 4, 9)))},
			func(s *backend.Stream, t ts) {
				s.Attention(t[0], t[1], t[2], t[3], t[4], seqs(t[5]), backend.Attention{Scale: 1, Bias: t[6]})
			}},
		{"attention backward", []operand{of("dq", bf, 3, 4, 2), of("dk", bf, 3, 2, 2), of("dv", bf, 3, 2, 2), of("do", bf, 3, 4, 2), of("o", bf, 3, 4, 2),
			of("lse", f32, 3, 4), of("q", bf, 3, 4, 2), of("k", bf, 3, 2, 2), of("v", bf, 3, 2, 2), of("offsets", i32, 3), optional(freeLength(of("bias", f32, 4, 9)))},
			func(s *backend.Stream, t ts) {
				s.AttentionBackward(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], seqs(t[9]), backend.Attention{Scale: 1, Bias: t[10]})
			}},
		{"paged attention", []operand{of("o", bf, 3, 4, 2), optional(of("lse", f32, 3, 4)), of("q", bf, 3, 4, 2), of("keys", bf, 32, 2, 2), of("values", bf, 32, 2, 2),
			freeLength(of("page table", i32, 2, 1)), of("query offsets", i32, 3), of("key lengths", i32, 2), optional(freeLength(of("bias", f32, 4, 9)))},
			func(s *backend.Stream, t ts) {
				s.AttentionPaged(t[0], t[1], t[2], t[3], t[4], backend.Pages{Table: t[5], Queries: t[6], KeyLengths: t[7], PageSize: 16,
					QueryCounts: []int{1, 2}, KeyCounts: []int{1, 2}}, backend.Attention{Scale: 1, Bias: t[8]})
			}},
		{"gelu", []operand{of("y", bf, 3, 4), of("", bf, 3, 4)}, func(s *backend.Stream, t ts) { s.Gelu(t[0], t[1]) }},
		{"gelu backward", []operand{of("dx", bf, 3, 4), of("dy", bf, 3, 4), of("x", bf, 3, 4)},
			func(s *backend.Stream, t ts) { s.GeluBackward(t[0], t[1], t[2]) }},
		{"embedding", []operand{of("y", bf, 3, 4), of("table", bf, 9, 4), of("ids", i32, 3)},
			func(s *backend.Stream, t ts) { s.Embedding(t[0], t[1], t[2], 0) }},
		{"embedding backward", []operand{of("dtable", f32, 9, 4), anyType(of("dy", bf, 3, 4)), of("ids", i32, 3)},
			func(s *backend.Stream, t ts) { s.EmbeddingBackward(t[0], t[1], t[2], 0) }},
		{"log-prob", []operand{of("stats", f32, 3, 4), of("h", bf, 3, 5), of("w", bf, 9, 5), of("targets", i32, 3)},
			func(s *backend.Stream, t ts) { s.LogProbStats(t[0], t[1], t[2], t[3], head) }},
		{"log-prob merge", []operand{of("logp", f32, 3), of("lse", f32, 3), of("entropy", f32, 3), of("stats", f32, 2, 3, 4)},
			func(s *backend.Stream, t ts) { s.LogProbMerge(t[0], t[1], t[2], t[3]) }},
		{"log-prob backward", []operand{of("dh", bf, 3, 5), of("dw", f32, 9, 5), of("h", bf, 3, 5), of("w", bf, 9, 5), of("targets", i32, 3),
			of("lse", f32, 3), of("entropy", f32, 3), of("dlogp", f32, 3), optional(of("dentropy", f32, 3))},
			func(s *backend.Stream, t ts) {
				s.LogProbBackward(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], head)
			}},
		{"zero", []operand{freeLength(anyType(of("x", bf, 3)))}, func(s *backend.Stream, t ts) { s.Zero(t[0]) }},
		{"copy", []operand{of("", f32, 3, 4), of("", bf, 12)}, func(s *backend.Stream, t ts) { s.Copy(t[0], t[1]) }},
		{"add", []operand{of("y", bf, 3, 4), of("b", bf, 3, 4), of("b", bf, 3, 4)}, func(s *backend.Stream, t ts) { s.Add(t[0], t[1], t[2]) }},
		{"gather rows", []operand{of("", bf, 3, 4), of("", bf, 9, 4), of("rows", i32, 3)}, func(s *backend.Stream, t ts) { s.GatherRows(t[0], t[1], t[2]) }},
		{"scatter rows", []operand{of("", bf, 9, 4), of("", bf, 3, 4), of("rows", i32, 3)}, func(s *backend.Stream, t ts) { s.ScatterRows(t[0], t[1], t[2]) }},
		{"add rows", []operand{of("", bf, 9, 4), of("", bf, 3, 4), of("rows", i32, 3)}, func(s *backend.Stream, t ts) { s.AddRows(t[0], t[1], t[2]) }},
		{"sum of squares", []operand{of("out", f64, 1), freeLength(anyType(of("x", bf, 3, 4)))}, func(s *backend.Stream, t ts) { s.SumSquares(t[0], t[1]) }},
		{"adamw", []operand{anyType(of("", bf, 9)), of("", f32, 9), of("", f32, 9), of("", f32, 9), of("", f32, 9)},
			func(s *backend.Stream, t ts) { s.AdamW(t[0], t[1], t[2], t[3], t[4], backend.AdamWStep{Step: 1}) }},
		{"sample blocks", []operand{of("blocks", f32, 3, 2, 2), of("stats", f32, 3, 4), freeLength(of("logits", f32, 3, 65)), of("banned", i32, 3)},
			func(s *backend.Stream, t ts) { s.SampleBlocks(t[0], t[1], t[2], t[3], head) }},
		{"sample pick", []operand{of("tokens", i32, 3), of("stats", f32, 3, 4), freeLength(of("logits", f32, 3, 65)), of("blocks", f32, 3, 2, 2), of("uniforms", f64, 3), of("banned", i32, 3)},
			func(s *backend.Stream, t ts) { s.SamplePick(t[0], t[1], t[2], t[3], t[4], t[5], draw) }},
		{"sample truncated", []operand{of("tokens", i32, 3), of("stats", f32, 3, 4), freeLength(of("logits", f32, 3, 65)), of("uniforms", f64, 3), of("banned", i32, 3)},
			func(s *backend.Stream, t ts) { s.SampleTruncated(t[0], t[1], t[2], t[3], t[4], draw) }},
	}
}

func dryStream(t *testing.T) *backend.Stream {
	t.Helper()
	d := dry.New(dry.Options{})
	a, err := d.Arena("test", 0)
	if err != nil {
		t.Fatal(err)
	}
	s := d.Stream()
	s.Use(a)
	return s
}

// tryWith makes the operands, lets change alter them, and returns the error of the call.
func (c call) tryWith(t *testing.T, change func(operands []operand) (absent int)) error {
	t.Helper()
	s := dryStream(t)
	operands := append([]operand(nil), c.operands...)
	absent := change(operands)
	var ts []tensor.Tensor
	for i, o := range operands {
		if i == absent {
			ts = append(ts, tensor.Tensor{})
		} else {
			ts = append(ts, s.Alloc(o.dtype, o.dims...))
		}
	}
	c.run(s, ts)
	return s.Sync()
}

// TestChecks gives every operand of every operation to be absent, of another shape, rank, or type. The error names the
// operation and, where one operand is to blame, the operand.
func TestChecks(t *testing.T) {
	for _, c := range calls() {
		t.Run(c.op, func(t *testing.T) {
			if err := c.tryWith(t, func([]operand) int { return -1 }); err != nil {
				t.Fatalf("good operands: %v", err)
			}
			for i, o := range c.operands {
				fault := func(what string, err error, named bool) {
					t.Helper()
					if err == nil || !strings.HasPrefix(err.Error(), "backend: "+c.op+": ") || named && !strings.Contains(err.Error(), o.name) {
						t.Errorf("operand %d (%s) %s: %v", i, o.name, what, err)
					}
				}
				err := c.tryWith(t, func([]operand) int { return i })
				if o.optional {
					if err != nil {
						t.Errorf("operand %d (%s) may be absent: %v", i, o.name, err)
					}
				} else {
					fault("is absent", err, true)
				}
				if !o.anyType {
					fault("has another type", c.tryWith(t, func(os []operand) int {
						os[i].dtype = i32
						if o.dtype == i32 {
							os[i].dtype = f32
						}
						return -1
					}), false)
				}
				if !o.freeLength {
					fault("is longer", c.tryWith(t, func(os []operand) int {
						os[i].dims = append([]int(nil), os[i].dims...)
						os[i].dims[len(os[i].dims)-1]++
						return -1
					}), false)
				}
				if o.name != "" && !(o.freeLength && o.anyType) { // these take any number of dimensions
					fault("has one dimension more", c.tryWith(t, func(os []operand) int {
						os[i].dims = append(os[i].dims[:len(os[i].dims):len(os[i].dims)], 1)
						return -1
					}), false)
				}
			}
		})
	}
}

// TestChecksOfNumbers are checks of what is not a tensor.
func TestChecksOfNumbers(t *testing.T) {
	attention := func(s *backend.Stream, h, g int, lengths ...int) {
		q, kv, off := s.Alloc(bf, 3, h, 2), s.Alloc(bf, 3, g, 2), s.Alloc(i32, len(lengths)+1)
		s.Attention(q, tensor.Tensor{}, q, kv, kv, backend.Sequences{Offsets: off, Lengths: lengths}, backend.Attention{Scale: 1, Bias: s.Alloc(f32, h, 2)})
	}
	paged := func(s *backend.Stream, pageSize, cache int, queryCounts ...int) {
		q, kv := s.Alloc(bf, 3, 1, 2), s.Alloc(bf, cache, 1, 2)
		s.AttentionPaged(q, tensor.Tensor{}, q, kv, kv, backend.Pages{Table: s.Alloc(i32, 1, 1), Queries: s.Alloc(i32, 2), KeyLengths: s.Alloc(i32, 1), PageSize: pageSize,
			QueryCounts: queryCounts, KeyCounts: []int{3}}, backend.Attention{Scale: 1})
	}
	truncated := func(s *backend.Stream, d backend.Draw) {
		s.SampleTruncated(s.Alloc(i32, 3), s.Alloc(f32, 3, 4), s.Alloc(f32, 3, 65), s.Alloc(f64, 3), s.Alloc(i32, 3), d)
	}
	for want, run := range map[string]func(s *backend.Stream){
		"3 query heads for 2 key/value heads":      func(s *backend.Stream) { attention(s, 3, 2, 1, 2) },
		"sequences of 4 tokens in all, q is":       func(s *backend.Stream) { attention(s, 2, 2, 2, 2) },
		"a sequence of 3 tokens with a bias for 2": func(s *backend.Stream) { attention(s, 2, 2, 3) },
		"page size 48 is neither a divisor":        func(s *backend.Stream) { paged(s, 48, 48, 3) },
		"page size 0 is neither a divisor":         func(s *backend.Stream) { paged(s, 0, 48, 3) },
		"cache of 40 tokens in pages of 16":        func(s *backend.Stream) { paged(s, 16, 40, 3) },
		"2 query counts for 1 sequences":           func(s *backend.Stream) { paged(s, 16, 32, 1, 2) },
		"top_p 0 must be in (0, 1], top_k 0":       func(s *backend.Stream) { truncated(s, backend.Draw{}) },
		"top_p NaN must be in (0, 1], top_k 0":     func(s *backend.Stream) { truncated(s, backend.Draw{TopP: math.NaN()}) },
		"top_p 1.5 must be in (0, 1], top_k 0":     func(s *backend.Stream) { truncated(s, backend.Draw{TopP: 1.5}) },
		"top_p 1 must be in (0, 1], top_k -1":      func(s *backend.Stream) { truncated(s, backend.Draw{TopP: 1, TopK: -1}) },
		"the head starts at vocabulary entry 32, not": func(s *backend.Stream) {
			s.LogProbStats(s.Alloc(f32, 3, 4), s.Alloc(bf, 3, 5), s.Alloc(bf, 9, 5), s.Alloc(i32, 3), backend.Head{First: 32})
		},
		"step 0, the first is 1": func(s *backend.Stream) { x := s.Alloc(f32, 3); s.AdamW(x, x, x, x, x, backend.AdamWStep{}) },
		"rotary needs an even head dimension, not 3": func(s *backend.Stream) {
			q := s.Alloc(bf, 2, 1, 3)
			s.SplitQKV(q, q, q, s.Alloc(bf, 2, 9), backend.Rotary{Cos: s.Alloc(f32, 4, 1), Sin: s.Alloc(f32, 4, 1), Positions: s.Alloc(i32, 2)})
		},
		"3 query heads in 2 groups": func(s *backend.Stream) {
			s.SplitQKV(s.Alloc(bf, 2, 3, 4), s.Alloc(bf, 2, 2, 4), s.Alloc(bf, 2, 2, 4), s.Alloc(bf, 2, 28), backend.Rotary{})
		},
	} {
		s := dryStream(t)
		run(s)
		if err := s.Sync(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
