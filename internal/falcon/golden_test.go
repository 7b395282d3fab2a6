package falcon_test

import (
	"math"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/cpu"
	"alfred/internal/backend/reference"
	"alfred/internal/checkpoint/safetensors/goldentest"
	"alfred/internal/falcon"
)

var languageForms = []string{"form-40b", "form-40b-1ln", "form-7b", "form-rw", "form-rw-4"}
var scoreForms = []string{"form-40b-reward", "form-rw-reward"}

// precision is what a device promises against float64 goldens: the reference repeats float64 arithmetic in another order, the
// CPU backend works in float32 and keeps the design's tolerances.
type precision struct {
	device             func() backend.Device
	value              float64 // relative and absolute, of log-probs, entropies and values
	relative, absolute float64 // of a gradient, against its own norm and against that of all gradients
}

var precisions = map[string]precision{
	"reference": {reference.New, 1e-11, 1e-11, 1e-13},
	"cpu":       {func() backend.Device { return cpu.New(2) }, 1e-5, 1e-5, 1e-7},
}

func eachGolden(t *testing.T, forms []string, test func(t *testing.T, g golden, p precision)) {
	for device, p := range precisions {
		for _, form := range forms {
			t.Run(device+"/"+form, func(t *testing.T) { test(t, openGolden(t, form), p) })
		}
	}
}

func constant(n int, x float64) []float64 {
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = x
	}
	return xs
}

// TestLanguageModelMatchesTransformers holds log-probs, entropies, the loss and every parameter gradient of two losses.
func TestLanguageModelMatchesTransformers(t *testing.T) {
	eachGolden(t, languageForms, func(t *testing.T, g golden, p precision) {
		seqs, want := g.sequences(), g.Floats("logp")
		m := len(want)
		r := newRank(t, p.device(), g, falcon.Options{})
		logp, entropy, _, err := r.train(together(seqs), seqs, constant(m, -1/float64(m)), constant(m, 0), nil)
		if err != nil {
			t.Fatal(err)
		}
		goldentest.Near(t, "logp", logp, want, p.value, p.value)
		goldentest.Near(t, "entropy", entropy, g.Floats("entropy"), p.value, p.value)
		loss := 0.0
		for _, x := range logp {
			loss -= x / float64(m)
		}
		goldentest.Near(t, "loss", []float64{loss}, g.Floats("loss"), p.value, p.value/10)
		got, err := r.gradients()
		if err != nil {
			t.Fatal(err)
		}
		// These goldens are stored in float32: 6e-8 of each element.
		goldentest.NearTensors(t, "gradient", got, g.Under("gradient/"), math.Max(p.relative, 1e-7), math.Max(p.absolute, 1e-9))

		r = newRank(t, p.device(), g, falcon.Options{})
		if _, _, _, err = r.train(together(seqs), seqs, g.Floats("weight_logp"), g.Floats("weight_entropy"), nil); err != nil {
			t.Fatal(err)
		}
		if got, err = r.gradients(); err != nil {
			t.Fatal(err)
		}
		goldentest.NearTensors(t, "gradient", got, g.Under("weighted_gradient/"), p.relative, p.absolute)
	})
}

// TestScoreModelMatchesTransformers holds values at every position, scores at the last, and every parameter gradient.
func TestScoreModelMatchesTransformers(t *testing.T) {
	eachGolden(t, scoreForms, func(t *testing.T, g golden, p precision) {
		seqs := g.sequences()
		r := newRank(t, p.device(), g, falcon.Options{})
		_, _, value, err := r.train(together(seqs), seqs, nil, nil, g.Floats("weight_values"))
		if err != nil {
			t.Fatal(err)
		}
		goldentest.Near(t, "value", value, g.Floats("values"), p.value, p.value)
		var scores []float64
		for _, end := range g.Ints("offsets")[1:] {
			scores = append(scores, value[end-1])
		}
		goldentest.Near(t, "score", scores, g.Floats("scores"), p.value, p.value)
		got, err := r.gradients()
		if err != nil {
			t.Fatal(err)
		}
		goldentest.NearTensors(t, "gradient", got, g.Under("weighted_gradient/"), p.relative, p.absolute)
	})
}
