package ppo

import (
	"fmt"
	"math"
)

// KLController adapts the KL coefficient so that the measured KL approaches a target (Ziegler et al., arXiv:1909.08593). It is state of the training loop, saved and restored whole. A zero Target keeps the coefficient fixed.
type KLController struct {
	Coef    float64 // β now
	Target  float64 // nats per response; 0 for a fixed coefficient
	Horizon float64 // responses over which a 20 % error changes β by 20 %
}

// Update changes the coefficient after an iteration of the given number of responses whose mean KL was kl:
//
//	e = clip(kl/target - 1, -0.2, 0.2)     β ← β·(1 + e·responses/horizon)
//
// It refuses, and leaves the coefficient alone, when kl is not finite or the horizon is so short that β could reach 0.
func (c *KLController) Update(kl float64, responses int) error {
	if c.Target == 0 {
		return nil
	}
	const limit = 0.2
	if !(c.Target > 0) || !(c.Horizon > limit*float64(responses)) {
		return fmt.Errorf("ppo: kl controller: target %v must be positive and horizon %v above a fifth of the %d responses of an iteration",
			c.Target, c.Horizon, responses)
	}
	if !finite(kl) {
		return fmt.Errorf("ppo: kl controller: measured KL is %v", kl)
	}
	e := clamp(kl/c.Target-1, -limit, limit)
	c.Coef *= 1 + e*float64(responses)/c.Horizon
	return nil
}

// StopEarly says whether the remaining policy steps of an iteration are to be left out because the last one's approximate
// KL (PolicyStats.ApproxKL) is above the limit or NaN. A limit of 0 never stops.
func StopEarly(approxKL, limit float64) bool {
	return limit > 0 && (approxKL > limit || math.IsNaN(approxKL))
}

// MiniBatches cuts n sequences into the mini-batches of one epoch: contiguous slices of floor(n/steps), the remainder
// going to the last, of the rollout order or, if order is not nil, of that permutation of 0..n-1. The entries are indices
// in rollout order and share memory with order.
func MiniBatches(n, steps int, order []int) ([][]int, error) {
	if steps < 1 || n < steps {
		return nil, fmt.Errorf("ppo: mini-batches: %d sequences cannot be cut into %d steps", n, steps)
	}
	if order == nil {
		order = make([]int, n)
		for i := range order {
			order[i] = i
		}
	} else if err := checkPermutation(order, n); err != nil {
		return nil, err
	}
	size := n / steps
	out := make([][]int, steps)
	for k := range out {
		out[k] = order[k*size : (k+1)*size : (k+1)*size]
	}
	out[steps-1] = order[(steps-1)*size:]
	return out, nil
}

func checkPermutation(order []int, n int) error {
	if len(order) != n {
		return fmt.Errorf("ppo: mini-batches: an order of %d for %d sequences", len(order), n)
	}
	seen := make([]bool, n)
	for _, i := range order {
		if i < 0 || i >= n || seen[i] {
			return fmt.Errorf("ppo: mini-batches: order is not a permutation: %d is out of range or occurs twice", i)
		}
		seen[i] = true
	}
	return nil
}
