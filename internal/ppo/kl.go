package ppo

import (
	"fmt"
	"math"
)

// KLEstimator estimates KL(policy || reference) at one token that the policy sampled, from d = log π(y) - log π_ref(y)
// (Schulman, "Approximating KL Divergence", 2020, http://joschu.net/blog/kl-approx.html).
type KLEstimator int

const (
	K1 KLEstimator = iota // d: unbiased, of either sign; the published RLHF penalty
	K2                    // d²/2: biased, never negative, low variance
	K3                    // exp(-d) - 1 + d: unbiased, never negative
)

// ParseKLEstimator reads "k1", "k2" or "k3".
func ParseKLEstimator(name string) (KLEstimator, error) {
	for e := K1; e <= K3; e++ {
		if name == e.String() {
			return e, nil
		}
	}
	return 0, fmt.Errorf("ppo: kl estimator %q: want k1, k2 or k3", name)
}

func (e KLEstimator) String() string { return fmt.Sprintf("k%d", int(e)+1) }

// At returns the estimate from the log-probs of one sampled token under the policy and the reference, in nats.
func (e KLEstimator) At(logProb, refLogProb float64) float64 {
	d := logProb - refLogProb
	switch e {
	case K2:
		return d * d / 2
	case K3:
		return math.Expm1(-d) + d
	}
	return d
}
