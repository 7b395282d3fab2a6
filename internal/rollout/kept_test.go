package rollout_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/nn"
	"alfred/internal/pipeline"
	"alfred/internal/random"
	"alfred/internal/rollout"
	"alfred/internal/tensor"
)

// trained is what a training step sees of sequences, and what it leaves: outputs and all gradients.
type trained struct {
	logp, entropy []float64
	gradients     map[string][]float64
}

// train runs sequences in micro-batches of at most budget tokens forward and backward.
func train(t *testing.T, e *pipeline.Executor, grads tensor.Tensor, seqs []nn.Sequence, budget int) (got trained) {
	t.Helper()
	var units []pipeline.Unit
	for i, q := range seqs {
		units = append(units, pipeline.Single(i, q))
	}
	e.Stream.Zero(grads)
	params(e).Lend(grads)
	err := e.Train(context.Background(), pipeline.Partition(units, 1, budget)[0], func(_ int, out pipeline.Output, grad pipeline.Gradient) {
		got.logp, got.entropy = append(got.logp, out.LogProb...), append(got.entropy, out.Entropy...)
		for i := range grad.LogProb {
			grad.LogProb[i], grad.Entropy[i] = float64(i%7)-3, float64(i%5)/4
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	got.gradients = map[string][]float64{}
	for _, p := range params(e).Params() {
		xs := make([]float64, p.Len())
		if err := e.Stream.Download(backend.Float64s(xs), p.Grad()).Wait(); err != nil {
			t.Fatal(err)
		}
		got.gradients[p.Name] = xs
	}
	return got
}

// scoringPeak is the most memory in use while sequences are scored in one micro-batch.
func scoringPeak(t *testing.T, e *pipeline.Executor, seqs []nn.Sequence) int {
	t.Helper()
	e.Arena.ResetPeak()
	unit := pipeline.Unit{Sequences: seqs}
	if err := e.Score(context.Background(), []pipeline.MicroBatch{{Units: []pipeline.Unit{unit}}}, func(int, pipeline.Output) {}); err != nil {
		t.Fatal(err)
	}
	return e.Arena.Peak()
}

// TestKeptRolloutsTrainLikeOthers: sequences whose activations the cache has kept give the outputs and the gradients that they give with
// a forward pass of their own, to the bit: however the rollout was scheduled, with pages that sequences share, and with a truncated draw.
func TestKeptRolloutsTrainLikeOthers(t *testing.T) {
	some := forms
	if testing.Short() {
		some = forms[:1]
	}
	each(t, some, func(t *testing.T, form string, p precision) {
		e, cfg, _ := open(t, form, p)
		e.Entropy, e.EntropyGradient = true, true
		before := e.Stream.Use(e.Arena)
		grads := e.Stream.Zeros(e.Stream.Wide(), params(e).Len())
		e.Stream.Use(before)
		start := e.Arena.Used()
		rs := append(alike(cfg), requests(cfg.VocabSize)...)
		for i := range rs {
			rs[i].Sequence = i
		}
		cases := []struct {
			limits rollout.Limits
			draw   nn.Draw
			budget int // tokens of a micro-batch
		}{
			{rollout.Limits{Slots: len(rs), Tokens: 5000, PageSize: 16}, nn.Draw{Temperature: 0.9, TopP: 1}, 10000},
			{rollout.Limits{Slots: 3, Tokens: 7, PageSize: 64}, nn.Draw{Temperature: 1.3, TopP: 1}, 200},
			{rollout.Limits{Slots: 5, Tokens: 100, PageSize: 16}, nn.Draw{Temperature: 1, TopK: 9, TopP: 0.8}, 300},
		}
		if p.dtype == tensor.Float64 { // slow
			cases = cases[1:2]
		}
		for _, c := range cases {
			c.limits.Longest, c.limits.EOD, c.limits.Keep = 176, 3, len(rs)
			e.Scale = 1 / c.draw.Temperature
			d, err := rollout.Open(e, c.limits)
			if err != nil {
				t.Fatal(err)
			}
			sampling := rollout.Sampling{Draw: c.draw, Key: random.Key{Seed: 5, Purpose: random.Rollout}, LogProbs: true}
			trajectories, stats, err := rollout.Generate(context.Background(), d, rs, c.limits, sampling, nil)
			if err != nil {
				t.Fatal(err)
			}
			if stats.Shared == 0 {
				t.Error("no pages are shared")
			}
			var plain, kept []nn.Sequence
			var logp, entropy []float64
			for _, tr := range trajectories {
				ids, first := tr.Tokens(), len(tr.Prompt)-1
				last := len(ids) - 1
				if len(tr.Slots) != last {
					t.Fatalf("sequence %d: %d slots for %d tokens that were fed", tr.Sequence, len(tr.Slots), last)
				}
				q := nn.Sequence{IDs: ids[:last], From: first, To: last, Next: ids[last]}
				plain = append(plain, q)
				q.Kept = nn.Kept{Cache: d.Cache, Slots: tr.Slots}
				kept = append(kept, q)
				logp, entropy = append(logp, tr.LogProb...), append(entropy, tr.Entropy...)
			}
			want := train(t, e, grads, plain, c.budget)
			got := train(t, e, grads, kept, c.budget)
			if a, b := scoringPeak(t, e, plain), scoringPeak(t, e, kept); a != b {
				t.Errorf("scoring sequences needs %d bytes, and %d where a cache keeps them", a, b)
			}
			e.Stream.Zero(d.Cache.Kept.Chosen.LogProb)
			if others := train(t, e, grads, kept, c.budget); slices.ContainsFunc(others.logp, func(x float64) bool { return x != 0 }) {
				t.Error("log-probs are not those that the cache has kept")
			}
			d.Close()
			if !slices.Equal(want.logp, logp) || !slices.Equal(want.entropy, entropy) {
				t.Fatal("training sees other log-probs or entropies than the sampler")
			}
			if err := same(got, want); err != nil {
				t.Fatalf("%+v: %v", c.limits, err)
			}
			if e.Arena.Used() != start {
				t.Errorf("%d bytes are left in the arena", e.Arena.Used()-start)
			}
		}
	})
}

// same demands equal bits.
func same(got, want trained) error {
	if !slices.Equal(got.logp, want.logp) || !slices.Equal(got.entropy, want.entropy) {
		return fmt.Errorf("outputs differ")
	}
	for name, w := range want.gradients {
		if !slices.Equal(got.gradients[name], w) {
			return fmt.Errorf("gradients of %s differ", name)
		}
	}
	return nil
}
