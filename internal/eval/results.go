package eval

import (
	"context"
	"fmt"
	"math"
	"slices"

	"alfred/internal/eval/metric"
	"alfred/internal/eval/task"
)

// Results of one model: what its answers are worth.
type Results struct {
	Model     Description
	Tasks     []*TaskResult
	Groups    []*GroupResult // in the plan's order, each before the groups inside it
	Cached    int
	Truncated int
	Seconds   float64
}

// TaskResult is the figures of a task.
type TaskResult struct {
	*Planned
	Answers     [][]task.Answer
	Verdicts    [][]task.Verdict // of each sample
	Figures     []Figure
	Random      float64           // what guessing gives for the primary metric; NaN where that means nothing
	Majority    float64           // what always giving the most frequent answer gives; NaN likewise
	Questions   []metric.Question // of documents with one right choice
	Calibration *metric.Calibration
	// Constant says that the model gives all choices of every document the same log-likelihood: it is not a model at all.
	Constant bool
}

// Figure is a metric of a task or a group, under a filter.
type Figure struct {
	Metric, Filter string
	Value          float64
	StdErr         float64 // NaN where there is none
	HigherIsBetter bool
}

// Key is the figure's name in the harness's results.
func (f Figure) Key() string { return f.Metric + "," + f.Filter }

// StdErrKey is the name of its standard error.
func (f Figure) StdErrKey() string { return f.Metric + "_stderr," + f.Filter }

// GroupResult is the figures of a group.
type GroupResult struct {
	*task.Group
	Figures []Figure
	Samples int
	// Mean is the unweighted mean of the primary metrics of its tasks, and Random that of what guessing gives.
	Mean, StdErr, Random float64
}

