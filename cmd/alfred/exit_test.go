package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"alfred/internal/checkpoint"
	"alfred/internal/collective"
	"alfred/internal/config"
	"alfred/internal/dataset"
	"alfred/internal/reward"
	"alfred/internal/rlhf"
	"alfred/internal/rundir"
	"alfred/internal/telemetry"
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
		"reward service":                      {fmt.Errorf("rank 0: %w: POST", reward.ErrService), 6},
		"reward service, on another rank":     {aborted(reward.ErrService), 6},
		"numbers":                             {rlhf.ErrNumerical, 8},
		"storage":                             {checkpoint.ErrStorage, 9},
		"full disk":                           {&os.PathError{Op: "write", Path: "f", Err: syscall.ENOSPC}, 9},
		"no permission":                       {&os.PathError{Op: "open", Path: "f", Err: syscall.EACCES}, 9},
		"run directory in use":                {rundir.ErrInUse, 10},
		"no place for a run directory":        {fmt.Errorf("%w: x", rundir.ErrStorage), 9},
		"damaged line of an older run":        {fmt.Errorf("m:2: %w", telemetry.ErrDamaged), 3},
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

// TestPlaceholders: what stands behind a flag in the help is a name for its value, not one of its values.
func TestPlaceholders(t *testing.T) {
	for command, want := range map[string][]string{
		"config check":       {"--set KEY=VALUE "},
		"score":              {"--device name ", "--which name "},
		"generate":           {"--precision type "},
		"init-model":         {"--precision type "},
		"checkpoint export":  {"--model name ", "--precision type "},
		"checkpoint inspect": {"--which name "},
	} {
		help := must(t, "", append(strings.Fields(command), "--help")...)
		for _, flag := range want {
			if !strings.Contains(help, flag) {
				t.Errorf("alfred %s --help lacks %q:\n%s", command, flag, help)
			}
		}
	}
}

// TestHelpListsWhatPrintingEndsWith: a reader that went away, and a disk that is full.
func TestHelpListsWhatPrintingEndsWith(t *testing.T) {
	f := trained(t)
	for _, args := range [][]string{
		{"config", "check", "--config", f.train}, {"config", "show", "--config", f.train}, {"config", "schema"},
		{"checkpoint", "inspect", f.run}, {"checkpoint", "verify", f.run}, {"checkpoint", "verify", f.base},
		{"score", "--model", f.base}, {"generate", "--model", f.base, "--prompt", "a"}, {"tokenize", "--tokenizer", f.base},
	} {
		for cause, want := range map[error]int{syscall.ENOSPC: exitStorage, syscall.EPIPE: exitPipe} {
			p := process{args: args, stdin: strings.NewReader(`{"text":"a"}`), stdout: failing{cause}, stderr: io.Discard}
			if code := p.run(); code != want {
				t.Errorf("alfred %v: exit code %d after %v, want %d", args, code, cause, want)
			}
			command := slices.DeleteFunc(slices.Clone(args[:2]), func(s string) bool { return strings.HasPrefix(s, "-") })
			if help := must(t, "", append(command, "--help")...); !strings.Contains(help, fmt.Sprintf("\n  %-7d  ", want)) {
				t.Errorf("alfred %v --help does not list %d", command, want)
			}
		}
	}
}

// TestHelpThatIsNotRead: what cobra prints by itself meets the same ends.
func TestHelpThatIsNotRead(t *testing.T) {
	for _, args := range [][]string{{"--version"}, {"--help"}, {"train", "--help"}, {"help", "train"}, {}} {
		for cause, want := range map[error]int{syscall.ENOSPC: exitStorage, syscall.EPIPE: exitPipe} {
			var errs strings.Builder
			p := process{args: args, stdin: strings.NewReader(""), stdout: failing{cause}, stderr: &errs}
			if code := p.run(); code != want || strings.Contains(errs.String(), "for help") {
				t.Errorf("alfred %v: exit code %d after %v, want %d\n%s", args, code, cause, want, errs.String())
			}
		}
	}
	if help := must(t, "", "help", "config", "check"); help != must(t, "", "config", "check", "--help") {
		t.Errorf("%s", help)
	}
}

type failing struct{ error }

func (f failing) Write([]byte) (int, error) { return 0, f.error }

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
		{[]string{"help", "trian"}, []string{`unknown command "trian"`, "did you mean train?"}},
		{[]string{"help", "config", "chekc"}, []string{`unknown command "chekc" for "alfred config"`}},
		{[]string{"checkpoint"}, []string{"inspect, verify, export"}},
		{[]string{"train"}, []string{`"config" not set`, "alfred train --help"}},
		{[]string{"init-model"}, []string{"config", "tokenizer", "out"}},
		{[]string{"train", "--config"}, []string{"--config"}},
		{[]string{"train", "extra", "--config", "x"}, []string{`unexpected argument "extra"` + "\n"}},
		{[]string{"train", "s.yaml"}, []string{"did you mean --config s.yaml?"}},
		{[]string{"generate", "runs/ppo"}, []string{"did you mean --model runs/ppo?"}},
		{[]string{"tokenize", "tok.json"}, []string{"did you mean --tokenizer tok.json?"}},
		{[]string{"config", "check", "--config", ""}, []string{"--config is empty: name a file"}},
		{[]string{"score", "--model="}, []string{"--model is empty"}},
		{[]string{"checkpoint", "export", "x", "--out", ""}, []string{"--out is empty: name a directory"}},
		{[]string{"init-model", "--config", "x", "--tokenizer", "x", "--out="}, []string{"--out is empty"}},
		{[]string{"score", "--model", "x", "--which", "foo"}, []string{`--which "foo": want policy, value or reward`}},
		{[]string{"checkpoint", "export", "x", "--model", "foo", "--out", "y"}, []string{`--model "foo"`}},
		{[]string{"checkpoint", "inspect", "x", "--tensor", "t", "--which", "foo"}, []string{`--which "foo"`}},
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
