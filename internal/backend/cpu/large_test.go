package cpu

import (
	"math"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// The shapes of the conformance suite fit into one piece of everything. These need several, and compare some elements with
// float64. A sum of k products of normal numbers is off by about √k·2^-24 in each of some roundings: 1e-5 of √k is ample.

// dots holds elements of y = a·b against float64: a(i, l) and b(l, j) with l below k.
func (r *rig) dots(name string, y []float64, m, n, k int, a, b func(i, l int) float64) {
	r.Helper()
	for range 500 {
		i, j := r.rng.IntN(m), r.rng.IntN(n)
		want := 0.0
		for l := range k {
			want += a(i, l) * b(l, j)
		}
		if got := y[i*n+j]; math.Abs(got-want) > 1e-5*math.Sqrt(float64(k)) {
			r.Fatalf("%s: element %d, %d is %v, want %v", name, i, j, got, want)
		}
	}
}

func TestLargeProducts(t *testing.T) {
	eachKernel(t, func(r *rig) {
		// Left operand above blockBytes, several blocks of rows.
		const n, i, o = 531, 4200, 70
		x, w, y := r.random(tensor.Float32, 1, n, i), r.random(tensor.Float32, 1, o, i), r.s.Alloc(tensor.Float32, n, o)
		r.s.MatMul(y, x, w, backend.Epilogue{})
		xs, ws := r.read(x), r.read(w)
		r.dots("x·wᵀ", r.read(y), n, o, i, func(n, l int) float64 { return xs[n*i+l] }, func(l, o int) float64 { return ws[o*i+l] })
		dx, dy := r.s.Alloc(tensor.Float32, n, i), r.random(tensor.Float32, 1, n, o)
		r.s.MatMulInput(dx, dy, w, backend.Set)
		dys := r.read(dy)
		r.dots("dy·w", r.read(dx), n, i, o, func(n, l int) float64 { return dys[n*o+l] }, func(l, c int) float64 { return ws[l*i+c] })
	})
}

func TestLargeWeightGradient(t *testing.T) {
	eachKernel(t, func(r *rig) {
		// Right operand above rightBytes.
		const n, i, o = 1061, 4100, 9
		x, dy, dw := r.random(tensor.Float32, 1, n, i), r.random(tensor.Float32, 1, n, o), r.s.Zeros(tensor.Float32, o, i)
		r.s.MatMulWeight(dw, dy, x)
		xs, dys := r.read(x), r.read(dy)
		r.dots("dyᵀ·x", r.read(dw), o, i, n, func(o, l int) float64 { return dys[l*9+o] }, func(l, c int) float64 { return xs[l*i+c] })
	})
}

func eachKernel(t *testing.T, test func(r *rig)) {
	for _, isa := range InstructionSets() {
		t.Run(isa, func(t *testing.T) { test(newRig(t, Options{Workers: 2, ISA: isa}, 96<<20)) })
	}
}

// TestLargeHead needs several pieces of rows and of the vocabulary, and takes the weight with and without a stamp.
func TestLargeHead(t *testing.T) {
	eachKernel(t, func(r *rig) {
		const n, d, v, first, scale = 301, 22, 4500, 64, 0.7
		const f32 = tensor.Float32
		h, w := r.random(f32, 1, n, d), r.random(f32, 1, v, d)
		targets := r.ints([]int{n}, func(i int) int { return 60 + i*16 })
		head := backend.Head{First: first, Scale: scale}
		stats, logp, lse, entropy := r.s.Alloc(f32, n, 4), r.s.Alloc(f32, n), r.s.Alloc(f32, n), r.s.Alloc(f32, n)
		dlogp, dentropy := r.random(f32, 1, n), r.random(f32, 1, n)
		var grads [2][2]tensor.Tensor
		for i, weight := range []tensor.Tensor{w, w.WithStamp(&tensor.Stamp{})} {
			dh, dw := r.s.Zeros(f32, n, d), r.s.Zeros(f32, v, d)
			r.s.LogProbStats(stats, h, weight, targets, head)
			r.s.LogProbMerge(logp, lse, entropy, stats.Reshape(1, n, 4))
			r.s.LogProbBackward(dh, dw, h, weight, targets, lse, entropy, dlogp, dentropy, head)
			grads[i] = [2]tensor.Tensor{dh, dw}
		}
		for i := range 2 {
			if string(r.bits(grads[0][i])) != string(r.bits(grads[1][i])) {
				t.Errorf("gradient %d depends on the stamp", i)
			}
		}
		hs, ws, dl, de := r.read(h), r.read(w), r.read(dlogp), r.read(dentropy)
		wantDH, wantDW, wantLogp := make([]float64, n*d), make([]float64, v*d), make([]float64, n)
		for n := range n {
			z, top := make([]float64, v), math.Inf(-1)
			for v := range z {
				for i := range d {
					z[v] += scale * hs[n*d+i] * ws[v*d+i]
				}
				top = max(top, z[v])
			}
			sum, mean := 0.0, 0.0
			for _, z := range z {
				sum += math.Exp(z - top)
				mean += math.Exp(z-top) * z
			}
			l := top + math.Log(sum)
			target := 60 + n*16 - first
			wantLogp[n] = -l
			for v, z := range z {
				p, hit := math.Exp(z-l), 0.0
				if v == target {
					hit = 1
					wantLogp[n] += z
				}
				dz := dl[n]*(hit-p) - de[n]*p*(z-mean/sum)
				for i := range d {
					wantDH[n*d+i] += scale * dz * ws[v*d+i]
					wantDW[v*d+i] += scale * dz * hs[n*d+i]
				}
			}
		}
		for name, pair := range map[string][2][]float64{"logp": {r.read(logp), wantLogp}, "dh": {r.read(grads[0][0]), wantDH}, "dw": {r.read(grads[0][1]), wantDW}} {
			off, size := 0.0, 0.0
			for i, want := range pair[1] {
				off, size = math.Hypot(off, pair[0][i]-want), math.Hypot(size, want)
			}
			if !(off <= 1e-5*size) {
				t.Errorf("%s: the error is %.3g of it", name, off/size)
			}
		}
	})
}
