package ppo

import "fmt"

// ValueBatch is what the value loss of a micro-batch of S sequences needs, all [S][T_s]. Nothing is excluded: the value
// model also learns from responses that the policy does not.
type ValueBatch struct {
	Value    Ragged // of the value model being trained
	OldValue Ragged // of the rollout
	Return   Ragged // from unwhitened advantages and rollout values; a constant here
}

// ValueResult is the part that one micro-batch adds to the loss of an optimizer step.
type ValueResult struct {
	Loss   float64
	DValue Ragged // ∂Loss/∂Value [S][T_s]
	Stats  ValueStats
}

// ValueStats are sums over tokens; the statistics of parts add.
type ValueStats struct {
	Tokens       int
	Clipped      int     // tokens whose loss was the clipped term
	SquaredError float64 // Σ (V - R)², without clipping
}

// Add adds the statistics of another part of the mini-batch.
func (v *ValueStats) Add(w ValueStats) {
	v.Tokens += w.Tokens
	v.Clipped += w.Clipped
	v.SquaredError += w.SquaredError
}

// ClipFraction is the share of tokens whose loss was the clipped term; 0 of no tokens.
func (v ValueStats) ClipFraction() float64 { return perToken(float64(v.Clipped), v.Tokens) }

// MeanSquaredError is the mean of (V - R)²; 0 of no tokens.
func (v ValueStats) MeanSquaredError() float64 { return perToken(v.SquaredError, v.Tokens) }

// ValueLoss is the clipped squared error of lm-human-preferences (train_policy.py, vf_losses):
//
//	L = 1/2n Σ max((V-R)², (clip(V, V_old-ε, V_old+ε) - R)²)
//
// ε is in units of the value, hence of the score; +Inf never clips. n is the number of response tokens of the whole
// mini-batch; b may be any part of it. Where the clipped term is the larger one the gradient is 0; where the two are
// equal it is the unclipped one's.
func ValueLoss(b ValueBatch, clipRange float64, denominator int) (ValueResult, error) {
	err := checkShapes("value loss", nil, named{"values", b.Value}, named{"old values", b.OldValue}, named{"returns", b.Return})
	if err != nil {
		return ValueResult{}, err
	}
	if !(clipRange >= 0) {
		return ValueResult{}, fmt.Errorf("ppo: value loss: clip range %v is negative", clipRange)
	}
	tokens := b.Value.Tokens(nil)
	if err := checkDenominator("value loss", "tokens", tokens, denominator); err != nil {
		return ValueResult{}, err
	}
	out := ValueResult{DValue: b.Value.zeros()}
	n := float64(denominator)
	for s := range b.Value {
		for t, value := range b.Value[s] {
			old, target := b.OldValue[s][t], b.Return[s][t]
			diff := value - target
			clippedDiff := clamp(value, old-clipRange, old+clipRange) - target
			loss, clippedLoss := diff*diff, clippedDiff*clippedDiff
			out.Stats.Tokens++
			out.Stats.SquaredError += loss
			if clippedLoss > loss {
				out.Stats.Clipped++
				out.Loss += clippedLoss
			} else {
				out.Loss += loss
				out.DValue[s][t] = diff / n
			}
		}
	}
	if tokens > 0 {
		out.Loss /= 2 * n
	}
	return out, nil
}
