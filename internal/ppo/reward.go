package ppo

import (
	"fmt"
	"math"
)

// RewardConfig is the part of the trainer's configuration that rewards depend on.
type RewardConfig struct {
	KLCoef    float64     // β, the price of one nat of KL
	Estimator KLEstimator // of the per-token KL
	ScoreClip float64     // scores are clamped to [-ScoreClip, ScoreClip]; 0 leaves them alone
}

// Rewards is what one iteration's trajectories earned, S sequences in rollout order.
type Rewards struct {
	PerToken  Ragged    // r, [S][T_s]
	Score     []float64 // [S] the score that counted: clamped, or fixed by its place
	KL        []float64 // [S] sum of k1 over the response, in nats, whatever the estimator of the penalty
	Clipped   int       // scores that were clamped
	Unpaid    int       // responses without a token to pay at
	NonFinite []int     // sequences with a NaN or Inf in a score that was read or in a log-prob, ascending
}

// TokenRewards returns r_t = -β·kl_t + [t = pay]·score (Ziegler et al., arXiv:1909.08593, eq. 2, with the KL spread over the
// tokens and the score paid where its place says).
//
// logProb and refLogProb [S][T_s]; scores [S] are what the reward model said at places[s].Read, and are ignored where the
// place fixes the score. A score that is not finite is passed on, never clamped.
func TokenRewards(logProb, refLogProb Ragged, scores []float64, places []ScorePlace, cfg RewardConfig) (Rewards, error) {
	err := checkShapes("rewards", nil, named{"log-probs", logProb}, named{"reference log-probs", refLogProb})
	if err != nil {
		return Rewards{}, err
	}
	if len(scores) != len(logProb) || len(places) != len(logProb) {
		return Rewards{}, fmt.Errorf("ppo: rewards: %d scores and %d places for %d sequences", len(scores), len(places), len(logProb))
	}
	if cfg.ScoreClip < 0 || math.IsNaN(cfg.ScoreClip) {
		return Rewards{}, fmt.Errorf("ppo: rewards: score clip %v is not a positive range (0 is off)", cfg.ScoreClip)
	}
	out := Rewards{
		PerToken: logProb.zeros(),
		Score:    make([]float64, len(logProb)),
		KL:       make([]float64, len(logProb)),
	}
	for s, reward := range out.PerToken {
		bad := false
		for t := range reward {
			l, ref := logProb[s][t], refLogProb[s][t]
			reward[t] = -cfg.KLCoef * cfg.Estimator.At(l, ref)
			out.KL[s] += K1.At(l, ref)
			bad = bad || !finite(l) || !finite(ref)
		}
		score := scores[s]
		switch place := places[s]; {
		case place.Fixed:
			score = place.Value
		case !finite(score):
			bad = true
		case cfg.ScoreClip > 0 && math.Abs(score) > cfg.ScoreClip:
			score = math.Copysign(cfg.ScoreClip, score)
			out.Clipped++
		}
		out.Score[s] = score
		switch pay := places[s].Pay; {
		case pay == Nowhere:
			out.Unpaid++
		case pay < 0 || pay >= len(reward):
			return Rewards{}, fmt.Errorf("ppo: rewards: sequence %d is paid at token %d of %d", s, pay, len(reward))
		default:
			reward[pay] += score
		}
		if bad {
			out.NonFinite = append(out.NonFinite, s)
		}
	}
	return out, nil
}
