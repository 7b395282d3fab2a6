package ppo

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawShape draws the lengths of a few sequences, empty and one-token ones among them.
func drawShape(t *rapid.T) []int {
	return rapid.SliceOfN(rapid.IntRange(0, 6), 1, 6).Draw(t, "lengths")
}

func drawRagged(t *rapid.T, name string, lengths []int, low, high float64) Ragged {
	out := make(Ragged, len(lengths))
	for s, n := range lengths {
		out[s] = rapid.SliceOfN(rapid.Float64Range(low, high), n, n).Draw(t, name)
	}
	return out
}

// explicitGAE is the definition, eq. 16 of arXiv:1506.02438, without recursion: Â_t = Σ_l (γλ)^l δ_{t+l}.
func explicitGAE(rewards, values []float64, gamma, lambda float64) []float64 {
	out := make([]float64, len(rewards))
	for t := range out {
		for l := 0; t+l < len(rewards); l++ {
			next := 0.0
			if t+l+1 < len(values) {
				next = values[t+l+1]
			}
			delta := rewards[t+l] + gamma*next - values[t+l]
			out[t] += math.Pow(gamma*lambda, float64(l)) * delta
		}
	}
	return out
}

func TestTwoIndependentGAEs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lengths := drawShape(t)
		rewards, values := drawRagged(t, "rewards", lengths, -2, 2), drawRagged(t, "values", lengths, -2, 2)
		gamma, lambda := rapid.Float64Range(0, 1).Draw(t, "gamma"), rapid.Float64Range(0, 1).Draw(t, "lambda")
		advantages, returns, err := Advantages(rewards, values, gamma, lambda)
		if err != nil {
			t.Fatal(err)
		}
		for s := range rewards {
			for i, want := range explicitGAE(rewards[s], values[s], gamma, lambda) {
				if math.Abs(advantages[s][i]-want) > 1e-13 || returns[s][i] != advantages[s][i]+values[s][i] {
					t.Fatalf("advantage %v, want %v; return %v", advantages[s][i], want, returns[s][i])
				}
			}
		}
	})
}

// λ = 1 and γ = 1 is the reward to go minus the value, whatever the values in between.
func TestGAEIsMonteCarloAtLambdaOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 50).Draw(t, "tokens")
		one := drawRagged(t, "rewards and values", []int{n, n}, -2, 2)
		_, returns := GAE(one[0], one[1], 1, 1)
		togo := 0.0
		for i := n - 1; i >= 0; i-- {
			togo += one[0][i]
			if math.Abs(returns[i]-togo) > 1e-12 { // 50 sums of numbers near 2
				t.Fatalf("return %d = %v, want %v", i, returns[i], togo)
			}
		}
	})
}

// Whitened over the iteration: mean 0 and variance v/(v+1e-8) over the sequences that count, whoever else is there.
func TestWhitenProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lengths := drawShape(t)
		x := drawRagged(t, "x", lengths, -10, 10)
		exclude := rapid.SliceOfN(rapid.Bool(), len(x), len(x)).Draw(t, "exclude")
		white, err := Whiten(x, exclude, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range white {
			for _, v := range row {
				if !finite(v) {
					t.Fatalf("%v whitens to %v", x, white)
				}
			}
		}
		n, mean, variance := x.Moments(exclude)
		gotN, gotMean, gotVariance := white.Moments(exclude)
		if want := variance / (variance + 1e-8); gotN != n || math.Abs(gotMean) > 1e-9 || math.Abs(gotVariance-want) > 1e-9 {
			// 1e-9: a mean of numbers near 10 is off by 1e-15, which rsqrt(1e-8) may make 1e-11 in each number.
			t.Fatalf("whitened: %d numbers, mean %v, variance %v, want %d, 0, %v", gotN, gotMean, gotVariance, n, want)
		}
		kept, _ := Whiten(x, exclude, false)
		for s := range kept {
			for i := range kept[s] {
				if kept[s][i] != white[s][i]+mean {
					t.Fatalf("mean kept: %v, want %v + %v", kept[s][i], white[s][i], mean)
				}
			}
		}
		// Excluded sequences have no part in the statistics.
		var counted Ragged
		for s, row := range x {
			if !exclude[s] {
				counted = append(counted, row)
			}
		}
		alone, _ := Whiten(counted, nil, true)
		for s := range white {
			if !exclude[s] {
				if !slices.Equal(white[s], alone[0]) {
					t.Fatalf("sequence %d: %v with excluded company, %v without", s, white[s], alone[0])
				}
				alone = alone[1:]
			}
		}
	})
}

