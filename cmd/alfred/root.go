package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"alfred/internal/config"
	"alfred/internal/telemetry"
)

// process is what a command line runs in: main fills it from the operating system, tests from buffers.
type process struct {
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
	signals        <-chan os.Signal // nil: none come
	exit           func(code int)   // ends the process at once
}

// app is one run of a command line.
type app struct {
	process
	global    GlobalOptions
	interrupt interrupt
	started   bool // a command's own code has begun
	toFile    bool // the command's data, if it has any, do not go to standard output
	recorder  *telemetry.Recorder

	mu   sync.Mutex
	lost error // what a sink of telemetry other than the console could not store
}

// GlobalOptions are the flags of every command.
type GlobalOptions struct {
	LogFormat string
	Verbose   bool
	Quiet     bool
}

// AddFlags adds the flags to a flag set.
func (o *GlobalOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.LogFormat, "log-format", string(telemetry.LogText), "`form` of messages on standard error: text for people or json for programs")
	f.BoolVarP(&o.Verbose, "verbose", "v", false, "say more")
	f.BoolVar(&o.Quiet, "quiet", false, "warnings and errors only")
}

// run executes the command line and returns the exit code.
func (p process) run() (code int) {
	a := &app{process: p}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	a.interrupt.first = func(sig os.Signal) { cancel(signalError{sig}) }
	if p.signals != nil {
		go a.interrupt.watch(p.signals, p.exit)
	}
	defer func() {
		if bug := recover(); bug != nil {
			a.closeRecorder()
			fmt.Fprintf(a.stderr, "alfred: internal error: %v\n\n%s", bug, debug.Stack())
			code = exitBug
		}
	}()
	root := newRootCommand(a)
	text, err := a.openOutput("-") // help and version, which cobra prints and does not look at what becomes of them
	if err != nil {
		return a.report(err)
	}
	root.SetOut(text)
	ran, err := root.ExecuteContextC(ctx)
	if err != nil && !a.started { // cobra's own errors are about the command line
		err = failf(exitUsage, "%w\nRun '%s --help' for help.", err, ran.CommandPath())
	}
	err = errors.Join(err, text.commit())
	var end signalError
	if errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &end) {
		err = end
	}
	a.closeRecorder()
	return a.report(err)
}

// withLost adds to how a command has ended what its files miss. What there is to do about it is up to the command's own error, if
// it has one.
func (a *app) withLost(err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.lost == nil:
		return err
	case err == nil:
		return fail(exitStorage, fmt.Errorf("the work is done and its results are whole, but %w", a.lost))
	}
	return fail(exitCode(err), fmt.Errorf("%w\nbesides, %w", err, a.lost))
}

// report tells why a command failed and returns its exit code.
func (a *app) report(err error) int {
	err = a.withLost(err)
	code := exitCode(err)
	if err == nil || errors.Is(err, syscall.EPIPE) && code == exitPipe { // whoever closed the pipe knows
		return code
	}
	var wrong *config.Errors
	switch {
	case a.global.LogFormat == string(telemetry.LogJSON):
		slog.New(telemetry.NewLogHandler(a.stderr, telemetry.LogJSON, slog.LevelError, false)).Error(err.Error(), "exit_code", code)
	case errors.As(err, &wrong): // begins with file:line:col, which editors follow
		fmt.Fprintln(a.stderr, err)
	default:
		fmt.Fprintln(a.stderr, "alfred: "+strings.ReplaceAll(err.Error(), "\n", "\n  "))
	}
	return code
}

func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "alfred",
		Short: "Trains language models with PPO from human feedback",
		Long: "alfred trains Falcon language models with PPO from human feedback: supervised fine-tuning, a reward model, PPO.\n" +
			"A YAML file says everything about a run.\n\n" +
			"Colours appear on a terminal only, and not if the environment variable NO_COLOR is set." + exitHelp(exitUsage, exitData, exitModel, exitMemory, exitPeer, exitNumerical, exitStorage, exitInUse, exitStopped, exitPipe),
		Example:           "  alfred\n  alfred train --config ppo.yaml\n  alfred train --help",
		Version:           version(),
		Args:              onlyCommands,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE: a.action(func(context.Context) error {
			_, err := io.WriteString(a.stdout, firstSteps)
			return err
		}),
	}
	a.global.AddFlags(root.PersistentFlags())
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		_, err := telemetry.ParseLogFormat(a.global.LogFormat)
		if err == nil && a.global.Quiet && a.global.Verbose {
			err = errors.New("--quiet and --verbose contradict each other")
		}
		return err
	}
	root.SetArgs(a.args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.AddCommand(
		newTrainCommand(a), newGenerateCommand(a), newScoreCommand(a), newEvalCommand(a), newTokenizeCommand(a),
		newDemoCommand(a), newInitModelCommand(a), newDataCommand(a), newConfigCommand(a), newCheckpointCommand(a),
	)
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Args = func(_ *cobra.Command, topic []string) error {
			cmd, rest, _ := root.Find(topic)
			return onlyCommands(cmd, rest)
		}
	}
	return root
}

