package reference_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// near demands numbers equal to 1e-14 of the largest: float64, and a few operations.
func near(t *testing.T, what string, got, want []float64) {
	t.Helper()
	largest := 1.0
	for _, w := range want {
		largest = max(largest, math.Abs(w))
	}
	if len(got) != len(want) {
		t.Errorf("%s is %v, want %v", what, got, want)
		return
	}
	for i, w := range want {
		if !(math.Abs(got[i]-w) <= 1e-14*largest) {
			t.Errorf("%s is %v, want %v", what, got, want)
			return
		}
	}
}

func TestMatMulByHand(t *testing.T) {
	b := newBench(t)
	x, w := b.put([]float64{1, 2, 3, 4}, 2, 2), b.put([]float64{5, 6, 7, 8, 9, 10}, 3, 2)
	y := alloc(b, 2, 3)
	b.MatMul(y, x, w, backend.Epilogue{})
	near(t, "x·wᵀ", b.get(y), []float64{17, 23, 29, 39, 53, 67})
	b.MatMul(y, x, w, backend.Epilogue{Bias: b.put([]float64{100, 200, 300}, 3), Residual: y})
	near(t, "x·wᵀ + bias + itself", b.get(y), []float64{134, 246, 358, 178, 306, 434})
}

func TestLayerNormByHand(t *testing.T) {
	b := newBench(t)
	x, gamma, beta := b.put([]float64{1, 2, 3, 4}, 1, 4), b.put([]float64{1, 1, 2, 1}, 4), b.put([]float64{0, 0, 0, 5}, 4)
	y, mean, rstd := alloc(b, 1, 4), alloc(b, 1), alloc(b, 1)
	b.LayerNorm(y, mean, rstd, x, gamma, beta, 0.75) // variance 5/4 of the population, so rstd = 1/√2
	r := math.Sqrt2 / 2
	near(t, "mean and rstd", append(b.get(mean), b.get(rstd)...), []float64{2.5, r})
	near(t, "y", b.get(y), []float64{-1.5 * r, -0.5 * r, 1 * r, 1.5*r + 5})
}

func TestGeluIsXTimesTheNormalDistribution(t *testing.T) {
	b := newBench(t)
	xs := []float64{-8, -3, -1, -0.1, 0, 0.1, 1, 3, 8}
	x := b.put(xs, len(xs))
	y := alloc(b, len(xs))
	b.Gelu(y, x)
	var want []float64
	for _, v := range xs {
		want = append(want, v*(1+math.Erf(v/math.Sqrt2))/2)
	}
	got := b.get(y)
	near(t, "gelu", got, want)
	// Φ(1) = 0.8413447460685429 from tables; the tail keeps its digits: Φ(-8) = 6.220960574271785e-16.
	near(t, "gelu(1)", got[6:7], []float64{0.8413447460685429})
	if want := -8 * 6.220960574271785e-16; math.Abs(got[0]/want-1) > 1e-10 {
		t.Errorf("gelu(-8) = %v, want %v", got[0], want)
	}
}

func TestSplitQKVLayout(t *testing.T) {
	b := newBench(t)
	// Two groups of two query heads with two elements each: q0 q1 k v | q2 q3 k v.
	qkv := []float64{10, 11, 12, 13, 20, 21, 30, 31, 14, 15, 16, 17, 22, 23, 32, 33}
	q, k, v := alloc(b, 1, 4, 2), alloc(b, 1, 2, 2), alloc(b, 1, 2, 2)
	b.SplitQKV(q, k, v, b.put(qkv, 1, 16), backend.Rotary{})
	near(t, "q", b.get(q), []float64{10, 11, 12, 13, 14, 15, 16, 17})
	near(t, "k", b.get(k), []float64{20, 21, 22, 23})
	near(t, "v", b.get(v), []float64{30, 31, 32, 33})
	// A quarter turn maps (a, b) to (-b, a); v stays.
	turned := backend.Rotary{Cos: b.put([]float64{1, 0}, 2, 1), Sin: b.put([]float64{0, 1}, 2, 1), Positions: b.ints(1)}
	b.SplitQKV(q, k, v, b.put(qkv, 1, 16), turned)
	near(t, "turned q", b.get(q), []float64{-11, 10, -13, 12, -15, 14, -17, 16})
	near(t, "turned k", b.get(k), []float64{-21, 20, -23, 22})
	near(t, "v", b.get(v), []float64{30, 31, 32, 33})
	// Dimension j is paired with j + K/2, not with its neighbour.
	q4, k4, v4 := alloc(b, 1, 1, 4), alloc(b, 1, 1, 4), alloc(b, 1, 1, 4)
	halves := backend.Rotary{Cos: b.put([]float64{0, 1}, 1, 2), Sin: b.put([]float64{1, 0}, 1, 2), Positions: b.ints(0)}
	b.SplitQKV(q4, k4, v4, b.put([]float64{1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0}, 1, 12), halves)
	near(t, "pairs", b.get(q4), []float64{-3, 2, 1, 4})
}

