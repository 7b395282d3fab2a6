package dataset

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"alfred/internal/config"
	"alfred/internal/dataset/source"
)

// Report says what became of the data, source by source.
type Report struct {
	Sources     []SourceReport
	Fingerprint string // "" when a source failed
}

// SourceReport says what became of one source.
type SourceReport struct {
	Source, Path, Render string
	Licence              string // of the public data set; "" for own data
	TemplateSHA256       string
	Share                float64 // of draws; 0 when a source failed

	Files      int
	EmptyFiles []string
	Ignored    []string // files of the folder that the format cannot be in

	Rows           int // lines, task instances or parquet rows
	MalformedRows  int
	Malformed      []Count
	Examples       []string // the first malformed rows of each kind, with file and line
	Dropped        []Count  // by filters
	Notes          []Count
	Train, HeldOut int // samples

	Lengths Percentiles // tokens per sequence
	Samples []ShownSample
}

// Kept returns the number of samples, held out or not.
func (s SourceReport) Kept() int { return s.Train + s.HeldOut }

// Count is how often something happened.
type Count struct {
	Reason string
	N      int
}

// Percentiles of the lengths of sequences, in tokens: the smallest length that at least that part of them does not exceed.
type Percentiles struct{ P50, P90, P99, Max int }

// ShownSample is a sample as text. The tokens that count for the loss (or, for rankings, each response) stand in ⟦ ⟧, and ∎ is
// the end-of-document token; where the text holds these signs itself, they are escaped.
type ShownSample struct{ ID, Text string }

// shownSamples is how many samples of a source a report shows.
const shownSamples = 3

// Inspect opens the data of a stage ("sft", "reward" or "ppo") for its report. When the data are bad the report of what was read
// comes beside the error.
func Inspect(ctx context.Context, stage string, specs []config.Source, opts Options) (*Report, error) {
	switch stage {
	case "sft":
		set, err := open[SFT](ctx, specs, opts)
		return set.report, err
	case "reward":
		set, err := open[Ranked](ctx, specs, opts)
		return set.report, err
	case "ppo":
		set, err := open[Prompt](ctx, specs, opts)
		return set.report, err
	}
	return nil, fmt.Errorf("dataset: stage %q is unknown (sft, reward or ppo): %w", stage, ErrSpec)
}

func (s *sink[T]) summary(spec config.Source, ignored []string) SourceReport {
	t := &s.tally
	r := SourceReport{
		Source: spec.Source, Path: spec.Path, Render: s.rendering.name,
		Licence:        source.Kind(spec.Source).Licence(),
		TemplateSHA256: hex.EncodeToString(s.rendering.hash[:]),
		Files:          len(t.Files), Ignored: ignored,
		Rows: t.Rows, MalformedRows: t.MalformedRows, Malformed: counts(t.Malformed), Examples: t.Examples,
		Dropped: counts(t.Dropped), Notes: counts(t.Notes),
		Train: len(s.train), HeldOut: len(s.held), Lengths: percentiles(s.lengths),
	}
	for _, f := range t.Files {
		if f.Rows == 0 {
			r.EmptyFiles = append(r.EmptyFiles, f.Path)
		}
	}
	decode := decoder(s.builder.Options)
	for _, sample := range s.shown {
		r.Samples = append(r.Samples, ShownSample{sampleID(sample), printable(sample.show(decode))})
	}
	return r
}

func sampleID[T Sample](s T) string {
	switch s := any(s).(type) {
	case SFT:
		return s.ID
	case Ranked:
		return s.ID
	case Prompt:
		return s.ID
	}
	return ""
}

// counts turns a map of counts into a list, largest first.
func counts(m map[source.Reason]int) []Count {
	var out []Count
	for _, reason := range slices.Sorted(maps.Keys(m)) {
		out = append(out, Count{string(reason), m[reason]})
	}
	slices.SortStableFunc(out, func(a, b Count) int { return cmp.Compare(b.N, a.N) })
	return out
}

// percentiles sorts the lengths in place.
func percentiles(lengths []int) (p Percentiles) {
	if len(lengths) == 0 {
		return p
	}
	slices.Sort(lengths)
	at := func(percent int) int {
		return lengths[(percent*len(lengths)+99)/100-1] // nearest rank, rounded up
	}
	return Percentiles{at(50), at(90), at(99), at(100)}
}