// firstSteps is what alfred says when it is not told what to do.
const firstSteps = `alfred trains language models with PPO from human feedback. Where to begin:

  alfred demo
      fine-tuning, reward model and PPO on toy data, in about two minutes
  alfred init-model --config config.json --tokenizer tokenizer.json --out models/base
      a Falcon model with random weights, to try things with; any Hugging Face Falcon directory will do as well
  alfred data inspect --config F.yaml
      what the model will see: rows kept and dropped, lengths, samples
  alfred train --config F.yaml
      one stage of training (sft, reward or ppo); starts, or goes on where it stopped
  alfred generate --model RUN --prompt "..."
      what the model has learnt

'alfred --help' lists all commands, 'alfred COMMAND --help' explains one, with examples.
`

// action makes cobra's function of a command's own.
func (a *app) action(run func(ctx context.Context) error) func(*cobra.Command, []string) error {
	return a.actionOn(func(ctx context.Context, _ []string) error { return run(ctx) })
}

// actionOn is action for a command with arguments.
func (a *app) actionOn(run func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.started = true
		return run(cmd.Context(), args)
	}
}

// group makes a command that only holds others.
func group(use, short, example string, commands ...*cobra.Command) *cobra.Command {
	var names []string
	for _, c := range commands {
		names = append(names, c.Name())
	}
	g := &cobra.Command{
		Use: use, Short: short, Long: short + "." + exitHelp(exitUsage), Example: example, Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return fmt.Errorf("%s what? One of: %s", cmd.CommandPath(), strings.Join(names, ", "))
		},
	}
	g.AddCommand(commands...)
	return g
}

// onlyCommands refuses what is no command, with the ones that may have been meant.
func onlyCommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("unknown command %q for %q%s", args[0], cmd.CommandPath(), hint)
}

// version is that of the module and commit that the binary was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version + " " + info.GoVersion
}

// telemetry is the recorder that shows on standard error what a command says.
func (a *app) telemetry() *telemetry.Recorder {
	if a.recorder == nil {
		a.openRecorder(telemetry.ConsoleOptions{})
	}
	return a.recorder
}

// openRecorder opens the recorder with a console as the flags ask for.
func (a *app) openRecorder(options telemetry.ConsoleOptions) {
	console := telemetry.NewConsole(a.stderr, a.consoleOptions(options))
	a.recorder = telemetry.New(telemetry.Options{OnError: func(sink string, err error) {
		if sink == console.Name() { // standard error is gone: there is nobody to tell, and nothing is lost that a file should hold
			return
		}
		log := slog.New(a.recorder.Handler(slog.LevelWarn))
		if errors.Is(err, telemetry.ErrDelayed) {
			log.Warn("events cannot be stored now", "sink", sink, "error", err)
			return
		}
		a.mu.Lock()
		a.lost = errors.Join(a.lost, fmt.Errorf("%s misses events: %w", sink, err))
		a.mu.Unlock()
		log.Error("events are lost", "sink", sink, "error", err)
	}}, console)
}

// consoleOptions completes options by the flags and the environment. NO_COLOR is the variable of no-color.org.
func (a *app) consoleOptions(options telemetry.ConsoleOptions) telemetry.ConsoleOptions {
	options.Format, options.Level, options.Quiet = telemetry.LogFormat(a.global.LogFormat), a.level(), a.global.Quiet
	options.Interactive, options.NoColor = a.ownsTerminal(), os.Getenv("NO_COLOR") != ""
	return options
}

func (a *app) closeRecorder() {
	_ = a.recorder.Close() // OnError has heard of everything
}

// log is a logger on the recorder.
func (a *app) log() *slog.Logger { return slog.New(a.telemetry().Handler(a.level())) }

func (a *app) level() slog.Level {
	if a.global.Verbose {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// ownsTerminal reports whether a live bar can be drawn: standard error is a terminal that shows nothing else.
func (a *app) ownsTerminal() bool {
	return isTerminal(a.stderr) && os.Getenv("TERM") != "dumb" && (a.toFile || !isTerminal(a.stdout))
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && telemetry.IsTerminal(f)
}