// split cuts [0, n) into contiguous parts, some of them empty.
func split(t *rapid.T, n int) [][2]int {
	var parts [][2]int
	for from := 0; from < n || len(parts) == 0; {
		to := rapid.IntRange(from, n).Draw(t, "part")
		parts = append(parts, [2]int{from, to})
		from = to
		if len(parts) > 20 {
			parts = append(parts, [2]int{from, n})
			break
		}
	}
	return parts
}

const sumTolerance = 1e-13 // a few dozen numbers near 1, added in another order

// The parts' losses and statistics add to the whole's; a token's gradient has the same bits in any part.
func TestLossesAreInvariantToMicroBatching(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lengths := drawShape(t)
		draw := func(name string, low, high float64) Ragged { return drawRagged(t, name, lengths, low, high) }
		policy := PolicyBatch{draw("log-probs", -1, 0), draw("old", -1, 0), draw("advantages", -2, 2), draw("entropies", 0, 2),
			rapid.SliceOfN(rapid.Bool(), len(lengths), len(lengths)).Draw(t, "exclude")}
		value := ValueBatch{draw("values", -1, 1), draw("old values", -1, 1), draw("returns", -1, 1)}
		cfg := PolicyConfig{ClipRange: 0.2, EntropyCoef: 0.1}
		counted, all := policy.LogProb.Tokens(policy.Exclude), value.Value.Tokens(nil)
		wholePolicy, err1 := PolicyLoss(policy, cfg, counted)
		wholeValue, err2 := ValueLoss(value, 0.2, all)
		wholeSFT, err3 := SupervisedLoss(policy.LogProb, nil, all)
		if err1 != nil || err2 != nil || err3 != nil {
			t.Fatal(err1, err2, err3)
		}
		var policyLoss, valueLoss, sft float64
		var policyStats PolicyStats
		var valueStats ValueStats
		for _, p := range split(t, len(lengths)) {
			a, b := p[0], p[1]
			part, err1 := PolicyLoss(PolicyBatch{policy.LogProb[a:b], policy.OldLogProb[a:b], policy.Advantage[a:b], policy.Entropy[a:b],
				policy.Exclude[a:b]}, cfg, counted)
			valuePart, err2 := ValueLoss(ValueBatch{value.Value[a:b], value.OldValue[a:b], value.Return[a:b]}, 0.2, all)
			sftPart, err3 := SupervisedLoss(policy.LogProb[a:b], nil, all)
			if err1 != nil || err2 != nil || err3 != nil {
				t.Fatal(err1, err2, err3)
			}
			policyLoss, valueLoss, sft = policyLoss+part.Loss, valueLoss+valuePart.Loss, sft+sftPart.Loss
			policyStats.Add(part.Stats)
			valueStats.Add(valuePart.Stats)
			for s := range part.DLogProb {
				if !slices.Equal(part.DLogProb[s], wholePolicy.DLogProb[a+s]) || !slices.Equal(part.DEntropy[s], wholePolicy.DEntropy[a+s]) ||
					!slices.Equal(valuePart.DValue[s], wholeValue.DValue[a+s]) || !slices.Equal(sftPart.DLogProb[s], wholeSFT.DLogProb[a+s]) {
					t.Fatalf("gradients of sequence %d depend on the part", a+s)
				}
			}
		}
		for what, pair := range map[string][2]float64{
			"policy loss":     {policyLoss, wholePolicy.Loss},
			"value loss":      {valueLoss, wholeValue.Loss},
			"supervised loss": {sft, wholeSFT.Loss},
			"approx KL":       {policyStats.ApproxKL(), wholePolicy.Stats.ApproxKL()},
			"entropy":         {policyStats.MeanEntropy(), wholePolicy.Stats.MeanEntropy()},
			"mean ratio":      {policyStats.MeanRatio(), wholePolicy.Stats.MeanRatio()},
			"squared error":   {valueStats.MeanSquaredError(), wholeValue.Stats.MeanSquaredError()},
		} {
			if !(math.Abs(pair[0]-pair[1]) <= sumTolerance) {
				t.Fatalf("%s: parts %v, whole %v", what, pair[0], pair[1])
			}
		}
		w := wholePolicy.Stats
		if policyStats.Tokens != w.Tokens || policyStats.Clipped != w.Clipped || policyStats.MaxRatioError != w.MaxRatioError ||
			valueStats.Clipped != wholeValue.Stats.Clipped || valueStats.ClipFraction() != wholeValue.Stats.ClipFraction() {
			t.Fatalf("statistics: parts %+v %+v, whole %+v %+v", policyStats, valueStats, w, wholeValue.Stats)
		}
	})
}

