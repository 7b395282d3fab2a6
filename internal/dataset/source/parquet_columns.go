package source

import (
	"fmt"

	"github.com/parquet-go/parquet-go"

	"alfred/internal/dataset/packed"
)

// requiredColumns is how many of the first messageFields a file must have.
const requiredColumns = 3

// messageColumns finds the fields of a message in a file, by leaf column, and refuses those that the decoder gets wrong. Leaves
// that are not read have no name.
func messageColumns(file *parquet.File) ([]messageField, error) {
	columns := make([]messageField, len(file.Schema().Columns()))
	for i, field := range messageFields {
		leaf, ok := file.Schema().Lookup(field.name)
		if !ok {
			if i < requiredColumns {
				return nil, fmt.Errorf("no column %q: this is not an oasst1 message file", field.name)
			}
			continue
		}
		columns[leaf.ColumnIndex] = field
		for _, group := range file.Metadata().RowGroups {
			if group.NumRows == 0 {
				continue
			}
			if err := packed.Decodable(&group.Columns[leaf.ColumnIndex].MetaData); err != nil {
				return nil, fmt.Errorf("column %q: %w", field.name, err)
			}
		}
	}
	return columns, nil
}
