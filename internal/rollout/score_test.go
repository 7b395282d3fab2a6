package rollout_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"alfred/internal/falcon"
	"alfred/internal/nn"
	"alfred/internal/pipeline"
	"alfred/internal/rollout"
	"github.com/google/go-cmp/cmp"
)

// choices are requests as evaluations make them: several continuations of each of the prompts that begin alike, of one token and of
// many, and whole texts.
func choices(cfg falcon.Config) (rs []rollout.ScoreRequest) {
	r := rand.New(rand.NewPCG(3, 9))
	for _, q := range alike(cfg) {
		for range 1 + r.IntN(3) {
			ids := append([]int32(nil), q.Prompt...)
			for range 1 + r.IntN(20) {
				ids = append(ids, int32(r.IntN(cfg.VocabSize)))
			}
			ids = ids[:min(len(ids), cfg.MaxPositions+1)]
			rs = append(rs, rollout.ScoreRequest{IDs: ids, From: min(len(q.Prompt), len(ids)-1)})
		}
		rs = append(rs, rollout.ScoreRequest{IDs: q.Prompt, From: 1}, rollout.ScoreRequest{IDs: q.Prompt, From: len(q.Prompt) - 1})
	}
	r.Shuffle(len(rs), func(i, j int) { rs[i], rs[j] = rs[j], rs[i] })
	return rs
}

func scoreAll(t *testing.T, e *pipeline.Executor, requests []rollout.ScoreRequest, limits rollout.Limits) ([]rollout.Score, rollout.Stats) {
	t.Helper()
	d, err := rollout.Open(e, limits)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	scores := make([]rollout.Score, len(requests))
	stats, err := rollout.ScoreAll(context.Background(), d, requests, limits, func(i int, s rollout.Score) error {
		if scores[i].LogProb != nil {
			t.Errorf("request %d is scored twice", i)
		}
		scores[i] = s
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return scores, stats
}

// TestScoresAreThoseOfTheForwardPass: with a cache, in any company and with any limits, the log-probs have the bits of a forward pass over
// each request by itself, and the beginnings that requests share are fed once.
func TestScoresAreThoseOfTheForwardPass(t *testing.T) {
	each(t, forms, func(t *testing.T, form string, p precision) {
		e, cfg, _ := open(t, form, p)
		rs := choices(cfg)
		want := make([][]float64, len(rs))
		var micros []pipeline.MicroBatch
		for i, r := range rs {
			q := nn.Sequence{IDs: r.IDs[:len(r.IDs)-1], From: r.From - 1, To: len(r.IDs) - 1, Next: r.IDs[len(r.IDs)-1]}
			micros = append(micros, pipeline.MicroBatch{Units: []pipeline.Unit{pipeline.Single(i, q)}})
		}
		if err := e.Score(context.Background(), micros, func(i int, out pipeline.Output) { want[i] = append([]float64(nil), out.LogProb...) }); err != nil {
			t.Fatal(err)
		}
		longest := 0
		for _, r := range rs {
			longest = max(longest, len(r.IDs)-1)
		}
		fed := 0
		for _, limits := range []rollout.Limits{
			rollout.ScoreLimits(longest, 4096, 16), rollout.ScoreLimits(longest, 50, 16), rollout.ScoreLimits(longest, 7, 4), rollout.ScoreLimits(longest, 300, 1),
		} {
			for _, page := range rand.New(rand.NewPCG(1, 2)).Perm(limits.CachePages()) {
				limits.Pages = append(limits.Pages, int32(page))
			}
			got, stats := scoreAll(t, e, rs, limits)
			for i := range rs {
				if diff := cmp.Diff(want[i], got[i].LogProb); diff != "" {
					t.Fatalf("%d tokens a step, pages of %d: request %d (-forward pass +cache):\n%s", limits.Tokens, limits.PageSize, i, diff)
				}
			}
			if fed = stats.Prompt - stats.Shared; fed > stats.Prompt*3/4 {
				t.Errorf("%d tokens a step, pages of %d: %d of %d tokens were fed, although most are shared", limits.Tokens, limits.PageSize, fed, stats.Prompt)
			}
		}
	})
}

// TestGreedyScores: at every position the best log-prob is that of the token which greedy generation chooses there, and it is the same
// whatever token is scored.
func TestGreedyScores(t *testing.T) {
	each(t, forms[:1], func(t *testing.T, form string, p precision) {
		e, cfg, _ := open(t, form, p)
		var prompts []rollout.Request
		for i, r := range alike(cfg) {
			prompts = append(prompts, rollout.Request{Sequence: i, Prompt: r.Prompt, Max: 5})
		}
		limits := rollout.Limits{Slots: 4, Tokens: 64, PageSize: 16, Longest: 176, EOD: noEOD}
		greedy, _, err := generate(e, prompts, limits, rollout.Sampling{Draw: nn.Draw{Greedy: true, Temperature: 1, TopP: 1}, LogProbs: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var rs []rollout.ScoreRequest
		for _, tr := range greedy {
			n, ids := len(tr.Prompt), tr.Tokens()
			other := append([]int32(nil), ids...)
			other[n] = (other[n] + 1) % int32(cfg.VocabSize)
			rs = append(rs, rollout.ScoreRequest{IDs: ids, From: n}, rollout.ScoreRequest{IDs: other, From: n})
		}
		scores, _ := scoreAll(t, e, rs, rollout.ScoreLimits(200, 512, 16))
		for i, tr := range greedy {
			chosen, other := scores[2*i], scores[2*i+1]
			if diff := cmp.Diff(tr.LogProb, chosen.LogProb); diff != "" {
				t.Errorf("sequence %d (-sampled +scored):\n%s", i, diff)
			}
			if !chosen.Greedy() {
				t.Errorf("sequence %d was chosen greedily, and scores say %v of %v", i, chosen.LogProb, chosen.Best)
			}
			// Both are differences of a logit and the log of the sum, of which one is rounded to the device's wide type before.
			if near := math.Abs(other.Best[0]-chosen.LogProb[0]) <= 1e-6; other.Greedy() || !near || other.LogProb[0] >= other.Best[0] {
				t.Errorf("sequence %d: another first token has log-prob %v, the best one %v, and greedy generation chose %v", i, other.LogProb[0], other.Best[0], chosen.LogProb[0])
			}
		}
	})
}

func TestScoreAllRefuses(t *testing.T) {
	e, _, _ := open(t, forms[0], precisions["float32"])
	limits := rollout.ScoreLimits(8, 32, 4)
	d, err := rollout.Open(e, limits)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, r := range []rollout.ScoreRequest{{}, {IDs: []int32{1}, From: 0}, {IDs: []int32{1, 2}, From: 0}, {IDs: []int32{1, 2}, From: 2}, {IDs: make([]int32, 10), From: 3}} {
		_, err := rollout.ScoreAll(context.Background(), d, []rollout.ScoreRequest{r}, limits, func(int, rollout.Score) error { return nil })
		if err == nil {
			t.Errorf("%v from %d: no error", r.IDs, r.From)
		}
	}
}
