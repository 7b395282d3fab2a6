package reference_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/reference"
	"alfred/internal/tensor"
)

// bench is a stream of the reference with helpers to move numbers.
type bench struct {
	*backend.Stream
	t testing.TB
}

func newBench(t testing.TB) bench {
	t.Helper()
	a, err := reference.New().Arena("test", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	s := reference.New().Stream()
	s.Use(a)
	return bench{s, t}
}

func (b bench) put(values []float64, dims ...int) tensor.Tensor {
	x := b.Alloc(tensor.Float64, dims...)
	b.Upload(x, backend.Float64s(values))
	return x
}

func (b bench) ints(values ...int32) tensor.Tensor {
	x := b.Alloc(tensor.Int32, len(values))
	b.Upload(x, backend.Int32s(values))
	return x
}

func (b bench) get(x tensor.Tensor) []float64 {
	b.t.Helper()
	values := make([]float64, x.Len())
	if err := b.Download(backend.Float64s(values), x).Wait(); err != nil {
		b.t.Fatal(err)
	}
	return values
}

func (b bench) getInts(x tensor.Tensor) []int32 {
	b.t.Helper()
	values := make([]int32, x.Len())
	if err := b.Download(backend.Int32s(values), x).Wait(); err != nil {
		b.t.Fatal(err)
	}
	return values
}

func normals(rng *rand.Rand, n int, deviation float64) []float64 {
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = deviation * rng.NormFloat64()
	}
	return xs
}

// function is a differentiable operation: inputs of some shapes to outputs, and the gradients of the inputs added to dins from
// those of the outputs. saved is whatever forward wants backward to have.
type function struct {
	name     string
	inputs   [][]int
	forward  func(b bench, in []tensor.Tensor) (outs, saved []tensor.Tensor)
	backward func(b bench, dins, douts, in, saved []tensor.Tensor)
}

// TestGradients holds every backward operation against central differences of its forward operation. With steps of 1e-5 the
// differences are good to about 1e-10 of a derivative that is of the size of the function and its third derivative; 1e-6 of
// each gradient's norm leaves room for functions that are not so kind, and none for a wrong formula.
func TestGradients(t *testing.T) {
	for _, f := range functions() {
		t.Run(f.name, func(t *testing.T) { checkGradients(t, f) })
	}
}

func checkGradients(t *testing.T, f function) {
	rng := rand.New(rand.NewPCG(1, 2))
	var values [][]float64
	for _, dims := range f.inputs {
		values = append(values, normals(rng, size(dims), 1))
	}
	var weights [][]float64 // of the outputs in the sum that is differentiated
	loss := func() float64 {
		b := newBench(t)
		outs, _ := f.forward(b, place(b, values, f.inputs))
		sum := 0.0
		for i, out := range outs {
			if len(weights) <= i {
				weights = append(weights, normals(rng, out.Len(), 1))
			}
			for j, y := range b.get(out) {
				sum += weights[i][j] * y
			}
		}
		return sum
	}
	loss() // draws the weights

	b := newBench(t)
	in := place(b, values, f.inputs)
	outs, saved := f.forward(b, in)
	var douts, dins []tensor.Tensor
	var before [][]float64
	for i, out := range outs {
		douts = append(douts, b.put(weights[i], out.Dims()...))
	}
	for i, dims := range f.inputs {
		before = append(before, normals(rng, size(dims), 1))
		dins = append(dins, b.put(before[i], dims...))
	}
	f.backward(b, dins, douts, in, saved)
	for i := range dins {
		got := b.get(dins[i])
		errNorm, norm := 0.0, 0.0
		for j := range got {
			const h = 1e-5
			x := values[i][j]
			values[i][j] = x + h
			up := loss()
			values[i][j] = x - h
			down := loss()
			values[i][j] = x
			want := (up - down) / (2 * h)
			errNorm, norm = math.Hypot(errNorm, got[j]-before[i][j]-want), math.Hypot(norm, want)
		}
		if norm == 0 || errNorm > 1e-6*norm {
			t.Errorf("gradient of input %d %v: error %.3g of %.3g", i, f.inputs[i], errNorm/norm, norm)
		}
	}
}

