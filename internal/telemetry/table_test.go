package telemetry

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

var sampleTable = Table{
	Title:  "samples at iteration 10",
	Header: []string{"prompt", "response", "score"},
	Rows: [][]string{
		{"User: hi\nAlfred:", " Hello | world<|endoftext|>", "0.8312"},
		{"User: \x1b[2Jevil\u202e", " *bold* `code` and a long answer that has to be wrapped at some point because it does not fit", "-1.5"},
		{"short row"},
	},
}

func TestTableGolden(t *testing.T) {
	golden(t, "table.txt", sampleTable.Text(60)+"\n"+sampleTable.Text(0)+"\n"+sampleTable.Markdown())
}

func TestRecordTable(t *testing.T) {
	records := []Record{*lossAt(1).Record, *lossAt(2).Record}
	records[1].Metrics.SetInt(SkippedSteps, 3)
	const want = "| step | loss | skipped\\_steps |\n| ---:| ---:| ---:|\n| 1 | 0.5000 |  |\n| 2 | 0.3333 | 3 |\n"
	if got := RecordTable(records, Loss, SkippedSteps).Markdown(); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	if got := RecordTable(nil, Loss).Text(80); strings.TrimSpace(got) != "" {
		t.Errorf("no records are %q", got)
	}
}

// Whatever a model wrote, a row is one row and nothing in it reaches the terminal as a control sequence.
func TestTablesAreHarmless(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cell := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
			rapid.SampledFrom([]string{"\x1b[31m", "a\r\nb", "|", "\u202e", "\u0085", "日本語", "\x9b2J", "\t"}))
		table := Table{Header: []string{"a", "b"}}
		for range rapid.IntRange(0, 3).Draw(t, "rows") {
			table.Rows = append(table.Rows, rapid.SliceOfN(cell, 0, 2).Draw(t, "cells"))
		}
		for _, out := range []string{table.Text(0), table.Text(20), table.Markdown()} {
			if !utf8.ValidString(out) || strings.ContainsAny(out, "\x1b\r\t\u0085\u009b\u202e") {
				t.Fatalf("%q of %q", out, table)
			}
		}
		if got, want := strings.Count(table.Markdown(), "\n"), 2+len(table.Rows); got != want {
			t.Fatalf("Markdown has %d lines, want %d", got, want)
		}
		if got, want := strings.Count(table.Text(0), "\n"), 2+len(table.Rows); got != want {
			t.Fatalf("text has %d lines, want %d", got, want)
		}
	})
}
