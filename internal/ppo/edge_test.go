package ppo

import (
	"math"
	"strings"
	"testing"
)

// A whole iteration, from log-probs to gradients, on the batches that break padded implementations.
func TestDegenerateIterationsAreFinite(t *testing.T) {
	for _, c := range []struct {
		what    string
		scoring Scoring
		lengths []int
		hasEOD  bool
	}{
		{"all cut", Scoring{OnEOD: true}, []int{3, 3, 3}, false},
		{"all cut, masked", Scoring{OnEOD: true, MissingEOD: MissingMask}, []int{3, 3, 3}, false},
		{"all cut, zero", Scoring{OnEOD: true, MissingEOD: MissingZero}, []int{3, 3, 3}, false},
		{"all cut, penalty", Scoring{OnEOD: true, MissingEOD: MissingPenalty, Penalty: -1}, []int{3, 3}, false},
		{"one token", Scoring{OnEOD: true}, []int{1}, true},
		{"EOD first, before EOD", Scoring{}, []int{1}, true},
		{"one empty", Scoring{OnEOD: true}, []int{0, 2}, false},
		{"all empty", Scoring{OnEOD: true}, []int{0, 0}, false},
		{"no sequences", Scoring{OnEOD: true}, nil, false},
	} {
		for _, whitenRewards := range []bool{false, true} {
			logProb, ref, values := Ragged{}, Ragged{}, Ragged{}
			var places []ScorePlace
			var scores []float64
			var masked []bool
			for s, n := range c.lengths {
				logProb, ref, values = append(logProb, constant(n, -1)), append(ref, constant(n, -2)), append(values, constant(n, 0.5))
				places = append(places, c.scoring.Place(n, c.hasEOD))
				scores = append(scores, float64(s))
				masked = append(masked, places[s].Masked)
			}
			rewards := ok[Rewards](t)(TokenRewards(logProb, ref, scores, places, RewardConfig{KLCoef: 0.01, ScoreClip: 5}))
			perToken := rewards.PerToken
			if whitenRewards {
				perToken = ok[Ragged](t)(Whiten(perToken, masked, false))
			}
			advantages, returns, err := Advantages(perToken, values, 1, 0.95)
			if err != nil {
				t.Fatal(err)
			}
			white := ok[Ragged](t)(Whiten(advantages, masked, true))
			policy := ok[PolicyResult](t)(PolicyLoss(PolicyBatch{LogProb: logProb, OldLogProb: logProb, Advantage: white, Exclude: masked},
				PolicyConfig{ClipRange: 0.2}, logProb.Tokens(masked)))
			value := ok[ValueResult](t)(ValueLoss(ValueBatch{values, values, returns}, 0.2, values.Tokens(nil)))
			explained := ok[float64](t)(ExplainedVariance(values, returns))
			numbers := []float64{policy.Loss, policy.Stats.ApproxKL(), policy.Stats.ClipFraction(), policy.Stats.MeanRatio(), policy.Stats.MaxRatioError,
				value.Loss, value.Stats.ClipFraction(), explained}
			for s := range logProb {
				numbers = append(append(append(numbers, policy.DLogProb[s]...), value.DValue[s]...), white[s]...)
			}
			for _, x := range numbers {
				if !finite(x) {
					t.Errorf("%s: %v among %v", c.what, x, numbers)
					break
				}
			}
			if c.scoring.MissingEOD == MissingMask {
				for s := range logProb {
					for i := range logProb[s] {
						if policy.DLogProb[s][i] != 0 || value.DValue[s][i] == 0 {
							t.Errorf("%s: policy gradient %v, value gradient %v; want 0 and not 0", c.what, policy.DLogProb[s][i], value.DValue[s][i])
						}
					}
				}
			}
		}
	}
}

func constant(n int, x float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = x
	}
	return out
}

// NaN and Inf reach the loss or the statistics: the caller decides, so they must be seen.
func TestNonFiniteNumbersAreVisible(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, b := range []PolicyBatch{
		{LogProb: Ragged{{nan}}, OldLogProb: Ragged{{0}}, Advantage: Ragged{{1}}},
		{LogProb: Ragged{{0}}, OldLogProb: Ragged{{nan}}, Advantage: Ragged{{-1}}},
		{LogProb: Ragged{{0}}, OldLogProb: Ragged{{0}}, Advantage: Ragged{{nan}}},
		{LogProb: Ragged{{0}}, OldLogProb: Ragged{{-inf}}, Advantage: Ragged{{-1}}},
	} {
		out := ok[PolicyResult](t)(PolicyLoss(b, PolicyConfig{ClipRange: 0.2}, 1))
		if finite(out.Loss) || finite(out.DLogProb[0][0]) {
			t.Errorf("%+v: loss %v, gradient %v", b, out.Loss, out.DLogProb)
		}
		if finite(b.Advantage[0][0]) && out.Stats.RatioWithin(1e-3) {
			t.Errorf("%+v: ratio error %v is within tolerance", b, out.Stats.MaxRatioError)
		}
	}
	for _, b := range []ValueBatch{{Ragged{{nan}}, Ragged{{0}}, Ragged{{1}}}, {Ragged{{0}}, Ragged{{0}}, Ragged{{nan}}}, {Ragged{{inf}}, Ragged{{inf}}, Ragged{{0}}}} {
		if out := ok[ValueResult](t)(ValueLoss(b, 0.2, 1)); finite(out.Loss) || finite(out.DValue[0][0]) {
			t.Errorf("%+v: loss %v, gradient %v", b, out.Loss, out.DValue)
		}
	}
	if out := ok[RankingResult](t)(RankingLoss([]RankedList{{Scores: []float64{nan, 1}}}, 1)); finite(out.Loss) {
		t.Errorf("ranking loss of a NaN score is %v", out.Loss)
	}
}

