package metric

import (
	"fmt"
	"math"
)

// GroupMean aggregates one metric of the tasks of a group: the mean of their values, weighted by their numbers of documents where the
// group says weight_by_size (aggregate_subtask_metrics of lm_eval/api/metrics.py).
func GroupMean(values []float64, sizes []int, weightBySize bool) (float64, error) {
	if err := sameTasks(values, sizes); err != nil {
		return 0, err
	}
	sum, total := 0.0, 0.0
	for i, value := range values {
		weight := 1.0
		if weightBySize {
			weight = float64(sizes[i])
		}
		sum += value * weight
		total += weight
	}
	if total == 0 {
		return 0, fmt.Errorf("metric: group: its tasks have no documents")
	}
	return sum / total, nil
}

func sameTasks(values []float64, sizes []int) error {
	if len(values) == 0 || len(values) != len(sizes) {
		return fmt.Errorf("metric: group: %d values and %d sizes of tasks", len(values), len(sizes))
	}
	for i, size := range sizes {
		if size < 0 {
			return fmt.Errorf("metric: group: task %d has %d documents", i, size)
		}
	}
	return nil
}

// GroupStdErr is the standard error of a GroupMean: pooled_sample_stderr of lm_eval/api/metrics.py where tasks are weighted by size,
// unweighted_mean_stderr where they are not. The pooled one needs a task with more than one document.
func GroupStdErr(stderrs []float64, sizes []int, weightBySize bool) (float64, error) {
	if err := sameTasks(stderrs, sizes); err != nil {
		return 0, err
	}
	sum, total := 0.0, 0.0
	for i, stderr := range stderrs {
		if size := float64(sizes[i]); weightBySize {
			sum += (size - 1) * (stderr * stderr) * size
			total += size
		} else {
			sum += stderr * stderr
		}
	}
	if !weightBySize {
		return math.Sqrt(sum) / float64(len(stderrs)), nil
	}
	if total <= float64(len(stderrs)) {
		return 0, fmt.Errorf("metric: group: %g documents in %d tasks have no pooled deviation", total, len(stderrs))
	}
	return math.Sqrt(sum / (total - float64(len(stderrs))) / total), nil
}
