package telemetry

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// appendFile writes whole records at the end of a file. A record that could not be written whole (a full disk) leaves
// the file as it was, so that the next one does not follow half a line.
type appendFile struct {
	f      storage
	offset int64
}

// storage is what an appendFile needs of an *os.File.
type storage interface {
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
}

func openAppend(path string, flags int) (*appendFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|flags, 0o644)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &appendFile{f: f, offset: info.Size()}, nil
}

func (a *appendFile) append(record []byte) error {
	n, err := a.f.WriteAt(record, a.offset)
	if err == nil {
		a.offset += int64(n)
		return nil
	}
	if n > 0 {
		if terr := a.f.Truncate(a.offset); terr != nil {
			err = errors.Join(err, fmt.Errorf("cutting back %d bytes: %w", n, terr))
		}
	}
	return err
}

// flush makes the records durable.
func (a *appendFile) flush() error { return a.f.Sync() }

func (a *appendFile) close() error { return errors.Join(a.f.Sync(), a.f.Close()) }
