package metric

import (
	"fmt"
	"math"
)

// Comparison says how one model's answers became another's. The accuracy changes by (WrongToRight - RightToWrong) / Count.
type Comparison struct {
	Count        int
	Kept         int // the same answer
	RightToWrong int
	WrongToRight int
	WrongToWrong int     // another wrong answer
	KL           float64 // mean KL(before || after) of the choices, nats; +Inf where the second model excludes what the first allows
}

// Compare holds two models' answers to the same questions against each other, the model before first.
func Compare(before, after []Question) (Comparison, error) {
	if len(before) != len(after) || len(before) == 0 {
		return Comparison{}, fmt.Errorf("metric: comparison of %d questions with %d", len(before), len(after))
	}
	c := Comparison{Count: len(before)}
	for i, a := range before {
		b := after[i]
		for _, q := range []Question{a, b} {
			if err := q.valid(); err != nil {
				return Comparison{}, fmt.Errorf("metric: comparison: question %d: %w", i, err)
			}
		}
		if a.Gold != b.Gold || len(a.Probabilities) != len(b.Probabilities) {
			return Comparison{}, fmt.Errorf("metric: comparison: question %d: gold %d of %d choices is %d of %d for the other model",
				i, a.Gold, len(a.Probabilities), b.Gold, len(b.Probabilities))
		}
		switch {
		case a.Answer == b.Answer:
			c.Kept++
		case a.right():
			c.RightToWrong++
		case b.right():
			c.WrongToRight++
		default:
			c.WrongToWrong++
		}
		c.KL += divergence(a.Probabilities, b.Probabilities)
	}
	c.KL /= float64(c.Count)
	return c, nil
}

// divergence is the sum of p log(p/q). It is not below 0 but for rounding, which is taken away.
func divergence(p, q []float64) (kl float64) {
	for i := range p {
		if p[i] > 0 {
			kl += p[i] * (math.Log(p[i]) - math.Log(q[i]))
		}
	}
	return max(kl, 0)
}
