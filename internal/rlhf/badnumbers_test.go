package rlhf

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/telemetry"
)

// badRun is a small PPO run on the CPU, ready to iterate.
func badRun(t *testing.T, trainer string) (*ppoStage, *State) {
	t.Helper()
	text := convergenceConfig(t, "", "kl_coef: 0.01, eval_every: 0"+trainer, "continuation_max_len: 4")
	p, st := newConvergence(t, text, func(response []int32) float64 { return float64(response[0]) })
	return p, st
}

func snapshot(t *testing.T, p *ppoStage) map[string][]float64 {
	t.Helper()
	all := map[string][]float64{}
	for _, m := range p.trained() {
		for name, w := range weights(t, m) {
			all[m.role+"/"+name] = w
		}
	}
	return all
}

func sameWeights(a, b map[string][]float64) bool {
	return maps.EqualFunc(a, b, slices.Equal[[]float64])
}

// TestBadScoreDropsTheIteration: a score that is not finite drops the updates of both models, is counted, and the third iteration
// in a row that has one stops the run. A good one in between starts the count again.
func TestBadScoreDropsTheIteration(t *testing.T) {
	for name, bad := range map[string]float64{"NaN": math.NaN(), "Inf": math.Inf(1)} {
		t.Run(name, func(t *testing.T) {
			p, st := badRun(t, "")
			poison := true
			p.scorer = scoreFunc(func(response []int32) float64 {
				if poison && response[0] > 5 {
					return bad
				}
				return 1
			})
			for i, isBad := range []bool{true, true, false, true, true, true} {
				poison = isBad
				before := snapshot(t, p)
				_, metrics, err := p.iterate(context.Background(), st)
				st.Step++
				if last := i == 5; last != errors.Is(err, ErrNumerical) {
					t.Fatalf("iteration %d: error %v", i, err)
				} else if last {
					if !strings.Contains(err.Error(), "sequence") {
						t.Errorf("the error names no sequence: %v", err)
					}
					return
				}
				if same := sameWeights(before, snapshot(t, p)); same != isBad {
					t.Fatalf("iteration %d: bad scores %v, weights unchanged %v", i, isBad, same)
				}
				if v, ok := metrics.Lookup(telemetry.ScoreMean); !ok || !isBad && math.IsNaN(v.Scalar()) {
					t.Errorf("iteration %d: score_mean %v", i, v)
				}
			}
		})
	}
}

// TestBadGradientDropsTheStep: a gradient that is not finite drops that optimizer step and no other, and leaves the moments alone.
func TestBadGradientDropsTheStep(t *testing.T) {
	p, st := badRun(t, "")
	if _, _, err := p.iterate(context.Background(), st); err != nil {
		t.Fatal(err)
	}
	st.Step++
	steps := map[string]int{"policy": p.policy.opt.Steps(), "value": p.value.opt.Steps()}
	poisoned := 0
	p.observe = func(m *model) {
		if m == p.value && poisoned < 2 { // the first two of the four value steps
			poisoned++
			g := m.stage.Params.Params()[3].Grad()
			xs := make([]float64, g.Len())
			xs[len(xs)-1] = math.NaN()
			m.stream.Upload(g, backend.Float64s(xs))
		}
	}
	if _, _, err := p.iterate(context.Background(), st); err != nil {
		t.Fatal(err)
	}
	if got := p.value.opt.Steps() - steps["value"]; got != 2 {
		t.Errorf("%d value steps were taken, want the 2 of 4 that were good", got)
	}
	if got := p.policy.opt.Steps() - steps["policy"]; got != 1 {
		t.Errorf("%d policy steps were taken, want 1", got)
	}
	if st.Skipped != 2 {
		t.Errorf("%d skipped steps counted, want 2", st.Skipped)
	}
	for name, w := range snapshot(t, p) {
		for _, x := range w {
			if math.IsNaN(x) {
				t.Fatalf("%s holds NaN", name)
			}
		}
	}
	st.Step++
	p.observe = func(m *model) {
		if m == p.value {
			g := m.stage.Params.Params()[0].Grad()
			m.stream.Upload(g.Slice(0, 1), backend.Float64s(slices.Repeat([]float64{math.Inf(-1)}, g.Cols())))
		}
	}
	if _, _, err := p.iterate(context.Background(), st); !errors.Is(err, ErrNumerical) {
		t.Errorf("three bad value steps in a row: error %v, want ErrNumerical", err)
	}
}

// TestRatioThatIsNotOneStopsTheRun: the self-test of every iteration fails when training sees other weights than scoring saw.
func TestRatioThatIsNotOneStopsTheRun(t *testing.T) {
	p, st := badRun(t, "")
	p.scorer = scoreFunc(func(response []int32) float64 {
		w := p.policy.stage.Params.Params()[0]
		xs := make([]float64, w.Len())
		if err := p.stream.Download(backend.Float64s(xs), w.Weight()).Wait(); err != nil {
			t.Fatal(err)
		}
		return 1
	})
	it, err := p.rollouts(context.Background(), st)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, err := range []error{
		p.score(ctx, it), p.read(ctx, p.reference, it, &it.reference, nil), p.read(ctx, p.policy, it, &it.logp, &it.entropy),
		p.laterValues(ctx, it), p.tokenRewards(st, it), p.firstValues(ctx, it), p.credit(it),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	it.logp[0][0] += 1e-3 // what stale weights would do
	err = p.updatePolicy(context.Background(), st, it, &telemetry.Metrics{})
	if !errors.Is(err, ErrNumerical) || !strings.Contains(err.Error(), "ratio") {
		t.Errorf("got %v, want a ratio failure", err)
	}
}

// TestValueWarmup: the policy stays as it is while only the value model is trained.
func TestValueWarmup(t *testing.T) {
	p, st := badRun(t, ", value_warmup_iterations: 1")
	for _, warm := range []bool{true, false} {
		policy, value := weights(t, p.policy), weights(t, p.value)
		if _, _, err := p.iterate(context.Background(), st); err != nil {
			t.Fatal(err)
		}
		st.Step++
		if same := sameWeights(policy, weights(t, p.policy)); same != warm {
			t.Errorf("warm-up %v: policy unchanged %v", warm, same)
		}
		if sameWeights(value, weights(t, p.value)) {
			t.Error("the value model was not trained")
		}
	}
}

// TestEarlyStop: with a tiny limit on approx_kl, later policy steps of the iteration are left out and counted.
func TestEarlyStop(t *testing.T) {
	p, st := badRun(t, ", policy_epochs: 3, early_stop_kl: 1.0e-12")
	_, metrics, err := p.iterate(context.Background(), st)
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := metrics.Lookup(telemetry.DroppedPolicySteps); !ok || v.Scalar() != 1 {
		t.Errorf("dropped %v policy steps, want 1: the first moves the policy, the second sees it", v)
	}
	if got := p.policy.opt.Steps(); got != 2 {
		t.Errorf("%d policy steps, want 2", got)
	}
}
