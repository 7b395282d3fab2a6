package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"alfred/internal/dataset/packed"
)

// stream is an open data file.
type stream struct {
	path string
	*packed.File
}

func openStream(path string) (*stream, error) {
	s := &stream{path: path}
	var err error
	if s.File, err = packed.Open(path); err != nil {
		if errors.As(err, new(*fs.PathError)) {
			return nil, fmt.Errorf("%w: %w", err, ErrData) // names the file
		}
		return nil, s.fail(err)
	}
	return s, nil
}

func (s *stream) fail(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s: the file ends too early, it is truncated or corrupt: %w: %w", s.path, err, ErrData)
	}
	return fmt.Errorf("%s: %w: %w", s.path, err, ErrData)
}
