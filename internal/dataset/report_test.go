package dataset

import (
	"context"
	"os"
	"strings"
	"testing"

	"alfred/internal/config"
	"alfred/internal/dataset/source"
)

func TestPercentiles(t *testing.T) {
	var lengths []int
	for i := range 200 {
		lengths = append(lengths, 200-i)
	}
	for _, c := range []struct {
		lengths []int
		want    Percentiles
	}{
		{nil, Percentiles{}}, {[]int{7}, Percentiles{7, 7, 7, 7}}, {[]int{3, 1, 2}, Percentiles{2, 3, 3, 3}},
		{[]int{1, 2, 3, 4}, Percentiles{2, 4, 4, 4}}, {lengths, Percentiles{100, 180, 198, 200}},
	} {
		if got := percentiles(c.lengths); got != c.want {
			t.Errorf("percentiles of %d lengths: %+v, want %+v", len(c.lengths), got, c.want)
		}
	}
}

// The report shows counts, places, lengths and samples, and lets no control character of the data through.
func TestReportText(t *testing.T) {
	var data strings.Builder
	data.WriteString(`{"id":"first","prompt":"hello \u001b[31m\u202e","response":"wor\r\nld"}` + "\n")
	for range 200 {
		data.WriteString(`{"prompt":"a","response":"b"}` + "\n")
	}
	data.WriteString("{broken\n\n")
	root := folder(t, map[string]string{"d/a.jsonl": data.String(), "d/empty.jsonl": "", "d/README.md": "x"})
	report, err := Inspect(context.Background(), "sft", []config.Source{spec(source.Prompts, "d", "")}, options(root))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := report.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{
		"prompts", "100.0 %", "202", `a.jsonl:202: broken JSON`, "199  duplicate", "1  texts with CRLF", "1  blank lines", "no rows in: ", "empty.jsonl",
		"not read: ", "README.md", "sample 1 (first)", "hello \\u001b[31m\\u202e⟦wor\n    ld∎⟧", report.Fingerprint,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	if strings.ContainsAny(text, "\x1b\u202e") {
		t.Error("a control character reached the report")
	}
	s := report.Sources[0]
	if s.Kept() != 2 || s.Lengths != (Percentiles{3, 21, 21, 21}) || s.Files != 2 {
		t.Errorf("report %+v", s)
	}
}

func TestElide(t *testing.T) {
	long := strings.Repeat("é", 5000) + "the end"
	if got := elide(long); len([]rune(got)) > mostShown+60 || !strings.HasSuffix(got, "the end") || !strings.Contains(got, "3407 characters") {
		t.Errorf("elided to %d characters: ...%s", len([]rune(got)), got[len(got)-40:])
	}
}

func TestFailingWriter(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.Close()
	if err := (&Report{}).WriteText(w); err == nil {
		t.Error("a failed write is not reported")
	}
}
