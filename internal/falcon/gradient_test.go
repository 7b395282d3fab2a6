package falcon_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/cpu"
	"alfred/internal/backend/reference"
	"alfred/internal/checkpoint/safetensors/goldentest"
	"alfred/internal/falcon"
	"alfred/internal/tensor"
)

// TestGradientsAgainstCentralDifferences moves each parameter along a random direction and compares the change of the loss with
// what Backward says. It knows nothing of any other program.
func TestGradientsAgainstCentralDifferences(t *testing.T) {
	for _, form := range append(append([]string{}, languageForms...), scoreForms...) {
		t.Run(form, func(t *testing.T) {
			g := openGolden(t, form)
			r := newRank(t, reference.New(), g, falcon.Options{})
			seqs := g.sequences()[1:4]
			for i := range seqs { // heads are read in the middle of a sequence too
				seqs[i].From = len(seqs[i].IDs) / 3
			}
			rng := rand.New(rand.NewPCG(1, 2))
			total := 0
			for _, q := range seqs {
				total += q.To - q.From
			}
			a, b := make([]float64, total), make([]float64, total)
			for i := range a {
				a[i], b[i] = rng.NormFloat64(), rng.NormFloat64()
			}
			loss := func() float64 {
				logp, entropy, value, err := r.train([][]int{{0, 2}, {1}}, seqs, a, b, a)
				if err != nil {
					t.Fatal(err)
				}
				sum := 0.0
				for i := range a {
					sum += a[i]*logp[i] + b[i]*entropy[i] + a[i]*value[i]
				}
				return sum
			}
			loss()
			grads, err := r.gradients()
			if err != nil {
				t.Fatal(err)
			}
			s := r.exec.Stream
			for _, p := range r.stage.Params.Params() {
				w := make([]float64, p.Len())
				if err := s.Download(backend.Float64s(w), p.Weight()).Wait(); err != nil {
					t.Fatal(err)
				}
				direction, slope := make([]float64, len(w)), 0.0
				for i := range direction {
					direction[i] = rng.NormFloat64()
					slope += direction[i] * grads[p.Name][i]
				}
				const h = 1e-5
				at := func(x float64) float64 {
					moved := make([]float64, len(w))
					for i := range w {
						moved[i] = w[i] + x*direction[i]
					}
					s.Upload(p.Weight(), backend.Float64s(moved))
					p.Touch()
					return loss()
				}
				// Five points: the error is of order h⁴ beside rounding of order 1e-16·loss/h.
				got := (8*(at(h)-at(-h)) - (at(2*h) - at(-2*h))) / (12 * h)
				at(0)
				if math.Abs(got-slope) > 1e-6*math.Abs(slope)+1e-6 {
					t.Errorf("%s: the loss changes by %.10g, Backward says %.10g", p.Name, got, slope)
				}
			}
		})
	}
}

// TestBFloat16IsAsGoodAsPyTorch: with weights and activations in bfloat16, errors are at most twice those of a plain bfloat16
// PyTorch model, both against float32 arithmetic on the same rounded weights.
func TestBFloat16IsAsGoodAsPyTorch(t *testing.T) {
	for _, form := range languageForms {
		t.Run(form, func(t *testing.T) {
			g := openGolden(t, form)
			seqs := g.sequences()
			m := len(g.Floats("logp"))
			run := func(dtype tensor.DType) (logp, entropy []float64, grads map[string][]float64) {
				r := newRank(t, cpu.New(2), g, falcon.Options{DType: dtype})
				if dtype == tensor.Float32 { // the weights that bfloat16 holds
					for _, p := range r.stage.Params.Params() {
						w := g.weights.Floats(p.Name)
						for i, x := range w {
							w[i] = float64(tensor.FromBFloat16(tensor.ToBFloat16(float32(x))))
						}
						r.exec.Stream.Upload(p.Weight(), backend.Float64s(w))
						p.Touch()
					}
				}
				logp, entropy, _, err := r.train(together(seqs), seqs, constant(m, -1/float64(m)), constant(m, 0), nil)
				if err != nil {
					t.Fatal(err)
				}
				if grads, err = r.gradients(); err != nil {
					t.Fatal(err)
				}
				return logp, entropy, grads
			}
			logp, entropy, grads := run(tensor.BFloat16)
			atMostTwice := func(what string, got, want, theirs []float64) {
				t.Helper()
				ours, limit := goldentest.Distance(got, want), 2*goldentest.Distance(theirs, want)
				t.Logf("%s: error %.3g, PyTorch's %.3g", what, ours, limit/2)
				if !(ours <= limit) {
					t.Errorf("%s: error %.3g is more than twice PyTorch's %.3g", what, ours, limit/2)
				}
			}
			atMostTwice("logp", logp, g.Floats("float32_rounded/logp"), g.Floats("bfloat16/logp"))
			atMostTwice("entropy", entropy, g.Floats("float32_rounded/entropy"), g.Floats("bfloat16/entropy"))
			_, _, exact := run(tensor.Float32)
			for name, w := range exact {
				theirs := g.Floats("bfloat16/gradient_error/" + name)
				if theirs == nil {
					t.Fatalf("the golden has no error for %s", name)
				}
				if ours := goldentest.Distance(grads[name], w) / goldentest.Norm(w); !(ours <= 2*theirs[0]) {
					t.Errorf("gradient of %s: relative error %.3g is more than twice PyTorch's %.3g", name, ours, theirs[0])
				}
			}
		})
	}
}