// TestRotaryIsRelative: the product of a query and a key depends on the difference of their positions only.
func TestRotaryIsRelative(t *testing.T) {
	b := newBench(t)
	rng := rand.New(rand.NewPCG(3, 4))
	row := normals(rng, 18, 1)
	cos, sin := rotaryTables(20, 3)
	product := func(queryAt, keyAt int32) float64 {
		q, k, v := alloc(b, 2, 1, 6), alloc(b, 2, 1, 6), alloc(b, 2, 1, 6)
		b.SplitQKV(q, k, v, b.put(append(slices.Clone(row), row...), 2, 18), backend.Rotary{Cos: b.put(cos, 20, 3), Sin: b.put(sin, 20, 3), Positions: b.ints(queryAt, keyAt)})
		sum := 0.0
		for i, x := range b.get(q)[:6] {
			sum += x * b.get(k)[6+i]
		}
		return sum
	}
	near(t, "product", []float64{product(9, 4), product(19, 14)}, []float64{product(5, 0), product(5, 0)})
	if math.Abs(product(9, 4)-product(9, 5)) < 1e-3 {
		t.Error("the position does not matter")
	}
}

// TestAttentionIsSoftmax compares with a matrix of scores that is written out.
func TestAttentionIsSoftmax(t *testing.T) {
	b := newBench(t)
	rng := rand.New(rand.NewPCG(5, 6))
	const n, h, g, k, scale = 6, 4, 2, 3, 0.5
	q, key, v, bias := normals(rng, n*h*k, 1), normals(rng, n*g*k, 1), normals(rng, n*g*k, 1), normals(rng, h*n, 1)
	var want, wantLSE []float64
	for i := range n {
		for head := range h {
			sum, o := 0.0, make([]float64, k)
			for j := range i + 1 {
				score := bias[head*n+j]
				kv := (j*g + head/2) * k // heads 0 and 1 read group 0
				for d := range k {
					score += q[(i*h+head)*k+d] * key[kv+d]
				}
				p := math.Exp(score * scale)
				sum += p
				for d := range k {
					o[d] += p * v[kv+d]
				}
			}
			for _, x := range o {
				want = append(want, x/sum)
			}
			wantLSE = append(wantLSE, math.Log(sum))
		}
	}
	o, lse := alloc(b, n, h, k), alloc(b, n, h)
	b.Attention(o, lse, b.put(q, n, h, k), b.put(key, n, g, k), b.put(v, n, g, k),
		backend.Sequences{Offsets: b.ints(0, n), Lengths: []int{n}}, backend.Attention{Scale: scale, Bias: b.put(bias, h, n)})
	near(t, "o", b.get(o), want)
	near(t, "lse", b.get(lse), wantLSE)
}

func TestAttentionOfEqualScoresIsTheRunningMean(t *testing.T) {
	b := newBench(t)
	o := alloc(b, 4, 1, 1)
	b.Attention(o, tensor.Tensor{}, b.put([]float64{0, 0, 0, 0}, 4, 1, 1), b.put([]float64{1, 2, 3, 4}, 4, 1, 1), b.put([]float64{8, 4, 3, 10}, 4, 1, 1),
		backend.Sequences{Offsets: b.ints(0, 3, 4), Lengths: []int{3, 1}}, backend.Attention{Scale: 1})
	near(t, "o", b.get(o), []float64{8, 6, 5, 10})
}

func TestEmbeddingByHand(t *testing.T) {
	b := newBench(t)
	y := alloc(b, 3, 2)
	b.Embedding(y, b.put([]float64{1, 2, 3, 4}, 2, 2), b.ints(65, 64, 66), 64)
	near(t, "y", b.get(y), []float64{3, 4, 1, 2, 0, 0})
}

