package ppo

import (
	"math"
	"testing"
)

// One test for each equation or published detail. The worked example has β = 0.01, γ = 1, λ = 0.95 and a score of 0.8 at the
// fourth and last token.
var (
	exampleLogProb    = []float64{-1.0, -2.0, -0.5, -1.5}
	exampleRefLogProb = []float64{-1.2, -1.7, -0.5, -1.0}
	exampleValue      = []float64{0.1, 0.2, 0.3, 0.4}
	exampleReward     = []float64{-0.002, 0.003, 0, 0.805}
	exampleAdvantage  = []float64{0.633336875, 0.5635125, 0.48475, 0.405} // exact: 0.405·0.95^k and so on, in decimals
	exampleReturn     = []float64{0.733336875, 0.7635125, 0.78475, 0.805}
)

const exact = 1e-12 // float64 sums of a handful of numbers near 1, with decimals as inputs

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %.15g, want %.15g within %g", what, got, want, tolerance)
	}
}

func allNear(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s has %d numbers, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !(math.Abs(got[i]-want[i]) <= tolerance) {
			t.Errorf("%s = %.15g, want %.15g within %g", what, got, want, tolerance)
			return
		}
	}
}

func ok[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(x T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
}

// Schulman 2020: k1 = d, k2 = d²/2, k3 = e^-d - 1 + d.
func TestSchulmanKLEstimators(t *testing.T) {
	for _, c := range []struct {
		estimator KLEstimator
		want      []float64
		tolerance float64
	}{
		{K1, []float64{0.2, -0.3, 0, -0.5}, exact},
		{K2, []float64{0.02, 0.045, 0, 0.125}, exact},
		{K3, []float64{0.018730753077981859, 0.049858807576003104, 0, 0.148721270700128147}, exact},
	} {
		got := make([]float64, 4)
		for i := range got {
			got[i] = c.estimator.At(exampleLogProb[i], exampleRefLogProb[i])
		}
		allNear(t, c.estimator.String(), got, c.want, c.tolerance)
	}
}

// All three average to the exact KL of two distributions when d is small and k1 and k3 always do: E[e^-d] = 1.
func TestSchulmanUnbiasedEstimators(t *testing.T) {
	policy, reference := []float64{0.7, 0.2, 0.1}, []float64{0.1, 0.3, 0.6}
	want := 0.7*math.Log(7) + 0.2*math.Log(2.0/3) + 0.1*math.Log(1.0/6)
	for _, e := range []KLEstimator{K1, K3} {
		mean := 0.0
		for i, p := range policy {
			mean += p * e.At(math.Log(p), math.Log(reference[i]))
		}
		near(t, "expected "+e.String(), mean, want, exact)
	}
}

// Ziegler et al., eq. 2: r_t = -β·k1_t, plus the score at the token that is paid.
func TestZieglerReward(t *testing.T) {
	got := ok[Rewards](t)(TokenRewards(Ragged{exampleLogProb}, Ragged{exampleRefLogProb}, []float64{0.8},
		[]ScorePlace{{Read: 3, Pay: 3}}, RewardConfig{KLCoef: 0.01}))
	allNear(t, "rewards", got.PerToken[0], exampleReward, exact)
	allNear(t, "kl", got.KL, []float64{-0.6}, exact)
	// Another estimator changes the penalty, not the KL that is reported.
	k2 := ok[Rewards](t)(TokenRewards(Ragged{exampleLogProb}, Ragged{exampleRefLogProb}, []float64{0.8},
		[]ScorePlace{{Read: 3, Pay: 3}}, RewardConfig{KLCoef: 0.01, Estimator: K2}))
	allNear(t, "rewards with k2", k2.PerToken[0], []float64{-0.0002, -0.00045, 0, 0.79875}, exact)
	allNear(t, "kl with k2", k2.KL, []float64{-0.6}, exact)
	allNear(t, "score", got.Score, []float64{0.8}, 0)
}

// Schulman et al. 2016, eq. 16, on the worked example.
func TestGAEEquation16(t *testing.T) {
	advantages, returns := GAE(exampleReward, exampleValue, 1, 0.95)
	allNear(t, "advantages", advantages, exampleAdvantage, exact)
	allNear(t, "returns", returns, exampleReturn, exact)
}

// NeMo-Aligner's hand-written case: λ = 0 leaves the one-step error.
func TestGAENeMoHandCase(t *testing.T) {
	advantages, _ := GAE([]float64{0, 0, 1, 0}, []float64{0, 1, 2, 3}, 0.5, 0)
	allNear(t, "advantages", advantages, []float64{0.5, 0, 0.5, -3}, 0)
}

// lm-human-preferences, whiten: population variance, rsqrt(var + 1e-8).
func TestWhitenAdvantages(t *testing.T) {
	got := ok[Ragged](t)(Whiten(Ragged{exampleAdvantage}, nil, true))
	// Evaluated with 40 digits from the exact advantages.
	allNear(t, "whitened", got[0], []float64{1.30730305394686551555, 0.49000477270679389503, -0.4319147700914214990, -1.3653930565622379114}, exact)
	kept := ok[Ragged](t)(Whiten(Ragged{exampleAdvantage}, nil, false))
	for i := range kept[0] {
		near(t, "whitened, mean kept", kept[0][i], got[0][i]+0.52164984375, exact)
	}
}

// One token has no spread, and must not blow up those that are left out of the statistics.
func TestWhitenOneToken(t *testing.T) {
	x := Ragged{{3}, {5, 4}}
	got := ok[Ragged](t)(Whiten(x, []bool{false, true}, true))
	allNear(t, "the token", got[0], []float64{0}, 0)
	allNear(t, "excluded tokens", got[1], []float64{2, 1}, 0)
	all := ok[Ragged](t)(Whiten(x, []bool{true, true}, true))
	allNear(t, "all excluded", all[1], x[1], 0)
}

// PPO eq. 7: the pessimistic bound binds only where moving the ratio further would be rewarded.
func TestPPOEquation7(t *testing.T) {
	for _, c := range []struct {
		ratio, advantage float64
		loss, gradient   float64 // gradient with respect to the log-prob
		clipped          bool
	}{
		{1, 2, -2, -2, false},
		{1.1, 2, -2.2, -2.2, false},
		{1.5, 2, -2.4, 0, true},    // already above 1+ε and good: no more
		{0.5, 2, -1, -1, false},    // below 1-ε but good: pull back up
		{0.5, -2, 1.6, 0, true},    // below 1-ε and bad: no more
		{1.5, -2, 3, 3, false},     // above 1+ε but bad: push down
		{1.5, 0, 0, 0, false},      //
		{0.9, -2, 1.8, 1.8, false}, //
	} {
		b := PolicyBatch{LogProb: Ragged{{math.Log(c.ratio)}}, OldLogProb: Ragged{{0}}, Advantage: Ragged{{c.advantage}}}
		got := ok[PolicyResult](t)(PolicyLoss(b, PolicyConfig{ClipRange: 0.2}, 1))
		near(t, "loss", got.Loss, c.loss, exact)
		near(t, "gradient", got.DLogProb[0][0], c.gradient, exact)
		if (got.Stats.Clipped == 1) != c.clipped {
			t.Errorf("ratio %v, advantage %v: clipped = %v, want %v", c.ratio, c.advantage, !c.clipped, c.clipped)
		}
	}
}

// PPO eq. 9: minus c times the mean entropy.
func TestPPOEquation9Entropy(t *testing.T) {
	b := PolicyBatch{LogProb: Ragged{{-1, -2}}, OldLogProb: Ragged{{-1, -2}}, Advantage: Ragged{{1, 3}}, Entropy: Ragged{{0.5, 0.7}}}
	got := ok[PolicyResult](t)(PolicyLoss(b, PolicyConfig{ClipRange: 0.2, EntropyCoef: 0.1}, 2))
	near(t, "loss", got.Loss, -2-0.1*0.6, exact)
	near(t, "surrogate", got.Surrogate, -2, exact)
	near(t, "bonus", got.EntropyBonus, 0.06, exact)
	allNear(t, "entropy gradient", got.DEntropy[0], []float64{-0.05, -0.05}, exact)
	near(t, "mean entropy", got.Stats.MeanEntropy(), 0.6, exact)
}

// One policy step per iteration: the ratio is exactly 1, nothing is clipped, and with whitened advantages the loss is 0.
func TestFirstStepIsAdvantageActorCritic(t *testing.T) {
	white := ok[Ragged](t)(Whiten(Ragged{exampleAdvantage}, nil, true))
	b := PolicyBatch{LogProb: Ragged{exampleLogProb}, OldLogProb: Ragged{exampleLogProb}, Advantage: white}
	got := ok[PolicyResult](t)(PolicyLoss(b, PolicyConfig{ClipRange: 0.2}, 4))
	if s := got.Stats; s.MaxRatioError != 0 || s.Clipped != 0 || s.ApproxKL() != 0 || s.MeanRatio() != 1 || !s.RatioWithin(0) {
		t.Errorf("statistics of the first step: %+v", s)
	}
	near(t, "loss", got.Loss, 0, exact)
	for i, g := range got.DLogProb[0] {
		near(t, "gradient", g, -white[0][i]/4, 0)
	}
}

// lm-human-preferences: approxkl = mean((new-old)²)/2 and clipfrac = mean(clipped term larger).
func TestPolicyDiagnostics(t *testing.T) {
	b := PolicyBatch{
		LogProb:    Ragged{{-1 + 0.5, -1 - 0.1}, {-1 + 0.2}},
		OldLogProb: Ragged{{-1, -1}, {-1}},
		Advantage:  Ragged{{1, 1}, {-1}},
	}
	s := ok[PolicyResult](t)(PolicyLoss(b, PolicyConfig{ClipRange: 0.2}, 3)).Stats
	near(t, "approx_kl", s.ApproxKL(), (0.25+0.01+0.04)/6, exact)
	near(t, "clip fraction", s.ClipFraction(), 1.0/3, exact)
	near(t, "ratio error", s.MaxRatioError, math.Exp(0.5)-1, exact)
	falling := PolicyBatch{LogProb: Ragged{{-2}}, OldLogProb: Ragged{{-1}}, Advantage: Ragged{{1}}}
	below := ok[PolicyResult](t)(PolicyLoss(falling, PolicyConfig{ClipRange: 0.2}, 1)).Stats
	near(t, "ratio error below 1", below.MaxRatioError, 1-math.Exp(-1), exact)
	near(t, "mean ratio", s.MeanRatio(), (math.Exp(0.5)+math.Exp(-0.1)+math.Exp(0.2))/3, exact)
}

// lm-human-preferences, vf_losses: half the mean of the larger squared error; clipped in units of the value.
func TestValueLossClipping(t *testing.T) {
	for _, c := range []struct {
		value, old, ret float64
		loss, gradient  float64
		clipped         bool
	}{
		{1.1, 1, 2, 0.405, -0.9, false},
		{1.5, 1, 2, 0.32, 0, true},      // moved 0.5 towards the return; only 0.2 counts
		{0.5, 1, 2, 1.125, -1.5, false}, // moved away: the larger error is the real one
		{1.5, 1, 1.3, 0.02, 0.2, false}, // overshot: the real error is the larger one again
		{0.6, 1, 0, 0.32, 0, true},      //
	} {
		b := ValueBatch{Value: Ragged{{c.value}}, OldValue: Ragged{{c.old}}, Return: Ragged{{c.ret}}}
		got := ok[ValueResult](t)(ValueLoss(b, 0.2, 1))
		near(t, "loss", got.Loss, c.loss, exact)
		near(t, "gradient", got.DValue[0][0], c.gradient, exact)
		if (got.Stats.Clipped == 1) != c.clipped {
			t.Errorf("value %v, old %v, return %v: clipped = %v, want %v", c.value, c.old, c.ret, !c.clipped, c.clipped)
		}
	}
}

// Supervised fine-tuning: mean negative log-likelihood over the loss tokens, gradient -1/n.
func TestSupervisedLoss(t *testing.T) {
	got := ok[SupervisedResult](t)(SupervisedLoss(Ragged{{-1, -2, -4}, {-8}}, [][]bool{{false, true, true}, {true}}, 4))
	near(t, "loss", got.Loss, 14.0/4, 0)
	allNear(t, "gradient", got.DLogProb[0], []float64{0, -0.25, -0.25}, 0)
	allNear(t, "gradient", got.DLogProb[1], []float64{-0.25}, 0)
	if got.Tokens != 3 {
		t.Errorf("%d loss tokens, want 3", got.Tokens)
	}
}

// InstructGPT eq. 1: pairs of a list are averaged, so that a list of nine does not outweigh a pair.
func TestInstructGPTEquation1(t *testing.T) {
	logistic := func(m float64) float64 { return -math.Log(1 / (1 + math.Exp(-m))) }
	lists := []RankedList{{Scores: []float64{2, 0.5, 1}}, {Scores: []float64{0, 1}}}
	got := ok[RankingResult](t)(RankingLoss(lists, 2))
	want := ((logistic(1.5)+logistic(1)+logistic(-0.5))/3 + logistic(-1)) / 2
	near(t, "loss", got.Loss, want, exact)
	accuracy, _ := got.Stats.Accuracy()
	near(t, "accuracy", accuracy, (2.0/3+0)/2, exact)
	margin, _ := got.Stats.MeanMargin()
	near(t, "margin", margin, ((1.5+1-0.5)/3-1)/2, exact)
	if got.Stats.Pairs != 4 || got.Stats.Lists != 2 {
		t.Errorf("statistics %+v, want 4 pairs of 2 lists", got.Stats)
	}
}

// Equal ranks form no pair: [a] > [b = c] has two.
func TestRankingTies(t *testing.T) {
	tied := RankedList{Scores: []float64{1, 3, 2}, Ranks: []int{1, 0, 1}}
	if tied.Pairs() != 2 {
		t.Errorf("%d pairs, want 2", tied.Pairs())
	}
	got := ok[RankingResult](t)(RankingLoss([]RankedList{tied}, 1))
	want := (math.Log1p(math.Exp(-2)) + math.Log1p(math.Exp(-1))) / 2
	near(t, "loss", got.Loss, want, exact)
}

// A new head scores everything 0: loss ln 2, half right, and the gradient parts the list.
func TestRankingAtZeroHead(t *testing.T) {
	got := ok[RankingResult](t)(RankingLoss([]RankedList{{Scores: make([]float64, 3)}}, 1))
	near(t, "loss", got.Loss, math.Ln2, exact)
	accuracy, _ := got.Stats.Accuracy()
	near(t, "accuracy", accuracy, 0.5, 0)
	allNear(t, "gradient", got.DScore[0], []float64{-1.0 / 3, 0, 1.0 / 3}, exact)
	if got.Stats.EqualPairs != 3 {
		t.Errorf("%d equal pairs, want 3", got.Stats.EqualPairs)
	}
}

// Standard errors over lists: margins 1, 2, 6 have mean 3, sample variance 7, standard error sqrt(7/3).
func TestRankingStandardErrors(t *testing.T) {
	lists := []RankedList{{Scores: []float64{1, 0}}, {Scores: []float64{2, 0}}, {Scores: []float64{6, 0}}}
	stats := ok[RankingResult](t)(RankingLoss(lists, 3)).Stats
	margin, marginError := stats.MeanMargin()
	near(t, "margin", margin, 3, exact)
	near(t, "margin error", marginError, math.Sqrt(7.0/3), exact)
	_, accuracyError := stats.Accuracy()
	near(t, "accuracy error of three right answers", accuracyError, 0, exact)
	if _, e := (RankingStats{Lists: 1, Correct: 1}).Accuracy(); !math.IsNaN(e) {
		t.Errorf("standard error of one list = %v, want NaN", e)
	}
}

// Ziegler et al.: proportional error within ±0.2, target 6, horizon 10,000 episodes.
func TestAdaptiveKLController(t *testing.T) {
	c := KLController{Coef: 0.15, Target: 6, Horizon: 10_000}
	for _, step := range []struct{ kl, want float64 }{
		{6, 0.15},
		{6.6, 0.15 * (1 + 0.1*64/10_000)},
		{100, 0.15 * (1 + 0.1*64/10_000) * (1 + 0.2*64/10_000)},
		{-3, 0.15 * (1 + 0.1*64/10_000) * (1 + 0.2*64/10_000) * (1 - 0.2*64/10_000)},
	} {
		if err := c.Update(step.kl, 64); err != nil {
			t.Fatal(err)
		}
		near(t, "coefficient", c.Coef, step.want, exact)
	}
	fixed := KLController{Coef: 0.01}
	if err := fixed.Update(100, 1024); err != nil || fixed.Coef != 0.01 {
		t.Errorf("fixed coefficient became %v, error %v", fixed.Coef, err)
	}
	for _, bad := range []struct {
		c  KLController
		kl float64
	}{
		{KLController{Coef: 1, Target: 6, Horizon: 10}, 1},
		{KLController{Coef: 1, Target: -1, Horizon: 1000}, 1},
		{KLController{Coef: 1, Target: 6, Horizon: 1000}, math.NaN()},
	} {
		if err := bad.c.Update(bad.kl, 64); err == nil || bad.c.Coef != 1 {
			t.Errorf("%+v accepted a KL of %v, error %v", bad.c, bad.kl, err)
		}
	}
}

func TestStopEarly(t *testing.T) {
	for _, c := range []struct {
		kl, limit float64
		want      bool
	}{{0.1, 0, false}, {0.1, 0.2, false}, {0.3, 0.2, true}, {math.NaN(), 0.2, true}, {math.NaN(), 0, false}} {
		if got := StopEarly(c.kl, c.limit); got != c.want {
			t.Errorf("StopEarly(%v, %v) = %v", c.kl, c.limit, got)
		}
	}
}

func TestExplainedVariance(t *testing.T) {
	for _, c := range []struct {
		what            string
		values, returns Ragged
		want            float64
	}{
		{"perfect", Ragged{{1, 2}, {4}}, Ragged{{1, 2}, {4}}, 1},
		{"the mean", Ragged{{2, 2}, {2}}, Ragged{{1, 2}, {3}}, 0},
		{"worse than the mean", Ragged{{3, 2}, {1}}, Ragged{{1, 2}, {3}}, -3},
		{"the example", Ragged{exampleValue}, Ragged{exampleReturn}, -395.625456712505609},
		{"equal returns", Ragged{{1, 2, 3}}, Ragged{{0.1, 0.1, 0.1}}, 0},
		{"one token", Ragged{{1}}, Ragged{{2}}, 0},
		{"no tokens", Ragged{{}}, Ragged{{}}, 0},
	} {
		near(t, c.what, ok[float64](t)(ExplainedVariance(c.values, c.returns)), c.want, 1e-11) // a quotient by a variance near 7e-4
	}
}
