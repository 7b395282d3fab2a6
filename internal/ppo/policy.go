package ppo

import (
	"fmt"
	"math"
)

// PolicyBatch is what the policy loss of a micro-batch of S sequences needs, all [S][T_s].
type PolicyBatch struct {
	LogProb    Ragged // of the policy being trained
	OldLogProb Ragged // of the policy that made the rollout, from the training forward
	Advantage  Ragged // whitened or not; a constant here
	Entropy    Ragged // of the distribution that each token was drawn from, in nats; nil when it is not known
	Exclude    []bool // [S] sequences without part in the loss (ScorePlace.Masked); nil for none
}

// PolicyConfig is the part of the configuration that the policy loss depends on.
type PolicyConfig struct {
	ClipRange   float64 // ε; +Inf never clips
	EntropyCoef float64 // weight of the entropy bonus; 0 is off
}

// PolicyResult is the part that one micro-batch adds to the loss of an optimizer step.
type PolicyResult struct {
	Loss         float64 // Surrogate - EntropyBonus, whose gradients follow
	Surrogate    float64
	EntropyBonus float64
	DLogProb     Ragged // ∂Loss/∂LogProb [S][T_s], 0 for excluded sequences
	DEntropy     Ragged // ∂Loss/∂Entropy [S][T_s]; nil without an entropy bonus
	Stats        PolicyStats
}

// PolicyLoss is PPO's clipped surrogate (Schulman et al., arXiv:1707.06347, eq. 7, negated) with an entropy bonus (eq. 9):
//
//	ρ = exp(logProb - oldLogProb)
//	L = 1/n Σ max(-Â·ρ, -Â·clip(ρ, 1-ε, 1+ε)) - c/n Σ H
//
// n is the number of response tokens, excluded sequences left out, of the whole mini-batch that the step is about; b may be
// any part of it. Where the clipped term is the larger one the gradient is 0; where the two are equal it is the
// unclipped one's. A ratio that overflows gives a loss that is not finite unless the clip bounds it.
func PolicyLoss(b PolicyBatch, cfg PolicyConfig, denominator int) (PolicyResult, error) {
	args := []named{{"old log-probs", b.OldLogProb}, {"advantages", b.Advantage}}
	if b.Entropy != nil {
		args = append(args, named{"entropies", b.Entropy})
	}
	if err := checkShapes("policy loss", b.Exclude, named{"log-probs", b.LogProb}, args...); err != nil {
		return PolicyResult{}, err
	}
	if !(cfg.ClipRange >= 0) {
		return PolicyResult{}, fmt.Errorf("ppo: policy loss: clip range %v is negative", cfg.ClipRange)
	}
	if cfg.EntropyCoef != 0 && b.Entropy == nil {
		return PolicyResult{}, fmt.Errorf("ppo: policy loss: an entropy bonus needs entropies")
	}
	tokens := b.LogProb.Tokens(b.Exclude)
	if err := checkDenominator("policy loss", "tokens", tokens, denominator); err != nil {
		return PolicyResult{}, err
	}
	out := PolicyResult{DLogProb: b.LogProb.zeros()}
	if cfg.EntropyCoef != 0 {
		out.DEntropy = b.LogProb.zeros()
	}
	n := float64(denominator)
	for s := range b.LogProb {
		if excluded(b.Exclude, s) {
			continue
		}
		for t, logProb := range b.LogProb[s] {
			logRatio := logProb - b.OldLogProb[s][t]
			advantage := b.Advantage[s][t]
			ratio := math.Exp(logRatio)
			loss := -advantage * ratio
			clippedLoss := -advantage * clamp(ratio, 1-cfg.ClipRange, 1+cfg.ClipRange)
			isClipped := clippedLoss > loss
			if isClipped {
				out.Surrogate += clippedLoss
			} else {
				out.Surrogate += loss
				out.DLogProb[s][t] = loss / n // ∂(-Âρ)/∂logProb is -Âρ itself
			}
			out.Stats.add(logRatio, ratio, isClipped)
			if b.Entropy != nil {
				out.Stats.Entropy += b.Entropy[s][t]
			}
			if out.DEntropy != nil {
				out.DEntropy[s][t] = -cfg.EntropyCoef / n
			}
		}
	}
	if tokens > 0 {
		out.Surrogate /= n
		out.EntropyBonus = cfg.EntropyCoef * out.Stats.Entropy / n
	}
	out.Loss = out.Surrogate - out.EntropyBonus
	return out, nil
}

// PolicyStats are sums over tokens that took part in a policy loss; the statistics of parts add. A mean over no tokens is 0.
type PolicyStats struct {
	Tokens          int
	Clipped         int     // tokens whose loss was the clipped term
	MaxRatioError   float64 // max |ρ - 1|; not finite if any ratio is not
	Ratio           float64 // Σ ρ
	SquaredLogRatio float64 // Σ (logProb - oldLogProb)²
	Entropy         float64 // Σ H, nats; 0 where entropies were not given
}

func (p *PolicyStats) add(logRatio, ratio float64, clipped bool) {
	p.Tokens++
	if clipped {
		p.Clipped++
	}
	p.MaxRatioError = math.Max(p.MaxRatioError, math.Abs(ratio-1))
	p.Ratio += ratio
	p.SquaredLogRatio += logRatio * logRatio
}

// Add adds the statistics of another part of the mini-batch.
func (p *PolicyStats) Add(q PolicyStats) {
	p.Tokens += q.Tokens
	p.Clipped += q.Clipped
	p.MaxRatioError = math.Max(p.MaxRatioError, q.MaxRatioError)
	p.Ratio += q.Ratio
	p.SquaredLogRatio += q.SquaredLogRatio
	p.Entropy += q.Entropy
}

// ClipFraction is the share of tokens whose loss was the clipped term.
func (p PolicyStats) ClipFraction() float64 { return perToken(float64(p.Clipped), p.Tokens) }

// ApproxKL is mean((logProb - oldLogProb)²)/2, in nats (lm-human-preferences' approxkl).
func (p PolicyStats) ApproxKL() float64 { return perToken(p.SquaredLogRatio, p.Tokens) / 2 }

// MeanRatio is the mean of ρ.
func (p PolicyStats) MeanRatio() float64 { return perToken(p.Ratio, p.Tokens) }

// MeanEntropy is the mean entropy, in nats.
func (p PolicyStats) MeanEntropy() float64 { return perToken(p.Entropy, p.Tokens) }

// RatioWithin says whether no ratio is further than tolerance from 1; a NaN is.
func (p PolicyStats) RatioWithin(tolerance float64) bool { return p.MaxRatioError <= tolerance }

func perToken(sum float64, tokens int) float64 {
	if tokens == 0 {
		return 0
	}
	return sum / float64(tokens)
}

// clamp returns x limited to [low, high], and NaN for NaN.
func clamp(x, low, high float64) float64 {
	if x < low {
		return low
	}
	if x > high {
		return high
	}
	return x
}
