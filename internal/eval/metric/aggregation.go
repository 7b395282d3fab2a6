package metric

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Item is what an aggregation needs of one document. Most take X alone, such as 0 or 1 for a wrong or right answer, or a
// log-likelihood. weighted_perplexity and bits_per_byte take a log-likelihood X and the number Y of words or bytes that it is of; f1,
// matthews_corrcoef and cb_multi_fi take the gold class X and the predicted class Y, which are integers.
type Item struct{ X, Y float64 }

// Values are items of X alone.
func Values(xs []float64) []Item {
	items := make([]Item, len(xs))
	for i, x := range xs {
		items[i].X = x
	}
	return items
}

// Aggregation makes one number of all documents of a task.
type Aggregation struct {
	name  string
	value func([]Item) (float64, error)
	// standardError has the closed form where there is one.
	standardError func([]Item) (float64, error)
	// resampling makes a function that draws and evaluates one replicate of the items, for the bootstrap. Each goroutine has its own.
	resampling func([]Item) (func() replicate, error)
}

// aggregations are lm-eval's (lm_eval/api/metrics.py), and one of its tasks.
var aggregations = []Aggregation{
	{name: "mean", value: mean, standardError: meanStdErr},
	{name: "median", value: median, resampling: resampleMedian},
	{name: "nanmean", value: nanMean, resampling: resampleNaNMean},
	{name: "perplexity", value: perplexity, resampling: resamplePerplexity},
	{name: "weighted_perplexity", value: weightedPerplexity},
	{name: "bits_per_byte", value: bitsPerByte},
	{name: "f1", value: f1, resampling: resampleF1},
	{name: "matthews_corrcoef", value: matthews, resampling: resampleMatthews},
	{name: "cb_multi_fi", value: threeClassF1}, // super_glue/cb/aggregate.py
	{name: "bypass", value: func([]Item) (float64, error) { return 999, nil }},
}

// unsupported are lm-eval's other aggregations. Brier scores need probabilities, not items: see Calibrate.
var unsupported = []string{"bleu", "chrf", "chrf++", "ter", "brier_score"}

// Lookup finds an aggregation by the name that lm-eval has for it.
func Lookup(name string) (Aggregation, error) {
	var names []string
	for _, a := range aggregations {
		if a.name == name {
			return a, nil
		}
		names = append(names, a.name)
	}
	if slices.Contains(unsupported, name) {
		return Aggregation{}, fmt.Errorf("metric: the aggregation %s of lm-eval is not supported", name)
	}
	if near := nearest(name, names); near != "" {
		return Aggregation{}, fmt.Errorf("metric: no aggregation %q; did you mean %q?", name, near)
	}
	return Aggregation{}, fmt.Errorf("metric: no aggregation %q; there are %s", name, strings.Join(names, ", "))
}

// nearest is the name that the fewest edits lead to, "" where more than a third of its letters would change.
func nearest(name string, names []string) (best string) {
	edits := math.MaxInt
	for _, candidate := range names {
		if d := editDistance(name, candidate); d < edits && 3*d <= len(candidate)+2 {
			best, edits = candidate, d
		}
	}
	return best
}

// editDistance counts the bytes that are put in, left out or changed (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			changed := diagonal
			if a[i] != b[j] {
				changed++
			}
			diagonal = row[j+1]
			row[j+1] = min(changed, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Name is lm-eval's.
func (a Aggregation) Name() string { return a.name }

// Value aggregates the items of one task. No items are an error, as are values for which lm-eval fails: classes that are no integers,
// an overflow, weights that sum to 0.
func (a Aggregation) Value(items []Item) (float64, error) {
	if a.value == nil {
		return 0, fmt.Errorf("metric: an aggregation that Lookup did not return")
	}
	if len(items) == 0 {
		return 0, fmt.Errorf("metric: %s of nothing", a.name)
	}
	v, err := a.value(items)
	if err != nil {
		return 0, fmt.Errorf("metric: %s: %w", a.name, err)
	}
	return v, nil
}

// mean adds in order, as Python 3.11's sum does.
func mean(items []Item) (float64, error) {
	sum := 0.0
	for _, item := range items {
		sum += item.X
	}
	return sum / float64(len(items)), nil
}

// meanStdErr is the sample standard deviation over sqrt(n).
func meanStdErr(items []Item) (float64, error) {
	xs := make([]float64, len(items))
	for i, item := range items {
		xs[i] = item.X
	}
	deviation, err := sampleDeviation(xs)
	return deviation / math.Sqrt(float64(len(xs))), err
}

// sampleDeviation is the standard deviation with n-1 in the denominator. A square that overflows is an error, as in Python.
func sampleDeviation(xs []float64) (float64, error) {
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	mean, squares := sum/float64(len(xs)), 0.0
	for _, x := range xs {
		d := x - mean
		if math.IsInf(d*d, 1) && !math.IsInf(d, 0) {
			return 0, fmt.Errorf("the square of %g overflows", d)
		}
		squares += d * d
	}
	return math.Sqrt(squares / float64(len(xs)-1)), nil
}

// median is the upper one of an even number, as in lm-eval.
func median(items []Item) (float64, error) {
	sorted, _, err := ranks(items)
	if err != nil {
		return 0, err
	}
	return sorted[len(sorted)/2], nil
}

// ranks sorts the values, and says where in that order each item stands.
func ranks(items []Item) (sorted []float64, rank []int, err error) {
	order := make([]int, len(items))
	for i, item := range items {
		if math.IsNaN(item.X) {
			return nil, nil, fmt.Errorf("value %d is NaN, which has no place in an order", i)
		}
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case items[a].X < items[b].X:
			return -1
		case items[a].X > items[b].X:
			return 1
		}
		return 0
	})
	sorted, rank = make([]float64, len(items)), make([]int, len(items))
	for place, i := range order {
		sorted[place], rank[i] = items[i].X, place
	}
	return sorted, rank, nil
}

// nanMean leaves NaN out; of nothing else it is NaN.
func nanMean(items []Item) (float64, error) {
	sum, n := 0.0, 0
	for _, item := range items {
		if !math.IsNaN(item.X) {
			sum += item.X
			n++
		}
	}
	return sum / float64(n), nil
}

// perplexity is exp(-mean).
func perplexity(items []Item) (float64, error) {
	m, err := mean(items)
	if err != nil {
		return 0, err
	}
	return exp(-m)
}

// exp fails where Python's math.exp raises OverflowError.
func exp(x float64) (float64, error) {
	y := math.Exp(x)
	if math.IsInf(y, 1) && !math.IsInf(x, 1) {
		return 0, fmt.Errorf("exp(%g) overflows", x)
	}
	return y, nil
}

// weightedMean is the sum of X over the sum of Y.
func weightedMean(items []Item) (float64, error) {
	x, y := 0.0, 0.0
	for _, item := range items {
		x += item.X
		y += item.Y
	}
	if y == 0 {
		return 0, fmt.Errorf("the weights sum to 0")
	}
	return x / y, nil
}

func weightedPerplexity(items []Item) (float64, error) {
	m, err := weightedMean(items)
	if err != nil {
		return 0, err
	}
	return exp(-m)
}

func bitsPerByte(items []Item) (float64, error) {
	m, err := weightedMean(items)
	return -m / math.Ln2, err
}