func TestRankingIsInvariantToMicroBatching(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var lists []RankedList
		for _, row := range drawRagged(t, "scores", drawShape(t), -3, 3) {
			ranks := rapid.SliceOfN(rapid.IntRange(0, 2), len(row), len(row)).Draw(t, "ranks")
			lists = append(lists, RankedList{row, ranks})
		}
		whole, err := RankingLoss(lists, len(lists))
		if err != nil {
			t.Fatal(err)
		}
		loss, stats := 0.0, RankingStats{}
		for _, p := range split(t, len(lists)) {
			part, err := RankingLoss(lists[p[0]:p[1]], len(lists))
			if err != nil {
				t.Fatal(err)
			}
			loss += part.Loss
			stats.Add(part.Stats)
			for k := range part.DScore {
				if !slices.Equal(part.DScore[k], whole.DScore[p[0]+k]) {
					t.Fatalf("gradient of list %d depends on the part", p[0]+k)
				}
			}
		}
		accuracy, _ := stats.Accuracy()
		want, _ := whole.Stats.Accuracy()
		if math.Abs(loss-whole.Loss) > sumTolerance || math.Abs(accuracy-want) > sumTolerance || stats.Pairs != whole.Stats.Pairs ||
			stats.Lists+stats.Unranked != len(lists) {
			t.Fatalf("parts: loss %v, %+v; whole: loss %v, %+v", loss, stats, whole.Loss, whole.Stats)
		}
	})
}

// Scores only count by their differences: moving all of a list changes nothing, so its gradient sums to 0.
func TestRankingIgnoresTheLevel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := drawRagged(t, "scores", []int{rapid.IntRange(0, 8).Draw(t, "length")}, -30, 30)[0]
		out, err := RankingLoss([]RankedList{{Scores: row}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, g := range out.DScore[0] {
			sum += g
		}
		if math.Abs(sum) > 1e-14 { // cancellation of at most 28 terms below 1
			t.Fatalf("gradient %v sums to %v", out.DScore[0], sum)
		}
	})
}

func TestMiniBatches(t *testing.T) {
	got := ok[[][]int](t)(MiniBatches(10, 4, nil))
	want := [][]int{{0, 1}, {2, 3}, {4, 5}, {6, 7, 8, 9}}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("10 in 4 steps: %v, want %v", got, want)
	}
	permuted := ok[[][]int](t)(MiniBatches(3, 2, []int{2, 0, 1}))
	if want := [][]int{{2}, {0, 1}}; !slices.EqualFunc(permuted, want, slices.Equal) {
		t.Errorf("permuted: %v, want %v", permuted, want)
	}
	for _, bad := range []struct {
		n, steps int
		order    []int
	}{{3, 0, nil}, {3, 4, nil}, {0, 1, nil}, {3, -1, nil}, {3, 1, []int{0, 1}}, {3, 1, []int{0, 1, 1}}, {3, 1, []int{0, 1, 3}}, {3, 1, []int{0, 1, -1}}} {
		if _, err := MiniBatches(bad.n, bad.steps, bad.order); err == nil {
			t.Errorf("MiniBatches(%d, %d, %v) was accepted", bad.n, bad.steps, bad.order)
		}
	}
}

// Every sequence is in exactly one mini-batch, in the given order, and the sizes are floor(n/k) but for the last.
func TestMiniBatchesPartition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(t, "n")
		steps := rapid.IntRange(1, n).Draw(t, "steps")
		order := make([]int, n)
		for i := range order {
			order[i] = i
		}
		order = rapid.Permutation(order).Draw(t, "order")
		batches, err := MiniBatches(n, steps, order)
		if err != nil {
			t.Fatal(err)
		}
		if len(batches) != steps || !slices.Equal(slices.Concat(batches...), order) {
			t.Fatalf("%v is not %v in %d parts", batches, order, steps)
		}
		for k, b := range batches[:steps-1] {
			if len(b) != n/steps {
				t.Fatalf("mini-batch %d has %d of %d in %d", k, len(b), n, steps)
			}
		}
	})
}
