package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"alfred/internal/checkpoint"
	"alfred/internal/collective"
	"alfred/internal/config"
	"alfred/internal/dataset"
	"alfred/internal/reward"
	"alfred/internal/rlhf"
	"alfred/internal/rundir"
	"alfred/internal/telemetry"
)

// Exit codes.
const (
	exitDone      = 0
	exitBug       = 1
	exitUsage     = 2
	exitData      = 3
	exitModel     = 4
	exitMemory    = 5
	exitPeer      = 6
	exitNumerical = 8
	exitStorage   = 9
	exitInUse     = 10
	exitStopped   = 75 // EX_TEMPFAIL of sysexits.h: batch systems requeue it
	exitPipe      = 128 + int(syscall.SIGPIPE)
)

// outcome is an exit code, what it means, and the errors that lead to it.
type outcome struct {
	code    int
	meaning string
	causes  []error
}

// outcomes are in order of precedence, for errors that have several causes: what a person must mend comes first, and that a rank
// lost its peers comes last, because the reason why those failed says more.
var outcomes = []outcome{
	{exitDone, "done", nil},
	{exitUsage, "a flag or the configuration is wrong", []error{rlhf.ErrUnsupported, dataset.ErrSpec}},
	{exitData, "data or input cannot be used", []error{dataset.ErrData, telemetry.ErrDamaged}},
	{exitModel, "no usable model, checkpoint or tokenizer", []error{checkpoint.ErrUnusable, rlhf.ErrMismatch}},
	{exitMemory, "refused: it would not fit into memory", []error{rlhf.ErrRefused}},
	{exitNumerical, "stopped by numbers that are not finite, or not what they must be", []error{rlhf.ErrNumerical}},
	{exitStorage, "something could not be written", []error{checkpoint.ErrStorage, rundir.ErrStorage, syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS, syscall.EFBIG, fs.ErrPermission}},
	{exitInUse, "another process is using the run directory", []error{rundir.ErrInUse}},
	{exitStopped, "stopped by a signal, what was done is saved: the same command goes on", []error{rlhf.ErrStopped}},
	{exitPeer, "a rank was lost, or the reward service gave no scores", []error{collective.ErrAborted, reward.ErrService}},
	{exitPipe, "standard output was closed by its reader", []error{syscall.EPIPE}},
	{exitBug, "internal error", nil},
}

// exitCode is what the process ends with after err.
func exitCode(err error) int {
	var end signalError
	var known *coded
	var wrong *config.Errors
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &end):
		return end.code()
	case errors.As(err, &known):
		return known.code
	case errors.As(err, &wrong):
		return exitUsage
	}
	for _, o := range outcomes {
		for _, cause := range o.causes {
			if errors.Is(err, cause) {
				return o.code
			}
		}
	}
	return exitBug
}

// exitHelp is the part of a command's help that lists its exit codes: those given, and those of every command.
func exitHelp(codes ...int) string {
	codes = append(codes, exitDone, exitBug)
	slices.Sort(codes)
	var b strings.Builder
	b.WriteString("\n\nExit codes:\n")
	for _, code := range codes {
		i := slices.IndexFunc(outcomes, func(o outcome) bool { return o.code == code })
		fmt.Fprintf(&b, "  %-7d  %s\n", code, outcomes[i].meaning)
	}
	b.WriteString("  128 + n  ended at once by signal n")
	return b.String()
}

// coded is an error whose exit code is decided where it arises.
type coded struct {
	code int
	err  error
}

func (c *coded) Error() string { return c.err.Error() }
func (c *coded) Unwrap() error { return c.err }

// failf makes an error that ends the process with code.
func failf(code int, format string, args ...any) error {
	return &coded{code, fmt.Errorf(format, args...)}
}

// fail gives err, if it is one, an exit code.
func fail(code int, err error) error {
	if err == nil {
		return nil
	}
	return &coded{code, err}
}

// few joins what is wrong with many lines into one error of bearable length.
func few(problems []error) error {
	const most = 20
	if n := len(problems); n > most {
		problems = append(slices.Clone(problems[:most]), fmt.Errorf("and %d more problems", n-most))
	}
	return errors.Join(problems...)
}
