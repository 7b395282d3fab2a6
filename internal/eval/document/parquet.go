package document

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/parquet-go/parquet-go"

	"alfred/internal/dataset/packed"
	"alfred/internal/eval/python"
)

// readParquet reads all rows of a parquet file, whatever its columns are.
func readParquet(ctx context.Context, raw *os.File) (docs []*python.Dict, err error) {
	defer func() {
		// The decoder trusts the pages of a file more than untrusted input deserves.
		if p := recover(); p != nil {
			docs, err = nil, fmt.Errorf("corrupt parquet file: %v", p)
		}
	}()
	info, err := raw.Stat()
	if err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(raw, info.Size())
	if err != nil {
		return nil, err
	}
	for _, group := range file.Metadata().RowGroups {
		for i := range group.Columns {
			if err := packed.Decodable(&group.Columns[i].MetaData); group.NumRows > 0 && err != nil {
				return nil, fmt.Errorf("column %v: %w", group.Columns[i].MetaData.PathInSchema, err)
			}
		}
	}
	rows := parquet.NewGenericReader[any](file, file.Schema())
	defer rows.Close()
	batch := make([]any, 64)
	for {
		n, err := rows.Read(batch)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for _, row := range batch[:n] {
			v, err := fromParquet(row, file.Schema())
			if err != nil {
				return nil, fmt.Errorf("row %d: %w", len(docs)+1, err)
			}
			docs = append(docs, v.(*python.Dict))
		}
		clear(batch)
		if err != nil {
			return docs, nil
		}
		if n == 0 {
			return nil, io.ErrNoProgress
		}
	}
}

// fromParquet makes a value of what the decoder gives for a node of the schema, whose order the fields of a dict have.
func fromParquet(v any, n parquet.Node) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case bool, int64, float64, string:
		return v, nil
	case int32:
		return int64(v), nil
	case float32:
		return float64(v), nil
	case []byte:
		return string(v), nil
	case []any:
		item := element(n)
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = fromParquet(v[i], item); err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return out, nil
	case map[string]any:
		dict := python.NewDict()
		for _, f := range n.Fields() {
			item, err := fromParquet(v[f.Name()], f)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name(), err)
			}
			dict.Set(f.Name(), item)
		}
		return dict, nil
	}
	return nil, fmt.Errorf("a column of %T is not supported", v)
}

// element is the node of a list's items: below the group of the repeated level, where there is one.
func element(n parquet.Node) parquet.Node {
	if n.Leaf() {
		return n
	}
	if fields := n.Fields(); len(fields) == 1 && fields[0].Repeated() && !fields[0].Leaf() && len(fields[0].Fields()) == 1 {
		return fields[0].Fields()[0]
	}
	return n
}
