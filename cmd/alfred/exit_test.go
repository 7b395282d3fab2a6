package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"alfred/internal/checkpoint"
	"alfred/internal/collective"
	"alfred/internal/config"
	"alfred/internal/dataset"
	"alfred/internal/rlhf"
	"alfred/internal/rundir"
)

func TestExitCodes(t *testing.T) {
	aborted := func(cause error) error { return fmt.Errorf("rank 3: %w: %w", collective.ErrAborted, cause) }
	for name, c := range map[string]struct {
		err  error
		code int
	}{
		"nothing":                             {nil, 0},
		"unknown":                             {errors.New("x"), 1},
		"cancelled without a signal":          {context.Canceled, 1},
		"configuration":                       {fmt.Errorf("x: %w", &config.Errors{Problems: []config.Problem{{Message: "m"}}}), 2},
		"unsupported":                         {rlhf.ErrUnsupported, 2},
		"data entry":                          {dataset.ErrSpec, 2},
		"flag":                                {failf(exitUsage, "x"), 2},
		"data":                                {fmt.Errorf("x: %w", dataset.ErrData), 3},
		"too many bad rows":                   {dataset.ErrTooManyBad, 3},
		"unusable checkpoint":                 {checkpoint.ErrUnusable, 4},
		"no checkpoint":                       {checkpoint.ErrNone, 4},
		"models that do not go together":      {rlhf.ErrMismatch, 4},
		"memory":                              {rlhf.ErrRefused, 5},
		"lost rank":                           {aborted(errors.New("gone")), 6},
		"numbers":                             {rlhf.ErrNumerical, 8},
		"storage":                             {checkpoint.ErrStorage, 9},
		"full disk":                           {&os.PathError{Op: "write", Path: "f", Err: syscall.ENOSPC}, 9},
		"no permission":                       {&os.PathError{Op: "open", Path: "f", Err: syscall.EACCES}, 9},
		"run directory in use":                {rundir.ErrInUse, 10},
		"stopped":                             {rlhf.ErrStopped, 75},
		"closed pipe":                         {syscall.EPIPE, 141},
		"SIGINT":                              {signalError{os.Interrupt}, 130},
		"SIGTERM":                             {fmt.Errorf("x: %w", signalError{syscall.SIGTERM}), 143},
		"numbers on another rank":             {aborted(rlhf.ErrNumerical), 8},
		"stopped, but not saved":              {errors.Join(rlhf.ErrStopped, checkpoint.ErrStorage), 9},
		"a command knows better than a cause": {fail(exitData, checkpoint.ErrUnusable), 3},
	} {
		if got := exitCode(c.err); got != c.code {
			t.Errorf("%s: exit code %d, want %d", name, got, c.code)
		}
	}
}

// commands lists a command and all below it.
func commands(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		all = append(all, commands(sub)...)
	}
	return all
}

func TestHelpOfEveryCommand(t *testing.T) {
	root := newRootCommand(&app{})
	seen := 0
	for _, c := range commands(root) {
		if c.Name() == "help" {
			continue
		}
		seen++
		path := strings.Fields(c.CommandPath())[1:]
		help := must(t, "", append(path, "--help")...)
		for _, want := range []string{"Exit codes:\n  0        done\n", "  2        a flag", "128 + n", "Examples:\n  ", "alfred " + strings.Join(path, " "), "--log-format", "--quiet", "--verbose"} {
			if !strings.Contains(help, want) {
				t.Errorf("alfred %s --help lacks %q:\n%s", strings.Join(path, " "), want, help)
			}
		}
		for line := range strings.Lines(help) {
			if len(line) > 240 {
				t.Errorf("alfred %s --help has a line of %d characters", strings.Join(path, " "), len(line))
			}
		}
	}
	if seen < 13 {
		t.Errorf("%d commands, and there are more", seen)
	}
}