// Margins of a thousand neither overflow nor lose the loss.
func TestRankingExtremeMargins(t *testing.T) {
	out := ok[RankingResult](t)(RankingLoss([]RankedList{{Scores: []float64{-500, 500}}, {Scores: []float64{500, -500}}}, 2))
	near(t, "loss", out.Loss, 500, 1e-10)
	allNear(t, "gradient", out.DScore[0], []float64{-0.5, 0.5}, exact)
	allNear(t, "gradient", out.DScore[1], []float64{0, 0}, exact)
}

func TestInfiniteClipRangesNeverClip(t *testing.T) {
	inf := math.Inf(1)
	p := ok[PolicyResult](t)(PolicyLoss(PolicyBatch{LogProb: Ragged{{0}}, OldLogProb: Ragged{{-3}}, Advantage: Ragged{{1}}}, PolicyConfig{ClipRange: inf}, 1))
	v := ok[ValueResult](t)(ValueLoss(ValueBatch{Ragged{{5}}, Ragged{{0}}, Ragged{{6}}}, inf, 1))
	if p.Stats.Clipped != 0 || v.Stats.Clipped != 0 || v.DValue[0][0] != -1 {
		t.Errorf("clipped: %+v %+v %v", p.Stats, v.Stats, v.DValue)
	}
	near(t, "policy loss", p.Loss, -math.Exp(3), exact*20)
}

// Whatever disagrees is named with its place.
func TestBadArguments(t *testing.T) {
	one, two := Ragged{{1}}, Ragged{{1, 2}}
	place := []ScorePlace{{}}
	for _, c := range []struct {
		call func() error
		want string
	}{
		{func() error { _, err := TokenRewards(one, two, []float64{1}, place, RewardConfig{}); return err }, "sequence 0 has 1 log-probs but 2 reference log-probs"},
		{func() error { _, err := TokenRewards(one, Ragged{}, []float64{1}, place, RewardConfig{}); return err }, "1 sequences of log-probs but 0"},
		{func() error { _, err := TokenRewards(one, one, nil, place, RewardConfig{}); return err }, "0 scores and 1 places for 1"},
		{func() error {
			_, err := TokenRewards(one, one, []float64{1}, []ScorePlace{{Pay: 1}}, RewardConfig{})
			return err
		}, "sequence 0 is paid at token 1 of 1"},
		{func() error {
			_, err := TokenRewards(one, one, []float64{1}, place, RewardConfig{ScoreClip: -1})
			return err
		}, "score clip -1"},
		{func() error { _, _, err := Advantages(one, two, 1, 1); return err }, "1 rewards but 2 values"},
		{func() error { _, err := Whiten(one, []bool{true, false}, true); return err }, "2 exclusions for 1"},
		{func() error { _, err := ExplainedVariance(one, two); return err }, "1 values but 2 returns"},
		{func() error {
			_, err := PolicyLoss(PolicyBatch{LogProb: one, OldLogProb: one, Advantage: two}, PolicyConfig{}, 9)
			return err
		}, "but 2 advantages"},
		{func() error {
			_, err := PolicyLoss(PolicyBatch{LogProb: one, OldLogProb: one, Advantage: one}, PolicyConfig{}, 0)
			return err
		}, "denominator 0 is smaller than the 1 tokens"},
		{func() error {
			_, err := PolicyLoss(PolicyBatch{LogProb: one, OldLogProb: one, Advantage: one}, PolicyConfig{EntropyCoef: 1}, 1)
			return err
		}, "needs entropies"},
		{func() error { _, err := PolicyLoss(PolicyBatch{}, PolicyConfig{ClipRange: math.NaN()}, 1); return err }, "clip range NaN"},
		{func() error { _, err := ValueLoss(ValueBatch{one, one, one}, -0.1, 1); return err }, "clip range -0.1"},
		{func() error { _, err := ValueLoss(ValueBatch{two, two, two}, 0.1, 1); return err }, "denominator 1 is smaller than the 2 tokens"},
		{func() error { _, err := SupervisedLoss(two, [][]bool{{true}}, 1); return err }, "2 log-probs but a mask of 1"},
		{func() error { _, err := SupervisedLoss(two, nil, 1); return err }, "denominator 1 is smaller than the 2 tokens"},
		{func() error {
			_, err := RankingLoss([]RankedList{{Scores: []float64{1}, Ranks: []int{}}}, 1)
			return err
		}, "list 0 has 1 scores but 0 ranks"},
		{func() error { _, err := RankingLoss(make([]RankedList, 2), 1); return err }, "denominator 1 is smaller than the 2 lists"},
	} {
		if err := c.call(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v does not say %q", err, c.want)
		}
	}
}
