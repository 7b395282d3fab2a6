package task

import (
	"fmt"
	"math"
	"slices"

	"alfred/internal/eval/metric"
	"alfred/internal/eval/python"
)

// Answer is what a model says to a Request.
type Answer struct {
	LogLikelihood float64
	Greedy        bool   // the continuation is what greedy decoding would give
	Text          string // of GenerateUntil
}

// Verdict is the metrics of one sample under one filter.
type Verdict struct {
	Filter   string
	Filtered string // the answer after the filters, of GenerateUntil
	Values   []Value
}

// Value is a metric of one sample.
type Value struct {
	Metric string
	metric.Item
}

// Judge turns answers to a sample's requests into metrics: one verdict for each of the task's filters, of which only generated answers
// have more than one.
func (t *Task) Judge(s *Sample, answers []Answer) ([]Verdict, error) {
	if len(answers) != len(s.Requests) {
		return nil, t.failed(s.Index, fmt.Errorf("%d answers to %d requests", len(answers), len(s.Requests)))
	}
	verdicts := make([]Verdict, len(t.Filters))
	for i, filter := range t.Filters {
		v := &verdicts[i]
		v.Filter = filter.Name
		var err error
		switch t.OutputType {
		case LogLikelihood:
			v.Values = t.likelihood(answers[0])
		case Rolling:
			v.Values = t.rolling(s, answers[0])
		case MultipleChoice:
			v.Values, err = t.chosen(s, answers)
		case GenerateUntil:
			v.Filtered = filter.apply(answers[0].Text)
			v.Values, err = t.generated(s, v.Filtered)
		}
		if err != nil {
			return nil, t.failed(s.Index, err)
		}
	}
	return verdicts, nil
}

func (t *Task) likelihood(a Answer) (values []Value) {
	for _, m := range t.Metrics {
		x := a.LogLikelihood // perplexity
		if m.Name == "acc" {
			x = truthValue(a.Greedy)
		}
		values = append(values, Value{m.Name, metric.Item{X: x}})
	}
	return values
}

func (t *Task) rolling(s *Sample, a Answer) (values []Value) {
	text := s.Requests[0].Continuation
	for _, m := range t.Metrics {
		weight := len(text)
		if m.Name == "word_perplexity" {
			weight = len(python.SplitSpace(text))
		}
		values = append(values, Value{m.Name, metric.Item{X: a.LogLikelihood, Y: float64(weight)}})
	}
	return values
}

func truthValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// chosen judges by the log-likelihoods of the choices: as they are, or divided by length. Of equal ones the first counts.
func (t *Task) chosen(s *Sample, answers []Answer) (values []Value, err error) {
	right, err := s.right()
	if err != nil {
		return nil, err
	}
	n := len(s.Choices)
	if t.multipleInput {
		n = len(answers)
	}
	scores := make([]float64, n)
	best := func(score func(i int) float64) int {
		for i := range scores {
			scores[i] = score(i)
		}
		return argMax(scores)
	}
	plain := func(i int) float64 { return answers[i].LogLikelihood }
	pick := best(plain)
	for _, m := range t.Metrics {
		item := metric.Item{}
		switch m.Name {
		case "acc":
			item.X = truthValue(slices.Contains(right, pick))
		case "acc_norm":
			item.X = truthValue(slices.Contains(right, best(func(i int) float64 { return plain(i) / float64(python.Len(s.Choices[i])) })))
		case "acc_bytes":
			item.X = truthValue(slices.Contains(right, best(func(i int) float64 { return plain(i) / float64(len(s.Choices[i])) })))
		case "acc_mutual_info":
			item.X = truthValue(slices.Contains(right, best(func(i int) float64 { return plain(i) - answers[n+i].LogLikelihood })))
		case "exact_match":
			item.X = truthValue(slices.ContainsFunc(right, func(i int) bool { return greedyAt(answers[:n], i) }))
		case "f1", "mcc":
			if t.multipleTarget {
				return nil, fmt.Errorf("the metric %s is of one right choice, and there are several", m.Name)
			}
			item.X, item.Y = float64(right[0]), float64(pick)
		}
		values = append(values, Value{m.Name, item})
	}
	return values, nil
}

// argMax is the place of the largest number, the first of equal ones. What is no number counts as the largest, as in NumPy.
func argMax(xs []float64) int {
	best := 0
	for i, x := range xs {
		if math.IsNaN(xs[best]) {
			break
		}
		if x > xs[best] || math.IsNaN(x) {
			best = i
		}
	}
	return best
}

// greedyAt tells whether a choice is what greedy decoding would give; a negative number counts from the end, but for noChoice.
func greedyAt(answers []Answer, i int) bool {
	if i < 0 {
		i += len(answers)
	}
	return i >= 0 && i < len(answers) && answers[i].Greedy
}

// generated judges an answer by whether it equals one of the right ones.
func (t *Task) generated(s *Sample, answer string) (values []Value, err error) {
	gold := []string{}
	switch target := s.Target.(type) {
	case []any:
		for _, g := range target {
			gold = append(gold, python.Str(g))
		}
	default:
		if len(s.Choices) > 0 {
			if target, err = choice(s.Choices, target); err != nil {
				return nil, err
			}
		}
		gold = append(gold, python.Str(target))
	}
	for _, m := range t.Metrics {
		share, err := m.match.Score(slices.Repeat([]string{answer}, len(gold)), gold)
		if err != nil {
			return nil, err
		}
		values = append(values, Value{m.Name, metric.Item{X: truthValue(share > 0)}})
	}
	return values, nil
}

// Calibration is the log-likelihoods of a sample's choices and the number of the right one; ok is false for tasks without a single right choice.
func (t *Task) Calibration(s *Sample, answers []Answer) (logLikelihoods []float64, right int, ok bool) {
	if t.OutputType != MultipleChoice || t.multipleTarget {
		return nil, 0, false
	}
	list, err := s.right()
	n := len(s.Choices)
	if t.multipleInput {
		n = len(s.Requests)
	}
	if err != nil || len(list) != 1 || list[0] < 0 || list[0] >= n {
		return nil, 0, false
	}
	for _, a := range answers[:n] {
		logLikelihoods = append(logLikelihoods, a.LogLikelihood)
	}
	return logLikelihoods, list[0], true
}

// Items are one metric of all samples under one filter, in order.
func (t *Task) Items(verdicts [][]Verdict, filter int, name string) (items []metric.Item) {
	for _, v := range verdicts {
		for _, value := range v[filter].Values {
			if value.Metric == name {
				items = append(items, value.Item)
			}
		}
	}
	return items
}
