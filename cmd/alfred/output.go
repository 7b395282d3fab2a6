package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"alfred/internal/checkpoint/storage"
)

// output is where the results of a command go: standard output, or a file that appears whole under its name when the command has
// succeeded, so that nobody takes half of the results for all of them.
type output struct {
	name   string
	buffer *bufio.Writer
	atomic *storage.AtomicFile // nil for what cannot be replaced: standard output, devices, pipes
	direct *os.File            // nil for standard output
}

// openOutput opens the file at path; "-" is standard output.
func (a *app) openOutput(path string) (*output, error) {
	o := &output{name: path}
	to := a.stdout
	if path == "-" {
		o.name = "standard output"
	} else if path == "" {
		return nil, failf(exitUsage, "--output is empty: name a file, or - for standard output")
	} else if err := o.open(path); err != nil {
		return nil, fail(exitStorage, err)
	}
	if o.atomic != nil {
		to = o.atomic
	} else if o.direct != nil {
		to = o.direct
	}
	o.buffer = bufio.NewWriterSize(to, 1<<16)
	return o, nil
}

func (o *output) open(path string) (err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil { // a link stays, what it points to is replaced
		path = real
	}
	switch info, statErr := os.Stat(path); {
	case errors.Is(statErr, fs.ErrNotExist):
	case statErr != nil:
		return statErr
	case info.IsDir():
		return fmt.Errorf("%s is a directory: name a file", path)
	case !info.Mode().IsRegular():
		o.direct, err = os.OpenFile(path, os.O_WRONLY, 0)
		return err
	}
	o.atomic, err = storage.CreateAtomic(storage.OS, path)
	return err
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.buffer.Write(p)
	return n, o.wrap(err)
}

// flush hands on what was written.
func (o *output) flush() error { return o.wrap(o.buffer.Flush()) }

// commit makes the results visible.
func (o *output) commit() error {
	err := o.buffer.Flush()
	if err == nil && o.atomic != nil {
		err = o.atomic.Commit()
	}
	if o.direct != nil {
		err = errors.Join(err, o.direct.Close())
	}
	return o.wrap(err)
}

// abort discards the results, unless they were committed.
func (o *output) abort() {
	// If the command has failed, its error is the one to tell.
	if o.atomic != nil {
		_ = o.atomic.Abort()
	}
	if o.direct != nil {
		_ = o.direct.Close()
	}
}

func (o *output) wrap(err error) error {
	switch {
	case err == nil:
		return nil
	case o.atomic == nil && errors.Is(err, syscall.EPIPE):
		return fail(exitPipe, err)
	}
	return failf(exitStorage, "writing %s: %w", o.name, err)
}

// print writes the results of a command that are ready at once.
func (a *app) print(text []byte) error {
	o, err := a.openOutput("-")
	if err != nil {
		return err
	}
	if _, err := o.Write(text); err != nil {
		return err
	}
	return o.commit()
}
