package ppo

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// Central differences with step h are off by h²f”'/6 and by rounding ε·f/h: with h = 1e-5 both are near 1e-10 for losses
// near 1, so a relative 1e-6 holds with an absolute floor of 1e-9.
const (
	step          = 1e-5
	gradRelative  = 1e-6
	gradAbsolute  = 1e-9
	kinkClearance = 1e-3 // tokens nearer than this to a corner of a loss are left out: it has no derivative there
)

func checkGradient(t *rapid.T, what string, x []float64, gradient []float64, loss func() float64, skip func(i int) bool) {
	for i := range x {
		if skip != nil && skip(i) {
			continue
		}
		saved := x[i]
		x[i] = saved + step
		up := loss()
		x[i] = saved - step
		down := loss()
		x[i] = saved
		want := (up - down) / (2 * step)
		if math.Abs(gradient[i]-want) > gradRelative*math.Abs(want)+gradAbsolute {
			t.Fatalf("%s: gradient %d is %.12g, central difference %.12g", what, i, gradient[i], want)
		}
	}
}

func TestPolicyGradient(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lengths := drawShape(t)
		b := PolicyBatch{
			LogProb: drawRagged(t, "log-probs", lengths, -2, 0), OldLogProb: drawRagged(t, "old", lengths, -2, 0),
			Advantage: drawRagged(t, "advantages", lengths, -2, 2), Entropy: drawRagged(t, "entropies", lengths, 0, 2),
			Exclude: rapid.SliceOfN(rapid.Bool(), len(lengths), len(lengths)).Draw(t, "exclude"),
		}
		cfg := PolicyConfig{ClipRange: 0.2, EntropyCoef: 0.3}
		n := b.LogProb.Tokens(nil)
		run := func() PolicyResult {
			out, err := PolicyLoss(b, cfg, n)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		out := run()
		loss := func() float64 { return run().Loss }
		for s := range lengths {
			nearKink := func(i int) bool {
				ratio := math.Exp(b.LogProb[s][i] - b.OldLogProb[s][i])
				return math.Abs(math.Abs(ratio-1)-cfg.ClipRange) < kinkClearance
			}
			checkGradient(t, "log-prob", b.LogProb[s], out.DLogProb[s], loss, nearKink)
			checkGradient(t, "entropy", b.Entropy[s], out.DEntropy[s], loss, nil)
		}
	})
}

func TestValueGradient(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lengths := drawShape(t)
		b := ValueBatch{drawRagged(t, "values", lengths, -1, 1), drawRagged(t, "old", lengths, -1, 1), drawRagged(t, "returns", lengths, -1, 1)}
		const clip = 0.2
		run := func() ValueResult {
			out, err := ValueLoss(b, clip, b.Value.Tokens(nil))
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		out := run()
		for s := range lengths {
			nearKink := func(i int) bool {
				v, old, target := b.Value[s][i], b.OldValue[s][i], b.Return[s][i]
				limited := clamp(v, old-clip, old+clip)
				equal := limited != v && math.Abs(math.Abs(v-target)-math.Abs(limited-target)) < kinkClearance
				return math.Abs(math.Abs(v-old)-clip) < kinkClearance || equal
			}
			checkGradient(t, "value", b.Value[s], out.DValue[s], func() float64 { return run().Loss }, nearKink)
		}
	})
}

func TestSupervisedGradient(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lengths := drawShape(t)
		logProb := drawRagged(t, "log-probs", lengths, -5, 0)
		mask := make([][]bool, len(lengths))
		for s, n := range lengths {
			mask[s] = rapid.SliceOfN(rapid.Bool(), n, n).Draw(t, "mask")
		}
		run := func() SupervisedResult {
			out, err := SupervisedLoss(logProb, mask, 40)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		out := run()
		for s := range lengths {
			checkGradient(t, "log-prob", logProb[s], out.DLogProb[s], func() float64 { return run().Loss }, nil)
		}
	})
}

func TestRankingGradient(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var lists []RankedList
		for _, row := range drawRagged(t, "scores", drawShape(t), -4, 4) {
			lists = append(lists, RankedList{row, rapid.SliceOfN(rapid.IntRange(0, 3), len(row), len(row)).Draw(t, "ranks")})
		}
		run := func() RankingResult {
			out, err := RankingLoss(lists, len(lists)+1)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		out := run()
		for k := range lists {
			checkGradient(t, "score", lists[k].Scores, out.DScore[k], func() float64 { return run().Loss }, nil)
		}
	})
}
