package ppo

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestScorePlaces(t *testing.T) {
	for _, c := range []struct {
		what    string
		scoring Scoring
		tokens  int
		hasEOD  bool
		want    ScorePlace
	}{
		{"EOD", Scoring{OnEOD: true}, 5, true, ScorePlace{Read: 4, Pay: 4}},
		{"before EOD", Scoring{}, 5, true, ScorePlace{Read: 3, Pay: 3}},
		{"EOD first", Scoring{OnEOD: true}, 1, true, ScorePlace{Read: 0, Pay: 0}},
		{"EOD first, before EOD", Scoring{}, 1, true, ScorePlace{Read: LastPromptToken, Pay: 0}},
		{"two tokens, before EOD", Scoring{}, 2, true, ScorePlace{Read: 0, Pay: 0}},
		{"cut", Scoring{OnEOD: true}, 5, false, ScorePlace{Read: 4, Pay: 4}},
		{"cut, before EOD", Scoring{}, 5, false, ScorePlace{Read: 4, Pay: 4}},
		{"cut, one token", Scoring{}, 1, false, ScorePlace{Read: 0, Pay: 0}},
		{"cut, zero", Scoring{MissingEOD: MissingZero, Penalty: 7}, 5, false, ScorePlace{Read: 4, Pay: 4, Fixed: true}},
		{"cut, penalty", Scoring{MissingEOD: MissingPenalty, Penalty: -1}, 5, false, ScorePlace{Read: 4, Pay: 4, Fixed: true, Value: -1}},
		{"cut, mask", Scoring{MissingEOD: MissingMask}, 5, false, ScorePlace{Read: 4, Pay: 4, Masked: true}},
		{"EOD whatever is missing elsewhere", Scoring{OnEOD: true, MissingEOD: MissingPenalty, Penalty: -1}, 5, true, ScorePlace{Read: 4, Pay: 4}},
		{"EOD is never masked", Scoring{OnEOD: true, MissingEOD: MissingMask}, 5, true, ScorePlace{Read: 4, Pay: 4}},
		{"empty", Scoring{OnEOD: true}, 0, false, ScorePlace{Read: LastPromptToken, Pay: Nowhere}},
		{"empty, penalty", Scoring{MissingEOD: MissingPenalty, Penalty: -1}, 0, false, ScorePlace{Read: LastPromptToken, Pay: Nowhere, Fixed: true, Value: -1}},
	} {
		if got := c.scoring.Place(c.tokens, c.hasEOD); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.what, got, c.want)
		}
	}
}

// Whatever the settings, a response with a token is paid at one of its tokens, never after it, and read at or before the
// place it is paid.
func TestScorePlacesAreInside(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scoring := Scoring{
			OnEOD:      rapid.Bool().Draw(t, "on EOD"),
			MissingEOD: MissingEOD(rapid.IntRange(0, 3).Draw(t, "missing")),
		}
		tokens := rapid.IntRange(1, 2000).Draw(t, "tokens")
		p := scoring.Place(tokens, rapid.Bool().Draw(t, "has EOD"))
		if p.Pay < 0 || p.Pay >= tokens || p.Read < LastPromptToken || p.Read > p.Pay {
			t.Fatalf("%+v of %d tokens", p, tokens)
		}
	})
}

func TestParse(t *testing.T) {
	for m := MissingLastToken; m <= MissingMask; m++ {
		if got, err := ParseMissingEOD(m.String()); err != nil || got != m {
			t.Errorf("%v parses as %v, %v", m, got, err)
		}
	}
	if _, err := ParseMissingEOD("mean"); err == nil {
		t.Error("missing_eod mean was accepted")
	}
	for e := K1; e <= K3; e++ {
		if got, err := ParseKLEstimator(e.String()); err != nil || got != e {
			t.Errorf("%v parses as %v, %v", e, got, err)
		}
	}
	if _, err := ParseKLEstimator("k4"); err == nil {
		t.Error("k4 was accepted")
	}
}

// Six responses: a plain one, one clamped from above, one below, one with a fixed score, one empty, one masked.
func TestTokenRewardsScores(t *testing.T) {
	zero := func(lengths ...int) Ragged {
		out := Ragged{}
		for _, n := range lengths {
			out = append(out, make([]float64, n))
		}
		return out
	}
	logProb := zero(2, 2, 1, 3, 0, 2)
	places := []ScorePlace{
		{Read: 1, Pay: 1}, {Read: 0, Pay: 0}, {Read: LastPromptToken, Pay: 0},
		{Read: 2, Pay: 2, Fixed: true, Value: -9}, {Read: LastPromptToken, Pay: Nowhere}, {Read: 1, Pay: 1, Masked: true},
	}
	scores := []float64{0.5, 3, -4, math.NaN(), 1, 2}
	got := ok[Rewards](t)(TokenRewards(logProb, zero(2, 2, 1, 3, 0, 2), scores, places, RewardConfig{KLCoef: 1, ScoreClip: 2}))
	for s, want := range [][]float64{{0, 0.5}, {2, 0}, {-2}, {0, 0, -9}, {}, {0, 2}} {
		allNear(t, "rewards", got.PerToken[s], want, 0)
	}
	allNear(t, "scores", got.Score, []float64{0.5, 2, -2, -9, 1, 2}, 0)
	if got.Clipped != 2 || got.Unpaid != 1 || got.NonFinite != nil {
		t.Errorf("%d clipped, %d unpaid, %v not finite; want 2, 1, none", got.Clipped, got.Unpaid, got.NonFinite)
	}
}

// A clip must not turn an infinite score into a good one, and each bad sequence is named once.
func TestTokenRewardsNonFinite(t *testing.T) {
	inf := math.Inf(1)
	logProb := Ragged{{-1}, {-1}, {-1, math.NaN(), math.NaN()}, {-1}, {-1}}
	ref := Ragged{{-1}, {-inf}, {-1, -1, -1}, {-1}, {-1}}
	places := make([]ScorePlace, 5)
	places[4] = ScorePlace{Fixed: true, Value: 1}
	got := ok[Rewards](t)(TokenRewards(logProb, ref, []float64{inf, 1, 1, 1, math.NaN()}, places, RewardConfig{KLCoef: 1, ScoreClip: 2}))
	if want := []int{0, 1, 2}; !slices.Equal(got.NonFinite, want) {
		t.Errorf("not finite: %v, want %v", got.NonFinite, want)
	}
	if got.Score[0] != inf || got.Clipped != 0 {
		t.Errorf("infinite score became %v, %d clipped", got.Score[0], got.Clipped)
	}
}
