package dataset

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// mostShown bounds the characters of a sample in WriteText; the middle of longer ones is left out.
const mostShown = 1600

// WriteText writes the report for a reader: a table of the sources, what was dropped and why, and rendered samples.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"source", "path", "render", "share", "rows", "malformed", "dropped", "train", "held out", "p50", "p90", "p99", "max", "licence"})
	numbers := []table.ColumnConfig{}
	for column := 4; column <= 13; column++ {
		numbers = append(numbers, table.ColumnConfig{Number: column, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(numbers)
	for _, s := range r.Sources {
		t.AppendRow(table.Row{s.Source, printable(s.Path), s.Render, fmt.Sprintf("%.1f %%", 100*s.Share), s.Rows, s.MalformedRows, total(s.Dropped),
			s.Train, s.HeldOut, s.Lengths.P50, s.Lengths.P90, s.Lengths.P99, s.Lengths.Max, s.Licence})
	}
	b.WriteString(t.Render() + "\n")
	b.WriteString("Lengths are tokens per sequence. Rows are lines, task instances or parquet rows; one row may give several samples.\n")
	for _, s := range r.Sources {
		s.writeDetails(&b)
	}
	if r.Fingerprint != "" {
		fmt.Fprintf(&b, "\nfingerprint %s\n", r.Fingerprint)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s SourceReport) writeDetails(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s %s, %d files, template %s %.12s\n", s.Source, printable(s.Path), s.Files, s.Render, s.TemplateSHA256)
	list := func(title string, counts []Count) {
		for _, c := range counts {
			fmt.Fprintf(b, "  %-10s %8d  %s\n", title, c.N, c.Reason)
			title = ""
		}
	}
	list("malformed", s.Malformed)
	for _, e := range s.Examples {
		fmt.Fprintf(b, "             %s\n", printable(e))
	}
	list("dropped", s.Dropped)
	list("noted", s.Notes)
	paths := func(title string, paths []string) {
		const most = 5
		if len(paths) == 0 {
			return
		}
		more := ""
		if len(paths) > most {
			more = fmt.Sprintf(" and %d more", len(paths)-most)
		}
		fmt.Fprintf(b, "  %s: %s%s\n", title, printable(strings.Join(paths[:min(most, len(paths))], ", ")), more)
	}
	paths("no rows in", s.EmptyFiles)
	paths("not read", s.Ignored)
	for i, sample := range s.Samples {
		fmt.Fprintf(b, "  sample %d (%s):\n    %s\n", i+1, printable(sample.ID), strings.ReplaceAll(elide(sample.Text), "\n", "\n    "))
	}
}

func total(counts []Count) int {
	n := 0
	for _, c := range counts {
		n += c.N
	}
	return n
}

// elide leaves out the middle of a long text: its end is where the response is.
func elide(s string) string {
	r := []rune(s)
	if len(r) <= mostShown {
		return s
	}
	const half = mostShown / 2
	return fmt.Sprintf("%s\n[... %d characters ...]\n%s", string(r[:half]), len(r)-2*half, string(r[len(r)-half:]))
}
