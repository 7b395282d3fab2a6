package metric

import "fmt"

// RandomBaseline is the accuracy of guessing: the mean over documents of right choices over choices, where each has one right choice.
// choices is how many each document has.
func RandomBaseline(choices []int) (float64, error) {
	sum := 0.0
	for i, n := range choices {
		if n < 1 {
			return 0, fmt.Errorf("metric: document %d has %d choices", i, n)
		}
		sum += 1 / float64(n)
	}
	if len(choices) == 0 {
		return 0, fmt.Errorf("metric: the random baseline of no documents")
	}
	return sum / float64(len(choices)), nil
}

// MajorityBaseline is the accuracy of always giving the answer that is right most often. golds is the right choice of each document.
func MajorityBaseline(golds []int) (float64, error) {
	if len(golds) == 0 {
		return 0, fmt.Errorf("metric: the majority baseline of no documents")
	}
	counts, most := map[int]int{}, 0
	for _, gold := range golds {
		counts[gold]++
		most = max(most, counts[gold])
	}
	return float64(most) / float64(len(golds)), nil
}
