package telemetry

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Table is text in rows and columns, rendered for a terminal or as Markdown. Cells may hold anything, the output of a
// model included: what would move a cursor, hide text or be taken for markup is made visible.
type Table struct {
	Title  string `json:",omitempty"`
	Header []string
	Rows   [][]string
}

// Text renders aligned columns without lines, cells wrapped so that a row is about width characters wide; 0 does not
// wrap. Columns of numbers are aligned right.
func (t Table) Text(width int) string {
	w := t.writer(visible)
	style := table.StyleDefault
	style.Format.Header = text.FormatDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Options.SeparateHeader = true
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	w.SetStyle(style)
	configs := t.columns()
	if width > 0 {
		t.limit(configs, width)
	}
	w.SetColumnConfigs(configs)
	lines := strings.Split(w.Render(), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	out := strings.Join(lines, "\n") + "\n"
	if t.Title != "" {
		out = visible(t.Title) + "\n" + out
	}
	return out
}

// Markdown renders a table of GitHub's Markdown.
func (t Table) Markdown() string {
	w := t.writer(markdownCell)
	w.SetColumnConfigs(t.columns())
	out := w.RenderMarkdown() + "\n"
	if t.Title != "" {
		out = "**" + markdownCell(t.Title) + "**\n\n" + out
	}
	return out
}

func (t Table) writer(cell func(string) string) table.Writer {
	w := table.NewWriter()
	row := func(cells []string) table.Row {
		out := make(table.Row, max(len(cells), len(t.Header))) // the writer would drop a row without cells
		for i := range out {
			out[i] = ""
			if i < len(cells) {
				out[i] = cell(cells[i])
			}
		}
		return out
	}
	w.AppendHeader(row(t.Header))
	for _, r := range t.Rows {
		w.AppendRow(row(r))
	}
	return w
}

// columns aligns columns of numbers right.
func (t Table) columns() []table.ColumnConfig {
	configs := make([]table.ColumnConfig, len(t.Header))
	for i := range configs {
		align := text.AlignLeft
		if t.numeric(i) {
			align = text.AlignRight
		}
		configs[i] = table.ColumnConfig{Number: i + 1, Align: align, AlignHeader: align}
	}
	return configs
}

func (t Table) numeric(column int) bool {
	numbers := 0
	for _, r := range t.Rows {
		if column >= len(r) || r[column] == "" {
			continue
		}
		if _, err := strconv.ParseFloat(r[column], 64); err != nil {
			return false
		}
		numbers++
	}
	return numbers > 0
}

// limit shares the width among the columns: narrow ones keep what they need, wide ones wrap.
func (t Table) limit(configs []table.ColumnConfig, width int) {
	need := make([]int, len(configs))
	for i, h := range t.Header {
		need[i] = text.StringWidthWithoutEscSequences(visible(h))
		for _, r := range t.Rows {
			if i < len(r) {
				need[i] = max(need[i], text.StringWidthWithoutEscSequences(visible(r[i])))
			}
		}
	}
	open := width - 2*len(configs)
	for left := len(need); left > 0; {
		share, settled := open/left, false
		for i := range need {
			if configs[i].WidthMax == 0 && need[i] <= share {
				configs[i].WidthMax = max(need[i], 1)
				open -= need[i]
				left--
				settled = true
			}
		}
		if settled {
			continue
		}
		for i := range need {
			if configs[i].WidthMax == 0 {
				configs[i].WidthMax, configs[i].WidthMaxEnforcer = max(share, 8), text.WrapSoft
			}
		}
		return
	}
}

// visible is harmless with lines and tabs as printable signs: nothing that a model wrote can act on a terminal.
func visible(s string) string {
	return strings.NewReplacer("\n", "↵", "\t", "→").Replace(harmless(s))
}

// harmless escapes control, format and invalid characters but keeps lines and tabs.
func harmless(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case r == '\n' || r == '\t':
			b.WriteRune(r)
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

var markup = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;", `\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "~", `\~`)

// markdownCell keeps a cell's text from being read as Markdown or HTML; pipes are the renderer's affair.
func markdownCell(s string) string { return markup.Replace(visible(s)) }

// RecordTable shows the given metrics, a row for each record.
func RecordTable(records []Record, names ...Name) Table {
	var t Table
	for i, rec := range records {
		if i == 0 {
			t.Header = append(t.Header, string(rec.Unit))
			for _, n := range names {
				t.Header = append(t.Header, string(n))
			}
		}
		row := []string{strconv.Itoa(rec.Index)}
		for _, n := range names {
			cell := ""
			if v, found := rec.Metrics.Lookup(n); found {
				cell = short(v)
			}
			row = append(row, cell)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
