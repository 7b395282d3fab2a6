package telemetry

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrDelayed is the cause when a file does not take events now, because its disk is full for example: they wait in memory and
// are tried again with the next event and at every Flush. Nothing is lost as long as a later one succeeds.
var ErrDelayed = errors.New("kept in memory and tried again")

// appendFile adds records at the end of a file. What the file does not take waits, and half a record is cut off again, so the
// file holds whole records without a gap. A record counts as stored once a flush has made it durable: a network file system
// may find out only then that its disk is full, and forget what was written.
type appendFile struct {
	f       storage
	durable int64  // size of the file at the last flush, bytes
	tail    []byte // the records since then
	written int    // how much of the tail the file has taken, bytes
}

// mostWaiting bounds the tail, in bytes: thousands of steps. More of it is flushed, and while that fails new records are lost.
const mostWaiting = 8 << 20

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
	return &appendFile{f: f, durable: info.Size()}, nil
}

// append adds a record. An error that does not wrap ErrDelayed means that it is lost.
func (a *appendFile) append(record []byte) error {
	if len(a.tail)+len(record) > mostWaiting {
		if err := a.store(); err != nil {
			return fmt.Errorf("%d bytes wait for it already: %w", len(a.tail), err)
		}
	}
	a.tail = append(a.tail, record...)
	return delayed(a.write())
}

// flush makes the records durable.
func (a *appendFile) flush() error { return delayed(a.store()) }

// close flushes and closes; what could not be stored by now is lost.
func (a *appendFile) close() error {
	err := a.store()
	if err != nil {
		err = fmt.Errorf("what follows its byte %d is not stored: %w", a.durable+int64(a.written), err)
	}
	return errors.Join(err, a.f.Close())
}

// write hands the file what it has not taken of the tail.
func (a *appendFile) write() error {
	if a.written == len(a.tail) {
		return nil
	}
	end := a.durable + int64(a.written)
	if _, err := a.f.WriteAt(a.tail[a.written:], end); err != nil {
		// An *os.File counts the bytes of the half record only if they are its first: cut back, whatever it says.
		if cut := a.f.Truncate(end); cut != nil {
			err = errors.Join(err, fmt.Errorf("cutting back: %w", cut))
		}
		return err
	}
	a.written = len(a.tail)
	return nil
}

// store empties the tail into the file.
func (a *appendFile) store() error {
	if err := a.write(); err != nil {
		return err
	}
	if err := a.f.Sync(); err != nil {
		a.written = 0
		return err
	}
	a.durable += int64(len(a.tail))
	a.tail, a.written = a.tail[:0], 0
	return nil
}

func delayed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w; %w", err, ErrDelayed)
}
