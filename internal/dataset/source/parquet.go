package source

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/parquet-go/parquet-go"
)

// readParquet reads flat messages from a parquet file. Columns are found by name and values converted by what they are, so
// that int32, int64 and floating ranks all do.
func (f *forest) readParquet(s *stream) (err error) {
	defer func() {
		// The decoder trusts the pages of a file more than untrusted input deserves.
		if p := recover(); p != nil {
			err = s.fail(fmt.Errorf("corrupt parquet file: %v", p))
		}
	}()
	info, err := s.Raw.Stat()
	if err != nil {
		return s.fail(err)
	}
	file, err := parquet.OpenFile(s.Raw, info.Size())
	if err != nil {
		return s.fail(err)
	}
	columns, err := messageColumns(file)
	if err != nil {
		return s.fail(err)
	}
	number := 0
	for _, group := range file.RowGroups() {
		if group.NumRows() == 0 { // its pages cannot be sought
			continue
		}
		if number, err = f.rowGroup(s, group, columns, number); err != nil {
			return err
		}
	}
	// The decoder jumps about in the file; the hash wants it from start to end.
	if err := s.Rewind(); err != nil {
		return s.fail(err)
	}
	return nil
}

func (f *forest) rowGroup(s *stream, group parquet.RowGroup, columns []messageField, number int) (int, error) {
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
			var w wireMessage
			if p := f.flatMessage(at, &w, w.readParquet(row, columns)); p != nil {
				if err := f.tally.malformed(at, p); err != nil {
					return number, err
				}
			}
		}
		if err != nil {
			return number, nil
		}
		if n == 0 {
			return number, s.fail(io.ErrNoProgress)
		}
	}
}

// readParquet fills in a message from its row. Beside a problem it holds what could be read.
func (w *wireMessage) readParquet(row parquet.Row, columns []messageField) (p *problem) {
	for _, v := range row {
		column := columns[v.Column()]
		if column.name == "" || v.IsNull() {
			continue
		}
		if bad := w.readValue(column, v); bad != nil && p == nil {
			p = bad
		}
	}
	if p != nil {
		return w.about(p)
	}
	return nil
}

func (w *wireMessage) readValue(column messageField, v parquet.Value) *problem {
	switch to := column.to(w).(type) {
	case **string:
		if v.Kind() == parquet.ByteArray {
			text, crlf, p := checkText(column.name, string(v.ByteArray()))
			*to, w.crlf = &text, w.crlf || crlf
			return p
		}
	case **bool:
		if v.Kind() == parquet.Boolean {
			b := v.Boolean()
			*to = &b
			return nil
		}
	case **float64:
		if n, ok := numberOf(v); ok {
			if !math.IsNaN(n) { // how data frames write "none" in a floating column
				*to = &n
			}
			return nil
		}
	}
	return problemf(WrongType, "%q is a %s", column.name, v.Kind())
}

func numberOf(v parquet.Value) (float64, bool) {
	switch v.Kind() {
	case parquet.Int32:
		return float64(v.Int32()), true
	case parquet.Int64:
		return float64(v.Int64()), true
	case parquet.Float:
		return float64(v.Float()), true
	case parquet.Double:
		return v.Double(), true
	}
	return 0, false
}
