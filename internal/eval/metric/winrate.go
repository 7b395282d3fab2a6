package metric

import (
	"fmt"
	"math"
)

// Rate is a share with its confidence interval, 0 to 1.
type Rate struct{ Value, Low, High float64 }

// WinRate is (wins + ties/2) / n of comparisons between two models, with the Wilson score interval of that share (Wilson 1927,
// doi:10.1080/01621459.1927.10502953), which stays within 0 and 1 and holds for few comparisons. confidence is such as 0.95. The
// interval takes every comparison for a win or a loss: ties vary less than that, so with ties it is wider than it had to be.
func WinRate(wins, ties, losses int, confidence float64) (Rate, error) {
	n := float64(wins) + float64(ties) + float64(losses)
	if wins < 0 || ties < 0 || losses < 0 || n == 0 {
		return Rate{}, fmt.Errorf("metric: win rate of %d wins, %d ties, %d losses", wins, ties, losses)
	}
	if !(confidence > 0 && confidence < 1) {
		return Rate{}, fmt.Errorf("metric: win rate with confidence %g, which is between 0 and 1", confidence)
	}
	z := math.Sqrt2 * math.Erfinv(confidence) // quantile (1+confidence)/2 of the normal distribution
	p := (float64(wins) + float64(ties)/2) / n
	middle := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return Rate{Value: p, Low: max(middle-half, 0), High: min(middle+half, 1)}, nil
}
