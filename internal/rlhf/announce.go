package rlhf

import (
	"fmt"
	"strings"

	"alfred/internal/dataset"
)

// report says what became of the data; nil in a replay, which has none.
func (in *inputs) report() *dataset.Report {
	switch {
	case in.sft != nil:
		return in.sft.Report()
	case in.ranked != nil:
		return in.ranked.Report()
	case in.prompts != nil:
		return in.prompts.Report()
	}
	return nil
}

// announceData says what became of the rows of each source: nothing is left out in silence. `alfred data inspect` shows examples.
func (r *run) announceData() {
	report := r.in.report()
	if report == nil {
		return
	}
	for _, s := range report.Sources {
		attrs := []any{"path", s.Path, "rows", s.Rows, "samples", s.Kept(), "held out", s.HeldOut}
		if len(s.Dropped) > 0 {
			attrs = append(attrs, "left out", counted(s.Dropped))
		}
		if len(s.Notes) > 0 {
			attrs = append(attrs, "noted", counted(s.Notes))
		}
		r.log.Info("data: "+s.Source, attrs...)
		if s.MalformedRows > 0 {
			r.log.Warn("malformed rows were left out", "path", s.Path, "rows", s.MalformedRows, "of", s.Rows, "why", counted(s.Malformed), "first", strings.Join(s.Examples[:min(1, len(s.Examples))], ""))
		}
	}
}

func counted(counts []dataset.Count) string {
	parts := make([]string, len(counts))
	for i, c := range counts {
		parts[i] = fmt.Sprintf("%d %s", c.N, c.Reason)
	}
	return strings.Join(parts, ", ")
}
