package cpu

import (
	"bytes"
	"math"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// sweep walks the float32 numbers from lo to hi, step apart in their bits.
func sweep(lo, hi float32, step uint32, visit func(xs []float32)) {
	var xs []float32
	flush := func() {
		if len(xs) > 0 {
			visit(xs)
		}
		xs = xs[:0]
	}
	for _, part := range [][2]float32{{0, max(hi, 0)}, {float32(math.Copysign(0, -1)), min(lo, 0)}} {
		for b := math.Float32bits(part[0]); b <= math.Float32bits(part[1]); b += step {
			if xs = append(xs, math.Float32frombits(b)); len(xs) == 1<<14 {
				flush()
			}
		}
	}
	flush()
}

// ulps is the distance of got from want in units of the last place of want as a float32.
func ulps(got float32, want float64) float64 {
	_, e := math.Frexp(math.Max(math.Abs(want), 0x1p-126))
	return math.Abs(float64(got)-want) / math.Ldexp(1, e-24)
}

// sweepStep visits some four million numbers of each sign in full tests.
func sweepStep() uint32 {
	if testing.Short() {
		return 4093
	}
	return 257
}

// apply runs an operation on xs.
func (r *rig) apply(xs []float32, op func(y, x tensor.Tensor)) []float32 {
	r.Helper()
	defer r.s.Arena().Release(r.s.Arena().Mark())
	x, y := r.s.Alloc(tensor.Float32, len(xs)), r.s.Zeros(tensor.Float32, len(xs))
	r.s.Upload(x, backend.Float32s(xs))
	op(y, x)
	ys := make([]float32, len(xs))
	if err := r.s.Download(backend.Float32s(ys), y).Wait(); err != nil {
		r.Fatal(err)
	}
	return ys
}

// The bounds are those stated beside the kernels, which were found on all float32 numbers.
func TestExpWithinUlps(t *testing.T) {
	for _, isa := range InstructionSets() {
		t.Run(isa, func(t *testing.T) {
			r := newRig(t, Options{Workers: 1, ISA: isa}, 1<<20)
			exp := func(y, x tensor.Tensor) {
				r.d.kernels.exp(mapArgs{y: at(y), a: at(x), n: int64(x.Len()), dtype: float32Type})
			}
			worst := 0.0
			sweep(-87.33, 88.7228, sweepStep(), func(xs []float32) {
				for i, y := range r.apply(xs, exp) {
					worst = max(worst, ulps(y, math.Exp(float64(xs[i]))))
				}
			})
			if worst > 1.02 {
				t.Errorf("exp is off by %.3f ulp", worst)
			}
			inf := float32(math.Inf(1))
			xs := []float32{0, float32(math.Copysign(0, -1)), -87.34, -1000, -inf, 88.73, inf, float32(math.NaN())}
			for i, y := range r.apply(xs, exp) {
				if want := []float32{1, 1, 0, 0, 0, inf, inf, float32(math.NaN())}[i]; y != want && !(y != y && want != want) {
					t.Errorf("exp(%v) = %v, want %v", xs[i], y, want)
				}
			}
		})
	}
}

func TestGeluWithinUlps(t *testing.T) {
	cdf := func(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }
	for _, isa := range InstructionSets() {
		t.Run(isa, func(t *testing.T) {
			r := newRig(t, Options{Workers: 1, ISA: isa}, 1<<20)
			worst, worstSlope := 0.0, 0.0
			sweep(-12.5, 100, sweepStep(), func(xs []float32) {
				for i, y := range r.apply(xs, r.s.Gelu) {
					x := float64(xs[i])
					worst = max(worst, ulps(y, x*cdf(x)))
				}
				slopes := r.apply(xs, func(dx, x tensor.Tensor) {
					one := r.s.Alloc(tensor.Float32, x.Len())
					ones := make([]float32, x.Len())
					for i := range ones {
						ones[i] = 1
					}
					r.s.Upload(one, backend.Float32s(ones))
					r.s.GeluBackward(dx, one, x)
				})
				for i, slope := range slopes {
					x := float64(xs[i])
					worstSlope = max(worstSlope, math.Abs(float64(slope)-cdf(x)-x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)))
				}
			})
			if worst > 7 || worstSlope > 1.6e-7 {
				t.Errorf("gelu is off by %.3f ulp, its derivative by %.3g", worst, worstSlope)
			}
			if y := r.apply([]float32{float32(math.Inf(1)), -14, 0}, r.s.Gelu); !math.IsInf(float64(y[0]), 1) || math.Abs(float64(y[1])) > 1e-37 || y[2] != 0 {
				t.Errorf("gelu of Inf, -14, 0 is %v", y)
			}
		})
	}
}

// TestSameBitsOnOtherInstructionSets: targets with fused multiply-add agree with each other, and so do those without; the one that
// multiplies pairs of bfloat16 agrees with the others in float32.
func TestSameBitsOnOtherInstructionSets(t *testing.T) {
	have := map[string]bool{}
	for _, isa := range InstructionSets() {
		have[isa] = true
	}
	for _, pair := range [][2]string{{"avx512bf16", "avx512"}, {"avx512", "avx2"}, {"base", "go"}} {
		t.Run(pair[0]+" and "+pair[1], func(t *testing.T) {
			if !have[pair[0]] || !have[pair[1]] {
				t.Skip("not both on this machine and in this build")
			}
			for _, dtype := range []tensor.DType{tensor.Float32, tensor.BFloat16} {
				if pair[0] == "avx512bf16" && dtype == tensor.BFloat16 {
					continue
				}
				a, b := everything(newRig(t, Options{Workers: 2, ISA: pair[0]}, 64<<20), dtype), everything(newRig(t, Options{Workers: 1, ISA: pair[1]}, 64<<20), dtype)
				for i := range a {
					if !bytes.Equal(a[i].bits, b[i].bits) {
						t.Errorf("%v: %s differs", dtype, a[i].name)
					}
				}
			}
		})
	}
}