func place(b bench, values [][]float64, dims [][]int) (in []tensor.Tensor) {
	for i := range values {
		in = append(in, b.put(values[i], dims[i]...))
	}
	return in
}

func size(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// plus adds to din what set writes over numbers of no meaning.
func (b bench) plus(din tensor.Tensor, set func(dx tensor.Tensor)) {
	dx := b.put(normals(rand.New(rand.NewPCG(3, 4)), din.Len(), 1), din.Dims()...)
	set(dx)
	b.Add(din, din, dx)
}

// alloc is room for an output.
func alloc(b bench, dims ...int) tensor.Tensor { return b.Alloc(tensor.Float64, dims...) }

func functions() []function {
	type ts = []tensor.Tensor
	fs := []function{
		{"matmul with bias and residual", [][]int{{3, 4}, {5, 4}, {5}, {3, 5}},
			func(b bench, in ts) (outs, saved ts) {
				y := alloc(b, 3, 5)
				b.MatMul(y, in[0], in[1], backend.Epilogue{Bias: in[2], Residual: in[3]})
				return ts{y}, nil
			},
			func(b bench, dins, douts, in, _ ts) {
				b.MatMulInput(dins[0], douts[0], in[1], backend.Add)
				b.MatMulWeight(dins[1], douts[0], in[0])
				b.SumRows(dins[2], douts[0])
				b.Add(dins[3], dins[3], douts[0])
			}},
		{"layer norm", [][]int{{3, 6}, {6}, {6}},
			func(b bench, in ts) (outs, saved ts) {
				y, mean, rstd := alloc(b, 3, 6), alloc(b, 3), alloc(b, 3)
				b.LayerNorm(y, mean, rstd, in[0], in[1], in[2], 1e-3)
				return ts{y}, ts{mean, rstd}
			},
			func(b bench, dins, douts, in, saved ts) {
				b.plus(dins[0], func(dx tensor.Tensor) {
					b.LayerNormBackward(dx, dins[1], dins[2], douts[0], in[0], in[1], saved[0], saved[1], backend.Set)
				})
			}},
		{"gelu", [][]int{{4, 5}},
			func(b bench, in ts) (outs, saved ts) {
				y := alloc(b, 4, 5)
				b.Gelu(y, in[0])
				return ts{y}, nil
			},
			func(b bench, dins, douts, in, _ ts) {
				b.plus(dins[0], func(dx tensor.Tensor) { b.GeluBackward(dx, douts[0], in[0]) })
			}},
		{"embedding of rows 64 to 69", [][]int{{5, 3}},
			func(b bench, in ts) (outs, saved ts) {
				y, ids := alloc(b, 6, 3), b.ints(66, 64, 66, 3, 70, 68)
				b.Embedding(y, in[0], ids, 64)
				return ts{y}, ts{ids}
			},
			func(b bench, dins, douts, _, saved ts) { b.EmbeddingBackward(dins[0], douts[0], saved[0], 64) }},
		{"gather and add rows", [][]int{{4, 3}},
			func(b bench, in ts) (outs, saved ts) {
				y, rows := alloc(b, 5, 3), b.ints(2, 0, 2, 3, 1)
				b.GatherRows(y, in[0], rows)
				return ts{y}, ts{rows}
			},
			func(b bench, dins, douts, _, saved ts) { b.AddRows(dins[0], douts[0], saved[0]) }},
	}
	for _, shape := range [][3]int{{4, 2, 6}, {3, 3, 2}, {5, 1, 4}} {
		h, g, k := shape[0], shape[1], shape[2]
		for _, rotated := range []bool{false, true} {
			rotary := func(b bench) backend.Rotary {
				if !rotated {
					return backend.Rotary{}
				}
				cos, sin := rotaryTables(9, k/2)
				return backend.Rotary{Cos: b.put(cos, 9, k/2), Sin: b.put(sin, 9, k/2), Positions: b.ints(0, 5, 8)}
			}
			fs = append(fs, function{fmt.Sprint("split qkv ", shape, " rotated ", rotated), [][]int{{3, (h + 2*g) * k}},
				func(b bench, in ts) (outs, saved ts) {
					q, key, v := alloc(b, 3, h, k), alloc(b, 3, g, k), alloc(b, 3, g, k)
					b.SplitQKV(q, key, v, in[0], rotary(b))
					return ts{q, key, v}, nil
				},
				func(b bench, dins, douts, _, _ ts) {
					b.plus(dins[0], func(dqkv tensor.Tensor) { b.SplitQKVBackward(dqkv, douts[0], douts[1], douts[2], rotary(b)) })
				}})
		}
		for _, biased := range []bool{false, true} {
			options := func(b bench) (backend.Sequences, backend.Attention) {
				a := backend.Attention{Scale: 0.6}
				if biased {
					a.Bias = b.put(normals(rand.New(rand.NewPCG(5, 6)), h*8, 1), h, 8)
				}
				return backend.Sequences{Offsets: b.ints(0, 5, 5, 7), Lengths: []int{5, 0, 2}}, a
			}
			fs = append(fs, function{fmt.Sprint("attention ", shape, " biased ", biased), [][]int{{7, h, k}, {7, g, k}, {7, g, k}},
				func(b bench, in ts) (outs, saved ts) {
					o, lse := alloc(b, 7, h, k), alloc(b, 7, h)
					seqs, a := options(b)
					b.Attention(o, lse, in[0], in[1], in[2], seqs, a)
					return ts{o}, ts{o, lse}
				},
				func(b bench, dins, douts, in, saved ts) {
					seqs, a := options(b)
					b.plus(dins[0], func(dq tensor.Tensor) {
						b.plus(dins[1], func(dk tensor.Tensor) {
							b.plus(dins[2], func(dv tensor.Tensor) {
								b.AttentionBackward(dq, dk, dv, douts[0], saved[0], saved[1], in[0], in[1], in[2], seqs, a)
							})
						})
					})
				}})
		}
	}
	// The head on two ranks, the second holding rows 64 to 69 of the vocabulary; on one rank with log-probs alone.
	fs = append(fs, function{"log-prob and entropy on two ranks", [][]int{{4, 3}, {64, 3}, {5, 3}},
		func(b bench, in ts) (outs, saved ts) {
			stats, targets := alloc(b, 2, 4, 4), b.ints(66, 0, 63, 68)
			for rank, first := range []int{0, 64} {
				b.LogProbStats(stats.Slice(rank, rank+1).Reshape(4, 4), in[0], in[1+rank], targets, backend.Head{First: first, Scale: 0.7})
			}
			logp, lse, entropy := alloc(b, 4), alloc(b, 4), alloc(b, 4)
			b.LogProbMerge(logp, lse, entropy, stats)
			return ts{logp, entropy}, ts{targets, lse, entropy}
		},
		func(b bench, dins, douts, in, saved ts) {
			for rank, first := range []int{0, 64} {
				b.plus(dins[0], func(dh tensor.Tensor) {
					b.LogProbBackward(dh, dins[1+rank], in[0], in[1+rank], saved[0], saved[1], saved[2], douts[0], douts[1], backend.Head{First: first, Scale: 0.7})
				})
			}
		}}, function{"log-prob alone", [][]int{{4, 3}, {17, 3}},
		func(b bench, in ts) (outs, saved ts) {
			stats, targets := alloc(b, 1, 4, 4), b.ints(16, 0, 3, 3)
			b.LogProbStats(stats.Reshape(4, 4), in[0], in[1], targets, backend.Head{Scale: 1})
			logp, lse, entropy := alloc(b, 4), alloc(b, 4), alloc(b, 4)
			b.LogProbMerge(logp, lse, entropy, stats)
			return ts{logp}, ts{targets, lse, entropy}
		},
		func(b bench, dins, douts, in, saved ts) {
			b.plus(dins[0], func(dh tensor.Tensor) {
				b.LogProbBackward(dh, dins[1], in[0], in[1], saved[0], saved[1], saved[2], douts[0], tensor.Tensor{}, backend.Head{Scale: 1})
			})
		}})
	return fs
}

// rotaryTables are the angles of arXiv:2104.09864 with base 100.
func rotaryTables(positions, half int) (cos, sin []float64) {
	for p := range positions {
		for j := range half {
			angle := float64(p) * math.Pow(100, -float64(j)/float64(half))
			cos, sin = append(cos, math.Cos(angle)), append(sin, math.Sin(angle))
		}
	}
	return cos, sin
}
