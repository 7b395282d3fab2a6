package source

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/parquet-go/parquet-go"
)

// parquetColumns are the columns of an oasst1 parquet file that are read; all but the first three may be absent.
var parquetColumns = []string{"message_id", "text", "role", "parent_id", "lang", "rank", "review_result", "deleted", "synthetic", "tree_state"}

// readParquet reads flat messages from a parquet file. Columns are found by name and values converted by what they are, so
// that int32, int64 and floating ranks all do.
func (f *forest) readParquet(s *stream) (err error) {
	defer func() {
		// The decoder trusts the pages of a file more than untrusted input deserves.
		if p := recover(); p != nil {
			err = s.fail(fmt.Errorf("corrupt parquet file: %v", p))
		}
	}()
	info, err := s.file.Stat()
	if err != nil {
		return s.fail(err)
	}
	file, err := parquet.OpenFile(s.file, info.Size())
	if err != nil {
		return s.fail(err)
	}
	names := make([]string, len(file.Schema().Columns())) // by leaf column; "" is not wanted
	found := map[string]bool{}
	for _, want := range parquetColumns {
		if leaf, ok := file.Schema().Lookup(want); ok {
			names[leaf.ColumnIndex] = want
			found[want] = true
		}
	}
	for _, required := range parquetColumns[:3] {
		if !found[required] {
			return s.fail(fmt.Errorf("no column %q: this is not an oasst1 message file", required))
		}
	}
	number := 0
	for _, group := range file.RowGroups() {
		if number, err = f.rowGroup(s, group, names, number); err != nil {
			return err
		}
	}
	// The decoder jumps about in the file; the hash wants it from start to end.
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return s.fail(err)
	}
	s.sum.Reset()
	return nil
}

func (f *forest) rowGroup(s *stream, group parquet.RowGroup, names []string, number int) (int, error) {
	rows := group.Rows()
	defer rows.Close()
	batch := make([]parquet.Row, 64)
	for {
		n, err := rows.ReadRows(batch)
		if err != nil && !errors.Is(err, io.EOF) {
			return number, s.fail(err)
		}
		if err := f.ctx.Err(); err != nil {
			return number, err
		}
		for _, row := range batch[:n] {
			number++
			at := Location{File: s.path, Unit: "row", Number: number}
			f.tally.Rows++
			m, p := f.parquetRow(at, row, names)
			if p != nil {
				if err := f.tally.malformed(at, p); err != nil {
					return number, err
				}
				continue
			}
			f.flat = append(f.flat, m)
		}
		if err != nil {
			return number, nil
		}
		if n == 0 {
			return number, s.fail(io.ErrNoProgress)
		}
	}
}

func (f *forest) parquetRow(at Location, row parquet.Row, names []string) (*message, *problem) {
	var w wireMessage
	var text *string
	var bad *problem
	for _, v := range row {
		name := names[v.Column()]
		if name == "" || v.IsNull() {
			continue
		}
		var ok bool
		switch name {
		case "message_id":
			w.ID, ok = stringOf(v)
		case "text":
			text, ok = stringOf(v)
		case "role":
			w.Role, ok = stringOf(v)
		case "parent_id":
			w.Parent, ok = stringOf(v)
		case "lang":
			w.Lang, ok = stringOf(v)
		case "tree_state":
			w.State, ok = stringOf(v)
		case "rank":
			if w.Rank, ok = numberOf(v); ok && math.IsNaN(*w.Rank) {
				w.Rank = nil // how data frames write "no rank" in a floating column
			}
		case "review_result":
			w.Review, ok = boolOf(v)
		case "deleted":
			w.Deleted, ok = boolOf(v)
		case "synthetic":
			w.Synthetic, ok = boolOf(v)
		}
		if !ok && bad == nil {
			bad = problemf(WrongType, "%q is a %s", name, v.Kind())
		}
	}
	switch {
	case bad != nil:
		return nil, bad
	case value(w.ID) == "":
		return nil, problemf(MissingField, `"message_id"`)
	case text == nil:
		return nil, problemf(MissingField, `message %s: "text"`, *w.ID)
	}
	checkedText, crlf, p := checkText("text", *text)
	if p != nil {
		return nil, problemf(p.reason, "message %s: %s", *w.ID, p.detail)
	}
	if crlf {
		f.tally.Note(CRLFInText, 1)
	}
	return f.checked(at, &w, checkedText)
}

func stringOf(v parquet.Value) (*string, bool) {
	if v.Kind() != parquet.ByteArray {
		return nil, false
	}
	s := string(v.ByteArray())
	return &s, true
}

func boolOf(v parquet.Value) (*bool, bool) {
	if v.Kind() != parquet.Boolean {
		return nil, false
	}
	b := v.Boolean()
	return &b, true
}

func numberOf(v parquet.Value) (*float64, bool) {
	var n float64
	switch v.Kind() {
	case parquet.Int32:
		n = float64(v.Int32())
	case parquet.Int64:
		n = float64(v.Int64())
	case parquet.Float:
		n = float64(v.Float())
	case parquet.Double:
		n = v.Double()
	default:
		return nil, false
	}
	return &n, true
}
