package ppo

import "math"

// GAE returns the advantages and returns of one response (Schulman et al., arXiv:1506.02438, eq. 16):
//
//	δ_t = r_t + γ·V_{t+1} - V_t      V_T = 0
//	Â_t = δ_t + γλ·Â_{t+1}           R_t = Â_t + V_t
//
// rewards and values [T]; values are those of the rollout. V_T is 0 also for a response that was cut: nothing is
// bootstrapped.
func GAE(rewards, values []float64, gamma, lambda float64) (advantages, returns []float64) {
	advantages = make([]float64, len(rewards))
	returns = make([]float64, len(rewards))
	gae(advantages, returns, rewards, values, gamma, lambda)
	return advantages, returns
}

func gae(advantages, returns, rewards, values []float64, gamma, lambda float64) {
	nextValue, nextAdvantage := 0.0, 0.0
	for t := len(rewards) - 1; t >= 0; t-- {
		delta := rewards[t] + gamma*nextValue - values[t]
		advantages[t] = delta + gamma*lambda*nextAdvantage
		returns[t] = advantages[t] + values[t]
		nextValue, nextAdvantage = values[t], advantages[t]
	}
}

// Advantages is GAE for every sequence of an iteration. rewards and values [S][T_s]. The returns belong to the advantages
// before whitening.
func Advantages(rewards, values Ragged, gamma, lambda float64) (advantages, returns Ragged, err error) {
	if err := checkShapes("advantages", nil, named{"rewards", rewards}, named{"values", values}); err != nil {
		return nil, nil, err
	}
	advantages, returns = rewards.zeros(), rewards.zeros()
	for s := range rewards {
		gae(advantages[s], returns[s], rewards[s], values[s], gamma, lambda)
	}
	return advantages, returns, nil
}

// whitenEpsilon is added to the variance, as in lm-human-preferences.
const whitenEpsilon = 1e-8

// Whiten returns (x - m)·rsqrt(v + 1e-8), plus m again unless shiftMean: m and v are the mean and the population variance
// over the tokens x [S][T_s] of the whole iteration (lm-human-preferences, utils/core.py, whiten). Advantages shift their
// mean, rewards keep it.
//
// Excluded sequences have no part in m and v but are transformed like the others, because the value model may still learn
// from them. Fewer than two tokens have no spread to scale by: they are shifted only.
func Whiten(x Ragged, exclude []bool, shiftMean bool) (Ragged, error) {
	if err := checkShapes("whiten", exclude, named{"numbers", x}); err != nil {
		return nil, err
	}
	n, mean, variance := x.Moments(exclude)
	scale := 1.0
	if n > 1 {
		scale = 1 / math.Sqrt(variance+whitenEpsilon)
	}
	keep := mean
	if shiftMean {
		keep = 0
	}
	out := x.zeros()
	for s, row := range x {
		for t, v := range row {
			out[s][t] = (v-mean)*scale + keep
		}
	}
	return out, nil
}

// ExplainedVariance returns 1 - mean((V-R)²) / var(R) over all tokens: 1 for perfect values, 0 for values no better than
// the mean return, negative for worse. values and returns [S][T_s], both of the rollout. Returns without spread (fewer
// than two, or equal up to rounding) leave nothing to explain: the result is 0.
func ExplainedVariance(values, returns Ragged) (float64, error) {
	if err := checkShapes("explained variance", nil, named{"values", values}, named{"returns", returns}); err != nil {
		return 0, err
	}
	n, mean, variance := returns.Moments(nil)
	const rounding = 1e-24 // square of a relative spread that float64 sums of equal numbers can show
	if n < 2 || variance <= rounding*mean*mean {
		return 0, nil
	}
	squares := 0.0
	for s, row := range values {
		for t, v := range row {
			squares += (v - returns[s][t]) * (v - returns[s][t])
		}
	}
	return 1 - squares/float64(n)/variance, nil
}