// TestExamplesParse holds every example against the flags that the commands have.
func TestExamplesParse(t *testing.T) {
	for _, c := range commands(newRootCommand(&app{})) {
		for _, example := range strings.Split(c.Example, "\n") {
			_, line, found := strings.Cut(example, "alfred ")
			if !found {
				continue
			}
			line, _, _ = strings.Cut(line, " | ")
			line, _, _ = strings.Cut(line, " > ")
			line, _, _ = strings.Cut(line, " < ")
			line = strings.ReplaceAll(line, `"Name three colours."`, "text")
			target, rest, err := newRootCommand(&app{}).Find(strings.Fields(line))
			if err == nil {
				err = target.ParseFlags(rest)
			}
			if err == nil {
				err = target.ValidateRequiredFlags()
			}
			if err == nil {
				err = target.ValidateArgs(target.Flags().Args())
			}
			if err != nil && !strings.Contains(err.Error(), "help requested") {
				t.Errorf("example %q: %v", example, err)
			}
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, c := range []struct {
		args  []string
		words []string
	}{
		{[]string{"trian"}, []string{`unknown command "trian"`, "did you mean train?", "alfred --help"}},
		{[]string{"config", "chekc"}, []string{`unknown command "chekc" for "alfred config"`, "check"}},
		{[]string{"config"}, []string{"check, show, schema"}},
		{[]string{"checkpoint"}, []string{"inspect, verify, export"}},
		{[]string{"train"}, []string{`"config" not set`, "alfred train --help"}},
		{[]string{"init-model"}, []string{"config", "tokenizer", "out"}},
		{[]string{"train", "--config"}, []string{"--config"}},
		{[]string{"train", "extra", "--config", "x"}, []string{"extra"}},
		{[]string{"score", "--modle", "x"}, []string{"--modle"}},
		{[]string{"--log-format", "xml"}, []string{"xml", "text or json"}},
		{[]string{"--quiet", "-v"}, []string{"contradict"}},
		{[]string{"generate", "--model", "x"}, []string{"prompt"}},
		{[]string{"generate", "--model", "x", "--prompt", "a", "--prompts", "b"}, []string{"prompts"}},
		{[]string{"tokenize", "--tokenizer", "x", "--decode", "--special"}, []string{"--special"}},
		{[]string{"checkpoint", "export", "x"}, []string{`"out" not set`}},
	} {
		r := fails(t, exitUsage, "", c.args, c.words...)
		if r.stdout != "" {
			t.Errorf("alfred %v: standard output %q", c.args, r.stdout)
		}
	}
}

func TestFirstSteps(t *testing.T) {
	text := must(t, "")
	for line := range strings.Lines(text) {
		command, ok := strings.CutPrefix(line, "  alfred ")
		if !ok {
			continue
		}
		target, _, err := newRootCommand(&app{}).Find(strings.Fields(command))
		if err != nil || !target.Runnable() {
			t.Errorf("%q: %v", line, err)
		}
	}
	if !strings.Contains(text, "alfred train") || !strings.Contains(must(t, "", "--version"), "alfred version") {
		t.Errorf("%s", text)
	}
}

func TestErrorsAsJSON(t *testing.T) {
	r := fails(t, exitModel, "", []string{"--log-format", "json", "score", "--model", "nowhere"})
	got := lines[struct {
		Level, Msg string
		Exit       int `json:"exit_code"`
	}](t, r.stderr)
	if len(got) != 1 || got[0].Level != "ERROR" || got[0].Exit != exitModel || !strings.Contains(got[0].Msg, "nowhere") {
		t.Errorf("%s", r.stderr)
	}
}

func TestPanicIsAnInternalError(t *testing.T) {
	var errs strings.Builder
	p := process{args: []string{"tokenize", "--tokenizer", smallTokenizer}, stdin: nil, stdout: panicking{}, stderr: &errs}
	p.stdin = strings.NewReader(`{"text": "a"}`)
	if code := p.run(); code != exitBug || !strings.Contains(errs.String(), "internal error: bug") {
		t.Errorf("exit code %d\n%s", code, errs.String())
	}
}

type panicking struct{}

func (panicking) Write([]byte) (int, error) { panic("bug") }
