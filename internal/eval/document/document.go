// Package document reads the documents of evaluation sets from files, as the datasets library of Hugging Face presents them to the Language
// Model Evaluation Harness: every document has all columns, in the order of the file's first mention, and a column one type.
package document

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"alfred/internal/dataset/packed"
	"alfred/internal/eval/python"
)

// maxLine bounds a line of a file, bytes.
const maxLine = 64 << 20

// File is what was read: its documents, and the SHA-256 of its bytes on disk.
type File struct {
	Documents []*python.Dict
	SHA256    [32]byte
}

// Read reads a file of JSON lines, one document each, or a file that is one JSON list of documents, or a parquet file, each plain, gzip or
// zstd (parquet plain). Anything that cannot be read fails, with file and line: an evaluation on part of its documents is another one.
func Read(ctx context.Context, path string) (*File, error) {
	f, err := packed.Open(path)
	if err != nil {
		return nil, named(path, err)
	}
	defer f.Close()
	file := &File{}
	switch head, _ := f.Text.Peek(1); {
	case f.Parquet:
		file.Documents, err = readParquet(ctx, f.Raw)
		err = errors.Join(err, f.Rewind())
	case bytes.Equal(head, []byte("[")):
		file.Documents, err = readList(f.Text)
	default:
		file.Documents, err = readLines(ctx, f.Text)
	}
	if err != nil {
		return nil, named(path, err)
	}
	if file.SHA256, err = f.Sum(); err != nil {
		return nil, named(path, err)
	}
	return file, nil
}

// named puts the path before an error that does not have it.
func named(path string, err error) error {
	if l := (*lineError)(nil); errors.As(err, &l) {
		return fmt.Errorf("%s:%w", path, err)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s: the file ends too early, it is truncated or corrupt: %w", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// lineError is an error at a line.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("%d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

func readLines(ctx context.Context, text *bufio.Reader) (docs []*python.Dict, err error) {
	for number := 1; ; number++ {
		line, err := readLine(text)
		if len(line) == 0 && err == io.EOF {
			return docs, nil
		}
		if err != nil && err != io.EOF {
			return nil, &lineError{number, err}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		v, err := python.ParseJSON(line)
		if err != nil {
			return nil, &lineError{number, err}
		}
		doc, ok := v.(*python.Dict)
		if !ok {
			return nil, &lineError{number, errors.New("want a JSON object")}
		}
		docs = append(docs, doc)
	}
}

// readLine reads up to a line feed or the end.
func readLine(text *bufio.Reader) (line []byte, err error) {
	for {
		part, err := text.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return nil, fmt.Errorf("a line of more than %d bytes", maxLine)
		}
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

func readList(text io.Reader) (docs []*python.Dict, err error) {
	const most = 1 << 30
	data, err := io.ReadAll(io.LimitReader(text, most+1))
	if err != nil {
		return nil, err
	}
	if len(data) > most {
		return nil, fmt.Errorf("one JSON text of more than %d bytes: write one document a line", most)
	}
	v, err := python.ParseJSON(data)
	if err != nil {
		return nil, err
	}
	for i, item := range v.([]any) {
		doc, ok := item.(*python.Dict)
		if !ok {
			return nil, fmt.Errorf("element %d is no object", i)
		}
		docs = append(docs, doc)
	}
	return docs, nil
}
