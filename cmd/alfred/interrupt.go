package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// signalError is the cause when a signal ended a command.
type signalError struct{ os.Signal }

func (e signalError) Error() string { return fmt.Sprintf("ended by signal: %v", e.Signal) }

func (e signalError) code() int {
	if n, ok := e.Signal.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return exitBug
}

// interrupt decides what signals do: the first one what the command has asked for, by default to cancel its context; the second
// one ends the process at once, unless it is a hang-up: a terminal that closes sends that twice, through the shell and by itself.
type interrupt struct {
	mu    sync.Mutex
	first func(os.Signal)
}

// onFirst replaces what the first signal does.
func (i *interrupt) onFirst(do func(os.Signal)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.first = do
}

// watch serves signals until the process ends.
func (i *interrupt) watch(signals <-chan os.Signal, exit func(code int)) {
	sig := <-signals
	i.mu.Lock()
	do := i.first
	i.mu.Unlock()
	do(sig)
	sig = <-signals
	for sig == syscall.SIGHUP {
		sig = <-signals
	}
	exit(signalError{sig}.code())
}

// patientReader reads from r, and stops waiting for it when the context ends. Standard input needs that: nothing else ends a read
// of a terminal.
type patientReader struct {
	ctx    context.Context
	r      io.Reader
	buffer []byte
	got    chan int
	err    error // of the read that got tells of
}

func newPatientReader(ctx context.Context, r io.Reader) *patientReader {
	return &patientReader{ctx: ctx, r: r, buffer: make([]byte, 1<<16), got: make(chan int, 1)}
}

// Read implements io.Reader. After the context has ended it must not be called again: the last read may still be waiting.
func (p *patientReader) Read(to []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	want := min(len(to), len(p.buffer))
	go func() {
		n, err := p.r.Read(p.buffer[:want])
		p.err = err
		p.got <- n
	}()
	select {
	case n := <-p.got:
		return copy(to, p.buffer[:n]), p.err
	case <-p.ctx.Done():
		return 0, p.ctx.Err()
	}
}