// TestLogProbIdentities: probabilities sum to 1; equal logits give -log V and the entropy log V; the entropy is -Σ p·log p; a
// constant added to all logits changes nothing.
func TestLogProbIdentities(t *testing.T) {
	b := newBench(t)
	rng := rand.New(rand.NewPCG(7, 8))
	const v = 130
	head := func(logits []float64, scale float64) (logp []float64, entropy float64) {
		// One hidden dimension of 1 for each target, so that the weights are the logits.
		var targets []int32
		for i := range logits {
			targets = append(targets, int32(i))
		}
		ones := slices.Repeat([]float64{1}, v)
		stats := alloc(b, 1, v, 4)
		b.LogProbStats(stats.Reshape(v, 4), b.put(ones, v, 1), b.put(logits, v, 1), b.ints(targets...), backend.Head{Scale: scale})
		lp, lse, h := alloc(b, v), alloc(b, v), alloc(b, v)
		b.LogProbMerge(lp, lse, h, stats)
		return b.get(lp), b.get(h)[0]
	}
	logits := normals(rng, v, 3)
	logp, entropy := head(logits, 0.5)
	sum, plogp := 0.0, 0.0
	for _, l := range logp {
		sum += math.Exp(l)
		plogp += math.Exp(l) * l
	}
	near(t, "Σ p and the entropy", []float64{sum, entropy}, []float64{1, -plogp})
	near(t, "difference of log-probs", []float64{logp[3] - logp[99]}, []float64{0.5 * (logits[3] - logits[99])})
	shifted := slices.Clone(logits)
	for i := range shifted {
		shifted[i] += 64 // exact to 2^-47, and 1e-14 of it is allowed
	}
	same, sameEntropy := head(shifted, 0.5)
	for i := range same {
		if math.Abs(same[i]-logp[i]) > 1e-12 || math.Abs(sameEntropy-entropy) > 1e-12 {
			t.Fatalf("shifted: log-prob %v, entropy %v, want %v, %v", same[i], sameEntropy, logp[i], entropy)
		}
	}
	equal, equalEntropy := head(slices.Repeat([]float64{2.5}, v), 1)
	near(t, "equal logits", []float64{equal[0], equal[v-1], equalEntropy}, []float64{-math.Log(v), -math.Log(v), math.Log(v)})
}

func TestAdamWByHand(t *testing.T) {
	b := newBench(t)
	w, m, v := b.put([]float64{1, -2}, 2), b.put([]float64{0, 0}, 2), b.put([]float64{0, 0}, 2)
	step := backend.AdamWStep{LearningRate: 0.1, Beta1: 0.9, Beta2: 0.75, Eps: 0.5, WeightDecay: 0.01, Step: 1, GradScale: 0.5}
	b.AdamW(w, w, m, v, b.put([]float64{1, -4}, 2), step)
	// g = 0.5, -2: m = 0.05, -0.2; v = 0.0625, 1; corrected: m = g, v = g²: the step is 0.1·g/(|g|+0.5).
	near(t, "m", b.get(m), []float64{0.05, -0.2})
	near(t, "v", b.get(v), []float64{0.0625, 1})
	near(t, "w", b.get(w), []float64{0.999 - 0.05, -1.998 + 0.08})
	// A second step with gradient 0: m = 0.045, -0.18 over 1-0.81; v = 0.046875, 0.75 over 1-0.5625.
	step.Step, step.WeightDecay = 2, 0
	b.AdamW(w, w, m, v, b.put([]float64{0, 0}, 2), step)
	first := 0.949 - 0.1*(0.045/0.19)/(math.Sqrt(0.046875/0.4375)+0.5)
	second := -1.918 + 0.1*(0.18/0.19)/(math.Sqrt(0.75/0.4375)+0.5)
	near(t, "w after two steps", b.get(w), []float64{first, second})
}

func TestRowsAndSquaresByHand(t *testing.T) {
	b := newBench(t)
	x := b.put([]float64{1, 2, 3, 4, 5, 6}, 3, 2)
	y := alloc(b, 2, 2)
	b.GatherRows(y, x, b.ints(2, 0))
	near(t, "gathered", b.get(y), []float64{5, 6, 1, 2})
	b.ScatterRows(x, y, b.ints(1, 2))
	near(t, "scattered", b.get(x), []float64{1, 2, 5, 6, 1, 2})
	b.AddRows(x, y, b.ints(0, 0))
	near(t, "added", b.get(x), []float64{7, 10, 5, 6, 1, 2})
	out := b.put([]float64{1000}, 1)
	b.SumSquares(out, x)
	near(t, "Σ x² + 1000", b.get(out), []float64{1215})
}

// TestCopyRounds: the reference has no other operation on the narrow types.
func TestCopyRounds(t *testing.T) {
	b := newBench(t)
	x := b.put([]float64{1 + 1.0/256, 1 + 3.0/256, 0.1, -7}, 4)
	for dtype, want := range map[tensor.DType][]float64{
		tensor.BFloat16: {1, 1 + 4.0/256, 0.10009765625, -7},
		tensor.Float32:  {1 + 1.0/256, 1 + 3.0/256, float64(float32(0.1)), -7},
	} {
		narrow, back := b.Alloc(dtype, 4), alloc(b, 4)
		b.Copy(narrow, x)
		b.Copy(back, narrow)
		near(t, dtype.String(), b.get(back), want)
	}
}
