package eval

import (
	"fmt"
	"math"
	"strings"

	"alfred/internal/telemetry"
)

// Tables show the results of one or several models: each task with its metrics, and each group with the mean of its tasks, beside what
// guessing gives. left are the tasks that were left out.
func Tables(all []*Results, left []string) string {
	var b strings.Builder
	tasks := telemetry.Table{Header: []string{"task", "documents", "shots", "metric"}}
	groups := telemetry.Table{Header: []string{"group", "tasks", "documents"}}
	for _, r := range all {
		tasks.Header = append(tasks.Header, r.Model.Name, "±")
		groups.Header = append(groups.Header, r.Model.Name, "±")
	}
	tasks.Header, groups.Header = append(tasks.Header, "random", "majority"), append(groups.Header, "random")
	first := all[0]
	for i, t := range first.Tasks {
		for f, figure := range t.Figures {
			row := []string{t.Name, fmt.Sprint(len(t.Samples)), fmt.Sprint(t.Shots), label(figure, len(t.Filters))}
			if f > 0 {
				row[0], row[1], row[2] = "", "", ""
			}
			for _, r := range all {
				own := r.Tasks[i].Figures[f]
				row = append(row, decimal(own.Value), decimal(own.StdErr))
			}
			random, majority := "", ""
			if strings.HasPrefix(figure.Metric, "acc") || figure.Metric == "exact_match" {
				random, majority = decimal(t.Random), decimal(t.Majority)
			}
			tasks.Rows = append(tasks.Rows, append(row, random, majority))
		}
	}
	b.WriteString(tasks.Text(0))
	for i, g := range first.Groups {
		row := []string{g.Alias, fmt.Sprint(len(first.in(g.Group))), fmt.Sprint(g.Samples)}
		for _, r := range all {
			row = append(row, decimal(r.Groups[i].Mean), decimal(r.Groups[i].StdErr))
		}
		groups.Rows = append(groups.Rows, append(row, decimal(g.Random)))
	}
	if len(groups.Rows) > 0 {
		b.WriteString("\nGroups: unweighted mean of each task's main metric\n" + groups.Text(0))
	}
	for _, r := range all {
		for _, t := range r.Tasks {
			if t.Constant {
				fmt.Fprintf(&b, "\n%s gives all choices of %s the same log-prob: this is no result.\n", r.Model.Name, t.Name)
			}
		}
	}
	if len(left) > 0 {
		fmt.Fprintf(&b, "\nLeft out: %d tasks\n  %s\n", len(left), strings.Join(left, "\n  "))
	}
	return b.String()
}

// label is a metric's name, with the filter where there are several, and an arrow where less is better.
func label(f Figure, filters int) string {
	name := f.Metric
	if filters > 1 {
		name = f.Key()
	}
	if !f.HigherIsBetter {
		name += " ↓"
	}
	return name
}

// decimal is a figure for a table, empty for none.
func decimal(x float64) string {
	switch {
	case math.IsNaN(x):
		return ""
	case math.Abs(x) >= 1e6:
		return fmt.Sprintf("%.4g", x)
	}
	return fmt.Sprintf("%.4f", x)
}