// result is the output of an operation.
type result struct {
	name string
	bits []byte
}

// everything runs each operation that computes, on odd shapes.
func everything(r *rig, dtype tensor.DType) []result {
	const n, d, h, g, k, v = 67, 75, 6, 2, 20, 203
	const f32 = tensor.Float32
	var results []result
	out := func(name string, ts ...tensor.Tensor) {
		for _, t := range ts {
			results = append(results, result{name, r.bits(t)})
		}
	}
	rand := func(dims ...int) tensor.Tensor { return r.random(dtype, 1, dims...) }
	wide := func(dims ...int) tensor.Tensor { return r.random(f32, 1, dims...) }
	s := r.s

	x, w, y, dx, dw := rand(n, d), rand(v, d), rand(n, v), rand(n, d), wide(v, d)
	s.MatMul(y, x, w, backend.Epilogue{Bias: rand(v), Residual: y})
	s.MatMulInput(dx, y, w, backend.Add)
	s.MatMulWeight(dw, y, x)
	db := wide(v)
	s.SumRows(db, y)
	out("matmul", y, dx, dw, db)

	mean, rstd, gamma, norm := wide(n), wide(n), rand(d), rand(n, d)
	s.LayerNorm(norm, mean, rstd, x, gamma, rand(d), 1e-5)
	dgamma, dbeta := wide(d), wide(d)
	s.LayerNormBackward(dx, dgamma, dbeta, norm, x, gamma, mean, rstd, backend.Add)
	out("layer norm", norm, mean, rstd, dx, dgamma, dbeta)

	q, key, val, qkv := rand(n, h, k), rand(n, g, k), rand(n, g, k), rand(n, (h+2*g)*k)
	rotary := backend.Rotary{Cos: wide(n, k/2), Sin: wide(n, k/2), Positions: r.ints([]int{n}, func(i int) int { return n - 1 - i })}
	s.SplitQKV(q, key, val, qkv, rotary)
	s.SplitQKVBackward(qkv, q, key, val, rotary)
	out("qkv", q, key, val, qkv)

	seqs := backend.Sequences{Offsets: r.ints([]int{3}, func(i int) int { return []int{0, 1, n}[i] }), Lengths: []int{1, n - 1}}
	opt := backend.Attention{Scale: 0.2, Bias: wide(h, n)}
	o, lse, do, dq, dk, dv := rand(n, h, k), wide(n, h), rand(n, h, k), rand(n, h, k), rand(n, g, k), rand(n, g, k)
	s.Attention(o, lse, q, key, val, seqs, opt)
	s.AttentionBackward(dq, dk, dv, do, o, lse, q, key, val, seqs, opt)
	out("attention", o, lse, dq, dk, dv)

	act, dact := rand(n, d), rand(n, d)
	s.Gelu(act, x)
	s.GeluBackward(dact, act, x)
	s.Add(act, act, dact)
	out("gelu and add", act, dact)

	ids := r.ints([]int{n}, func(i int) int { return i * 7 % 40 })
	table, sums := wide(30, d), s.Zeros(tensor.Float64, 1)
	s.EmbeddingBackward(table, x, ids, 5)
	s.AddRows(dw, wide(n, d), ids)
	s.SumSquares(sums, x)
	narrow := s.Alloc(tensor.BFloat16, v, d)
	s.Copy(narrow, dw)
	out("rows", table, dw, sums, narrow)

	head, stats, lse1, ent, logp := backend.Head{First: 64, Scale: 0.9}, wide(n, 4), wide(n), wide(n), wide(n)
	targets := r.ints([]int{n}, func(i int) int { return 60 + 3*i })
	hidden, weight := r.random(dtype, 0.3, n, d), r.random(dtype, 0.3, v, d)
	s.LogProbStats(stats, hidden, weight, targets, head)
	s.LogProbMerge(logp, lse1, ent, stats.Reshape(1, n, 4))
	s.LogProbBackward(dx, dw, hidden, weight, targets, lse1, ent, logp, wide(n), head)
	out("log-prob", stats, logp, lse1, ent, dx, dw)

	logits, blocks := wide(n, v), wide(n, (v+63)/64, 2)
	s.SampleBlocks(blocks, stats, logits, r.ints([]int{n}, func(i int) int { return 4*i - 1 }), head)
	out("sampler", blocks, stats)

	weights, master, m, vv := rand(v, d), wide(v, d), wide(v, d), s.Zeros(f32, v, d)
	s.AdamW(weights, master, m, vv, dw, backend.AdamWStep{LearningRate: 0.1, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, Step: 3, GradScale: 0.5})
	out("adamw", weights, master, m, vv)
	if err := s.Sync(); err != nil {
		r.Fatal(err)
	}
	return results
}
