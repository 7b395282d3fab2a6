package falcon_test

import (
	"slices"
	"testing"

	"alfred/internal/checkpoint/safetensors/goldentest"
	"alfred/internal/falcon"
)

// TestRowsThatAreNotRead: the last block computes only what the head reads. Outputs are those of a batch that is read everywhere, and the
// gradients those that it has when what else is read has a gradient of 0. Sequences without any row that is read are among them.
func TestRowsThatAreNotRead(t *testing.T) {
	eachGolden(t, append(slices.Clone(languageForms), scoreForms...), func(t *testing.T, g golden, p precision) {
		everywhere := g.sequences()
		sparse := slices.Clone(everywhere)
		var isRead []bool // of the outputs everywhere
		for i := range sparse {
			q := &sparse[i]
			from, to := q.To/3, q.To-q.To/5
			if i%3 == 1 {
				from, to = q.To/2, q.To/2
			}
			q.From, q.To = from, to
			for at := range everywhere[i].To {
				isRead = append(isRead, at >= from && at < to)
			}
		}
		pick := func(xs []float64) (read []float64) {
			for i, x := range xs {
				if isRead[i] {
					read = append(read, x)
				}
			}
			return read
		}
		a := make([]float64, len(isRead))
		for i := range a {
			if isRead[i] {
				a[i] = float64(i%7)/3 - 1
			}
		}
		for _, recompute := range []bool{false, true} {
			r := newRank(t, p.device(), g, falcon.Options{Recompute: recompute})
			logp, entropy, value, err := r.train(together(everywhere), everywhere, a, a, a)
			if err != nil {
				t.Fatal(err)
			}
			want, err := r.gradients()
			if err != nil {
				t.Fatal(err)
			}
			r.exec.Stream.Zero(r.grads)
			gotLogp, gotEntropy, gotValue, err := r.train(together(sparse), sparse, pick(a), pick(a), pick(a))
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.gradients()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(gotLogp, pick(logp)) || !slices.Equal(gotEntropy, pick(entropy)) || !slices.Equal(gotValue, pick(value)) {
				t.Error("outputs differ")
			}
			goldentest.NearTensors(t, "gradients", got, want, p.relative, p.absolute)
		}
	})
}
