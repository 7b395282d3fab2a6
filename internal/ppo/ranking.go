package ppo

import (
	"fmt"
	"math"
)

// RankedList is one prompt's responses with the reward model's scores and the order that people put them in. A pair of
// chosen and rejected is a list of two.
type RankedList struct {
	Scores []float64 // [K]
	Ranks  []int     // [K] 0 is best, equal ranks are ties; nil when Scores are in order, best first, without ties
}

// Pairs counts the pairs of different rank; a list without any teaches nothing.
func (l RankedList) Pairs() int {
	n := 0
	for i := range l.Scores {
		for j := range l.Scores {
			if l.better(i, j) {
				n++
			}
		}
	}
	return n
}

func (l RankedList) better(i, j int) bool {
	if l.Ranks == nil {
		return i < j
	}
	return l.Ranks[i] < l.Ranks[j]
}

// RankingResult is the part that one micro-batch adds to the loss of an optimizer step.
type RankingResult struct {
	Loss   float64
	DScore Ragged // ∂Loss/∂Scores, [lists][K]
	Stats  RankingStats
}

// RankingLoss is the Bradley-Terry loss of a reward model, averaged over all pairs of a list (Ouyang et al.,
// arXiv:2203.02155, eq. 1) and then over lists:
//
//	L = 1/n Σ_lists 1/pairs Σ_{i better than j} -log σ(s_i - s_j)
//
// n is the number of lists of the whole optimizer step; lists may be any part of them. A list without pairs adds nothing
// and is counted in the statistics, but not left out of n: that is the caller's choice.
func RankingLoss(lists []RankedList, denominator int) (RankingResult, error) {
	if err := checkDenominator("ranking loss", "lists", len(lists), denominator); err != nil {
		return RankingResult{}, err
	}
	out := RankingResult{DScore: make(Ragged, len(lists))}
	n := float64(denominator)
	for k, list := range lists {
		if list.Ranks != nil && len(list.Ranks) != len(list.Scores) {
			return RankingResult{}, fmt.Errorf("ppo: ranking loss: list %d has %d scores but %d ranks", k, len(list.Scores), len(list.Ranks))
		}
		grad := make([]float64, len(list.Scores))
		out.DScore[k] = grad
		pairs := float64(list.Pairs())
		if pairs == 0 {
			out.Stats.Unranked++
			continue
		}
		loss, correct, margin := 0.0, 0.0, 0.0
		for i, better := range list.Scores {
			for j, worse := range list.Scores {
				if !list.better(i, j) {
					continue
				}
				m := better - worse
				loss += softplus(-m)
				g := -sigmoid(-m) / pairs / n
				grad[i] += g
				grad[j] -= g
				margin += m
				switch {
				case m > 0:
					correct++
				case m == 0:
					correct += 0.5
					out.Stats.EqualPairs++
				}
			}
		}
		out.Loss += loss / pairs / n
		out.Stats.Pairs += int(pairs)
		out.Stats.add(correct/pairs, margin/pairs)
	}
	return out, nil
}

// RankingStats are sums over lists; the statistics of parts add. Accuracy and margin weigh each list as the loss does, and
// their standard errors treat lists as the independent observations: the pairs of one list are not.
type RankingStats struct {
	Lists          int     // with at least one pair
	Unranked       int     // lists without a pair, in nothing below
	Pairs          int     //
	EqualPairs     int     // pairs with equal scores, half right each
	Correct        float64 // Σ over lists of the share of pairs in the right order
	SquaredCorrect float64
	Margin         float64 // Σ over lists of the mean of s_better - s_worse
	SquaredMargin  float64
}

func (r *RankingStats) add(correct, margin float64) {
	r.Lists++
	r.Correct += correct
	r.SquaredCorrect += correct * correct
	r.Margin += margin
	r.SquaredMargin += margin * margin
}

// Add adds the statistics of other lists.
func (r *RankingStats) Add(q RankingStats) {
	r.Lists += q.Lists
	r.Unranked += q.Unranked
	r.Pairs += q.Pairs
	r.EqualPairs += q.EqualPairs
	r.Correct += q.Correct
	r.SquaredCorrect += q.SquaredCorrect
	r.Margin += q.Margin
	r.SquaredMargin += q.SquaredMargin
}

// Accuracy returns the mean share of pairs in the right order and its standard error. The mean of no lists is 0, and the
// standard error of fewer than two is NaN: unknown.
func (r RankingStats) Accuracy() (mean, stderr float64) {
	return meanAndError(r.Lists, r.Correct, r.SquaredCorrect)
}

// MeanMargin returns the mean of s_better - s_worse and its standard error, as Accuracy does.
func (r RankingStats) MeanMargin() (mean, stderr float64) {
	return meanAndError(r.Lists, r.Margin, r.SquaredMargin)
}

// meanAndError returns Σx/n and sqrt(sample variance / n).
func meanAndError(n int, sum, squares float64) (mean, stderr float64) {
	mean = perToken(sum, n)
	if n < 2 {
		return mean, math.NaN()
	}
	variance := math.Max(squares-sum*mean, 0) / float64(n-1)
	return mean, math.Sqrt(variance / float64(n))
}

// softplus returns log(1 + e^x) without overflow; log σ(m) = -softplus(-m).
func softplus(x float64) float64 {
	return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x)))
}

// sigmoid returns 1/(1 + e^-x) without overflow.
func sigmoid(x float64) float64 {
	if x < 0 {
		e := math.Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + math.Exp(-x))
}
