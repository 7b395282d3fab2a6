package official

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"alfred/internal/eval/python"
)

// table is a file of tab-separated columns with their names in the first line. Quotes mean nothing in it (csv.QUOTE_NONE in the
// hub's scripts): real rows hold single quotation marks, and a reader that pairs them would swallow the rows between.
type table struct {
	in      *input
	file    file
	columns []string
}

// tableRow is one line of a table. Its methods work as those of fields do.
type tableRow struct {
	*fields
	number int // of the row in the file, from 0, whether good or malformed
}

// openTable reads the names of the columns and refuses a table that lacks a wanted one.
func openTable(in *input, f file, wanted ...string) (*table, error) {
	t := &table{in: in, file: f}
	for _, line := range f.lines {
		t.columns = strings.Split(string(line), "\t")
		break
	}
	for _, name := range wanted {
		if !slices.Contains(t.columns, name) {
			return nil, fmt.Errorf("%s:1: no column %q, only %q", f.name, name, t.columns)
		}
	}
	return t, nil
}

// rows converts every line after the first. convert returns nil for a row that is none of this split's.
func (t *table) rows(convert func(tableRow) *python.Dict) {
	row := 0
	for number, line := range t.file.lines {
		at := place{t.file.name, number}
		switch {
		case number == 1:
			continue
		case len(line) == 0:
			t.in.report.note(at, &problem{reason: BlankLine})
			continue
		}
		row++
		if !utf8.Valid(line) {
			t.in.report.skip(at, &problem{reason: NotUTF8})
			continue
		}
		cells := strings.Split(string(line), "\t")
		if len(cells) != len(t.columns) {
			t.in.report.skip(at, problemf(WrongColumns, "%d, the first line has %d", len(cells), len(t.columns)))
			continue
		}
		values := python.NewDict()
		for i, cell := range cells {
			values.Set(t.columns[i], cell)
		}
		f := newFields(values)
		if doc := convert(tableRow{f, row - 1}); doc != nil || f.row.problem != nil {
			t.in.finish(at, f.row, doc)
		}
	}
}

// binary is a label 0 or 1; an empty one is a row without an answer.
func (r tableRow) binary(column string) int64 {
	switch s := r.text(column); s {
	case "0", "1":
		return int64(s[0] - '0')
	case "":
		r.fail(NoAnswer, "%s is empty", column)
	default:
		r.fail(UnknownAnswer, "%s is %q", column, s)
	}
	return 0
}

const (
	mrpcQuality = "Quality"
	mrpcID1     = "#1 ID"
	mrpcID2     = "#2 ID"
	mrpcText1   = "#1 String"
	mrpcText2   = "#2 String"
)

func mrpcRow(r tableRow) *python.Dict {
	return python.NewDict("sentence1", r.text(mrpcText1), "sentence2", r.text(mrpcText2), "label", r.binary(mrpcQuality), "idx", int64(r.number))
}

// mrpc: the Microsoft Research Paraphrase Corpus as SentEval publishes it: Quality, two ids, two sentences; the hub's glue.py. Its
// idx is the number of the row in the file.
func mrpc(in *input) error {
	t, err := openTable(in, in.rowFiles[0], mrpcQuality, mrpcText1, mrpcText2)
	if err != nil {
		return err
	}
	t.rows(mrpcRow)
	return nil
}

// mrpcDev is the part of MRPC's training file that GLUE sets apart as validation set (dev), or the rest of it. The partner file,
// GLUE's mrpc_dev_ids.tsv, has the two ids of such a row per line. A row of the other part is looked at as well, for only a whole
// row has ids; if it is malformed it counts in both splits.
func mrpcDev(dev bool) reader {
	return func(in *input) error {
		ids := map[string]bool{}
		for number, line := range in.partners[0].lines {
			cells := strings.Split(string(line), "\t")
			switch {
			case len(line) == 0:
				continue
			case len(cells) < 2:
				return fmt.Errorf("%s:%d: %q is no pair of ids", in.partners[0].name, number, clip(string(line)))
			}
			ids[cells[0]+"\t"+cells[1]] = true
		}
		t, err := openTable(in, in.rowFiles[0], mrpcQuality, mrpcID1, mrpcID2, mrpcText1, mrpcText2)
		if err != nil {
			return err
		}
		t.rows(func(r tableRow) *python.Dict {
			if ids[r.text(mrpcID1)+"\t"+r.text(mrpcID2)] != dev {
				return nil
			}
			return mrpcRow(r)
		})
		return nil
	}
}

// qqp: Quora Question Pairs in GLUE's form: id, qid1, qid2, question1, question2, is_duplicate; the hub's glue.py. Its test set has
// no is_duplicate; the label is -1 there.
func qqp(in *input) error {
	wanted := []string{"question1", "question2"}
	if !in.hidden {
		wanted = append(wanted, "is_duplicate")
	}
	t, err := openTable(in, in.rowFiles[0], wanted...)
	if err != nil {
		return err
	}
	labelled := slices.Contains(t.columns, "is_duplicate")
	t.rows(func(r tableRow) *python.Dict {
		label := int64(-1)
		if labelled {
			label = r.binary("is_duplicate")
		}
		return python.NewDict("question1", r.text("question1"), "question2", r.text("question2"), "label", label, "idx", int64(r.number))
	})
	return nil
}

// paws: PAWS and PAWS-X: id, sentence1, sentence2, label; the hub's paws.py and paws-x.py.
func paws(in *input) error {
	t, err := openTable(in, in.rowFiles[0], "id", "sentence1", "sentence2", "label")
	if err != nil {
		return err
	}
	t.rows(func(r tableRow) *python.Dict {
		return python.NewDict("id", r.written("id"), "sentence1", r.text("sentence1"), "sentence2", r.text("sentence2"), "label", r.binary("label"))
	})
	return nil
}