// Judge makes results of answers. Standard errors without a formula are those of so many resamplings; 0 leaves all out.
func (p *Plan) Judge(ctx context.Context, a *Answers, resamplings int) (*Results, error) {
	r := &Results{Model: a.Model, Cached: a.Cached, Truncated: a.Truncated}
	for i, planned := range p.Tasks {
		t, err := judge(ctx, planned, a.Of[i], resamplings)
		if err != nil {
			return nil, err
		}
		r.Tasks = append(r.Tasks, t)
	}
	for _, g := range p.Groups {
		if err := r.group(g); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func judge(ctx context.Context, planned *Planned, answers [][]task.Answer, resamplings int) (*TaskResult, error) {
	t := &TaskResult{Planned: planned, Answers: answers, Random: math.NaN(), Majority: math.NaN()}
	for i, sample := range planned.Samples {
		v, err := planned.Judge(sample, answers[i])
		if err != nil {
			return nil, err
		}
		t.Verdicts = append(t.Verdicts, v)
	}
	for filter, list := range planned.Filters {
		for _, m := range planned.Metrics {
			items := planned.Items(t.Verdicts, filter, m.Name)
			f := Figure{Metric: m.Name, Filter: list.Name, StdErr: math.NaN(), HigherIsBetter: m.HigherIsBetter}
			var err error
			if f.Value, err = m.Aggregation.Value(items); err != nil {
				return nil, fmt.Errorf("task %s, metric %s: %w", planned.Name, m.Name, err)
			}
			if resamplings > 0 {
				e, ok, err := m.Aggregation.StdErr(ctx, items, resamplings)
				if err != nil {
					return nil, fmt.Errorf("task %s, standard error of %s: %w", planned.Name, m.Name, err)
				}
				if ok {
					f.StdErr = e
				}
			}
			t.Figures = append(t.Figures, f)
		}
	}
	return t, t.calibrate()
}

// Primary is the figure that stands for a task in tables: of the metric that the task names, else of acc_norm, acc, or the first one.
func (t *TaskResult) Primary() Figure {
	for _, name := range []string{t.Task.Primary, "acc_norm", "acc"} {
		for _, f := range t.Figures {
			if f.Metric == name {
				return f
			}
		}
	}
	return t.Figures[0]
}

// Figure finds a figure by its key.
func (t *TaskResult) Figure(key string) (Figure, bool) {
	for _, f := range t.Figures {
		if f.Key() == key {
			return f, true
		}
	}
	return Figure{}, false
}

// calibrate computes what choices tell: baselines and calibration.
func (t *TaskResult) calibrate() (err error) {
	var questions []metric.Question
	var choices, gold []int
	t.Constant = t.OutputType == task.MultipleChoice
	for i, s := range t.Samples {
		scores, right, ok := t.Task.Calibration(s, t.Answers[i])
		for _, x := range scores {
			t.Constant = t.Constant && x == scores[0]
		}
		if !ok {
			continue
		}
		q, err := metric.NewQuestion(scores, right)
		if err != nil {
			return fmt.Errorf("task %s, document %d: %w", t.Name, s.Index, err)
		}
		questions, choices, gold = append(questions, q), append(choices, len(scores)), append(gold, right)
	}
	if t.OutputType == task.LogLikelihood || t.OutputType == task.GenerateUntil {
		t.Random = 0
	}
	if len(questions) == 0 {
		t.Constant = false
		return nil
	}
	t.Questions = questions
	c, err := metric.Calibrate(questions, calibrationBins)
	if err != nil {
		return err
	}
	t.Calibration = &c
	if t.Random, err = metric.RandomBaseline(choices); err == nil {
		t.Majority, err = metric.MajorityBaseline(gold)
	}
	return err
}

// calibrationBins is the number of bins of reliability diagrams, as in Guo et al. 2017, figure 1.
const calibrationBins = 10

// group adds the results of a group and of those inside it.
func (r *Results) group(g *task.Group) error {
	result := &GroupResult{Group: g}
	r.Groups = append(r.Groups, result)
	tasks := r.in(g)
	for _, t := range tasks {
		result.Samples += len(t.Samples)
	}
	for _, a := range g.Aggregates {
		for _, filter := range filtersOf(a, tasks) {
			f, ok, err := aggregate(a, filter, tasks)
			if err != nil {
				return fmt.Errorf("group %s: %w", g.Name, err)
			}
			if ok {
				result.Figures = append(result.Figures, f)
			}
		}
	}
	var values, errors, random []float64
	for _, t := range tasks {
		if f := t.Primary(); f.HigherIsBetter && !math.IsNaN(t.Random) {
			values, errors, random = append(values, f.Value), append(errors, f.StdErr), append(random, t.Random)
		}
	}
	result.Mean, result.Random, result.StdErr = mean(values), mean(random), math.NaN()
	if len(values) > 0 {
		var err error
		if result.StdErr, err = metric.GroupStdErr(errors, make([]int, len(errors)), false); err != nil {
			return fmt.Errorf("group %s: %w", g.Name, err)
		}
	}
	for _, sub := range g.Groups {
		if err := r.group(sub); err != nil {
			return err
		}
	}
	return nil
}

// in are the tasks of a group that there are results of.
func (r *Results) in(g *task.Group) (tasks []*TaskResult) {
	for _, name := range g.All() {
		for _, t := range r.Tasks {
			if t.Name == name {
				tasks = append(tasks, t)
			}
		}
	}
	return tasks
}

// filtersOf are the filters that an aggregate is over.
func filtersOf(a task.Aggregate, tasks []*TaskResult) (names []string) {
	if a.Filters != nil {
		return a.Filters
	}
	seen := map[string]bool{}
	for _, t := range tasks {
		for _, f := range t.Figures {
			if f.Metric == a.Metric && !seen[f.Filter] {
				seen[f.Filter] = true
				names = append(names, f.Filter)
			}
		}
	}
	return names
}

func aggregate(a task.Aggregate, filter string, tasks []*TaskResult) (f Figure, ok bool, err error) {
	var values, errors []float64
	var sizes []int
	f = Figure{Metric: a.Metric, Filter: filter, StdErr: math.NaN()}
	for _, t := range tasks {
		if own, ok := t.Figure(f.Key()); ok {
			values, errors, sizes = append(values, own.Value), append(errors, own.StdErr), append(sizes, len(t.Samples))
			f.HigherIsBetter = own.HigherIsBetter
		}
	}
	if len(values) == 0 {
		return f, false, nil
	}
	if f.Value, err = metric.GroupMean(values, sizes, a.WeightBySize); err != nil {
		return f, false, err
	}
	if !slices.ContainsFunc(errors, math.IsNaN) { // else there is none, as in the harness
		f.StdErr, err = metric.GroupStdErr(errors, sizes, a.WeightBySize)
	}
	return f, true, err
}

func mean(xs []float64) float64 {
	total := 0.0
	for _, x := range xs {
		total += x
	}
	return total / float64(len(xs)) // NaN for none
}
