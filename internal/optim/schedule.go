package optim

import "math"

// Schedule is a learning rate over steps: a linear warm-up that is never zero, then a decay that ends at DecaySteps, then
// Final for good.
type Schedule struct {
	Max, Final float64
	Warmup     int    // steps
	Decay      string // cosine, linear or constant (which stays at Max)
	DecaySteps int    // the step, warm-up included, at which the decay ends
}

// Rate is the learning rate of step s, the first being 0:
//
//	s < Warmup:          Max·(s+1)/Warmup
//	Warmup ≤ s < Decay:  from Max down to Final by a half cosine or a line
func (c Schedule) Rate(s int) float64 {
	switch {
	case s < c.Warmup:
		return c.Max * (float64(s+1) / float64(c.Warmup)) // so that the last step of the warm-up has Max itself
	case c.Decay == "constant":
		return c.Max
	case s >= c.DecaySteps:
		return c.Final
	}
	done := float64(s-c.Warmup) / float64(c.DecaySteps-c.Warmup)
	if c.Decay == "linear" {
		return c.Max + (c.Final-c.Max)*done
	}
	return c.Final + (c.Max-c.Final)/2*(1+math.Cos(math.Pi*done))
}
