package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"alfred/internal/config"
	"alfred/internal/falcon"
	"alfred/internal/nn"
	"alfred/internal/pipeline"
	"alfred/internal/random"
	"alfred/internal/rollout"
	"alfred/internal/telemetry"
	"alfred/internal/tensor"
)

// GenerateOptions are the flags of generate.
type GenerateOptions struct {
	Model            ModelOptions
	Prompt           string
	Prompts, Output  string
	MaxNew, MinNew   int
	Temperature      float64
	TopK             int
	TopP             float64
	Greedy           bool
	Seed             uint64
	Returns          int
	Slots            int
	Precision        string
	promptGiven      bool
	outputGiven      bool
	mostGiven        bool     // without --max-new-tokens, MaxNew is shortened to what the context leaves
	samplingIsChosen []string // flags given that --greedy makes meaningless
}

// AddFlags adds the flags to a flag set.
func (o *GenerateOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Prompt, "prompt", "", "one prompt, as `text`")
	f.StringVar(&o.Prompts, "prompts", "", "JSONL `file` of prompts; - is standard input")
	f.StringVar(&o.Output, "output", "", "JSONL `file` for the responses; - is standard output; without it, their text goes to standard output")
	f.IntVar(&o.MaxNew, "max-new-tokens", 128, "longest response, in `tokens`; the default is shortened to what the model's context leaves")
	f.IntVar(&o.MinNew, "min-new-tokens", 0, "shortest response, in `tokens`: end of document is not chosen before")
	f.Float64Var(&o.Temperature, "temperature", 1, "divides the logits before sampling (`t`, at least 0.001)")
	f.IntVar(&o.TopK, "top-k", 0, "sample from the `k` most probable tokens; 0 is all")
	f.Float64Var(&o.TopP, "top-p", 1, "sample from the most probable tokens that together reach probability `p`")
	f.BoolVar(&o.Greedy, "greedy", false, "always take the most probable token")
	f.Uint64Var(&o.Seed, "seed", 1, "root of the random `number`s")
	f.IntVar(&o.Returns, "num-return-sequences", 1, "responses to each prompt (`n`)")
	f.IntVar(&o.Slots, "slots", 16, "responses that are generated at a time (`n`); changes memory and speed, not the responses")
	f.StringVar(&o.Precision, "precision", "float32", "`type` of weights and activations: float32 or bfloat16")
}

func newGenerateCommand(a *app) *cobra.Command {
	var opts GenerateOptions
	cmd := &cobra.Command{
		Use:   "generate --model DIR (--prompt TEXT | --prompts FILE)",
		Short: "Sample responses to prompts",
		Long: `Sample responses of a language model to prompts.

Lines in:   {"prompt": "..."} or {"prompt_ids": [...]}, and "id" if you like; other keys are ignored
Lines out:  {"id", "prompt_ids", "response_ids", "finish": "eod" or "length", "text", "logprobs"}

The order is that of the input; "id" is the one given, or else the number of the line. A file of these lines is a valid replay file
(trajectory.replay). "text" is left out without a tokenizer; "logprobs" are the model's at the given temperature. Prompts are taken as
they are: no template is applied, and the text of special tokens is text like any other.

A response depends on model, seed, flags and its place in the order alone (prompt number times num-return-sequences plus number of the
response), not on --slots or --threads. All prompts are checked before the first is answered. An output file appears when it is complete.` +
			exitHelp(exitUsage, exitData, exitModel, exitMemory, exitNumerical, exitStorage, exitPipe),
		Example: `  alfred generate --model runs/ppo --prompt "Name three colours."
  alfred generate --model models/base --prompts prompts.jsonl --output responses.jsonl --max-new-tokens 64
  alfred generate --model models/base --prompts - --greedy < prompts.jsonl`,
	}
	cmd.RunE = a.action(func(ctx context.Context) error {
		flags := cmd.Flags()
		opts.promptGiven, opts.outputGiven, opts.mostGiven = flags.Changed("prompt"), flags.Changed("output"), flags.Changed("max-new-tokens")
		for _, name := range []string{"temperature", "top-k", "top-p", "seed"} {
			if flags.Changed(name) {
				opts.samplingIsChosen = append(opts.samplingIsChosen, "--"+name)
			}
		}
		return runGenerate(ctx, a, opts)
	})
	opts.Model.addTo(cmd)
	opts.AddFlags(cmd.Flags())
	cmd.MarkFlagsOneRequired("prompt", "prompts")
	cmd.MarkFlagsMutuallyExclusive("prompt", "prompts")
	return cmd
}

// check reports everything that is wrong with the flags.
func (o *GenerateOptions) check() (dtype tensor.DType, err error) {
	var problems []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	bad(o.MaxNew >= 1, "--max-new-tokens %d: at least 1 is needed", o.MaxNew)
	bad(o.MinNew >= 0 && o.MinNew <= o.MaxNew, "--min-new-tokens %d is not between 0 and --max-new-tokens %d", o.MinNew, o.MaxNew)
	asInTraining := func(flag string, value any) {
		err := config.Accepts("trajectory."+strings.ReplaceAll(flag, "-", "_"), value)
		bad(err == nil, "--%s %w", flag, err)
	}
	asInTraining("temperature", o.Temperature)
	asInTraining("top-k", o.TopK)
	asInTraining("top-p", o.TopP)
	bad(o.Returns >= 1, "--num-return-sequences %d: at least 1 is needed", o.Returns)
	bad(o.Slots >= 1, "--slots %d: at least 1 is needed", o.Slots)
	bad(!o.Greedy || len(o.samplingIsChosen) == 0, "--greedy leaves nothing to %v", o.samplingIsChosen)
	dtype, err = tensor.ParseDType(o.Precision)
	bad(err == nil && (dtype == tensor.Float32 || dtype == tensor.BFloat16), "--precision %q: want float32 or bfloat16", o.Precision)
	return dtype, fail(exitUsage, errors.Join(problems...))
}

// generatePrompt is a prompt to continue.
type generatePrompt struct {
	id   json.RawMessage
	ids  []int32
	most int // tokens of a response
}

func runGenerate(ctx context.Context, a *app, opts GenerateOptions) error {
	dtype, err := opts.check()
	if err != nil {
		return err
	}
	a.toFile = opts.outputGiven && opts.Output != "-"
	m, err := opts.Model.open(a)
	if err != nil {
		return err
	}
	defer m.Close()
	if m.Config.Head != falcon.CausalLM {
		return failf(exitModel, "%s is a %s, which writes no text; name a language model (of a PPO run: --which policy)", m.Dir, m.Config.Head)
	}
	if m.tokenizer == nil && !opts.outputGiven {
		return failf(exitUsage, "%s has no tokenizer.json, so responses have no text: name one with --tokenizer, or write token ids with --output", m.Dir)
	}
	if m.eod < 0 {
		a.log().Warn("nothing tells which token ends a document: responses end at --max-new-tokens", "model", m.Dir)
	}
	prompts, err := readPrompts(ctx, a, m, opts)
	if err != nil {
		return err
	}
	path := opts.Output
	if !opts.outputGiven {
		path = "-"
	}
	out, err := a.openOutput(path)
	if err != nil {
		return err
	}
	defer out.abort()
	if err := generateAll(ctx, a, m, opts, dtype, prompts, out); err != nil {
		return err
	}
	return out.commit()
}

// readPrompts reads the input to its end and reports all that is wrong with it.
func readPrompts(ctx context.Context, a *app, m *openModel, opts GenerateOptions) (prompts []generatePrompt, err error) {
	var in *lineReader
	if opts.promptGiven {
		if !utf8.ValidString(opts.Prompt) {
			return nil, failf(exitUsage, "--prompt is not UTF-8")
		}
		line, err := encodeLine(map[string]string{"prompt": opts.Prompt})
		if err != nil {
			return nil, err
		}
		in = newLineReader("--prompt", bytes.NewReader(line))
	} else {
		var closeInput func()
		if in, closeInput, err = a.openLines(ctx, opts.Prompts); err != nil {
			return nil, err
		}
		defer closeInput()
	}
	prompts, err = readRows(in, func(r row) (generatePrompt, error) { return readPrompt(r, m, opts) })
	if len(prompts) == 0 && err == nil {
		a.log().Warn("there are no prompts", "input", in.name)
	}
	if len(prompts) > math.MaxInt32/opts.Returns {
		err = errors.Join(err, failf(exitUsage, "%d prompts with %d responses each are too many for one command", len(prompts), opts.Returns))
	}
	m.reportLosses(a)
	shortened, least := 0, opts.MaxNew
	for _, p := range prompts {
		if p.most < opts.MaxNew {
			shortened, least = shortened+1, min(least, p.most)
		}
	}
	if shortened > 0 && err == nil {
		a.log().Info("the model's context leaves less for responses than the default of --max-new-tokens", "prompts", shortened, "shortest", least, "default", opts.MaxNew)
	}
	return prompts, err
}

func readPrompt(r row, m *openModel, opts GenerateOptions) (p generatePrompt, err error) {
	if err := r.parse(); err != nil {
		return p, err
	}
	if p.id, err = r.id(); err != nil {
		return p, err
	}
	key, err := r.either("prompt", "prompt_ids")
	if err != nil {
		return p, err
	}
	if key == "prompt" {
		p.ids, err = m.encode(r, key)
	} else {
		p.ids, err = r.ids(key)
	}
	if err == nil {
		err = m.checkIDs(r, p.ids)
	}
	n, room := len(p.ids), max(0, m.Config.MaxPositions-len(p.ids))
	p.most = opts.MaxNew
	if !opts.mostGiven {
		p.most = min(p.most, room)
	}
	switch least := max(1, opts.MinNew); {
	case err != nil:
		return p, err
	case n == 0:
		return p, r.errorf("the prompt has no tokens, and there must be something to continue")
	case p.most > room:
		return p, r.errorf("a prompt of %d tokens and --max-new-tokens %d are longer than the model's context of %d", n, p.most, m.Config.MaxPositions)
	case p.most < least:
		return p, r.errorf("a prompt of %d tokens leaves %d of the model's context of %d, and a response needs at least %d (--min-new-tokens)", n, room, m.Config.MaxPositions, least)
	}
	return p, nil
}

// cachePage is the number of tokens of a page of the key/value cache.
const cachePage = 16

// stepTokens bounds the tokens of one step of generation.
const stepTokens = 2048

// roundsBetweenWrites is how many responses of each slot are generated before they are written: enough that the slots that stand
// empty at the end of each lot do not count.
const roundsBetweenWrites = 32

// generateAll generates the responses, some prompts at a time, and writes them in order.
func generateAll(ctx context.Context, a *app, m *openModel, opts GenerateOptions, dtype tensor.DType, prompts []generatePrompt, out *output) error {
	total := len(prompts) * opts.Returns
	if total == 0 {
		return nil
	}
	limits := rollout.Limits{Slots: min(opts.Slots, total), PageSize: cachePage, EOD: m.eod}
	limits.Tokens = max(stepTokens, limits.Slots)
	for _, p := range prompts {
		limits.Longest = max(limits.Longest, len(p.ids)+p.most)
	}
	sampling := rollout.Sampling{
		Draw:     nn.Draw{Temperature: opts.Temperature, Greedy: opts.Greedy, TopK: opts.TopK, TopP: opts.TopP},
		Key:      random.Key{Seed: opts.Seed, Purpose: random.Rollout},
		LogProbs: true,
	}
	exec, err := opts.Model.load(ctx, a, m, dtype, limits.Longest, func(e *pipeline.Executor) error {
		return rollout.Rehearse(ctx, e, limits, sampling.Draw, nil)
	})
	if err != nil {
		return err
	}
	decoding, err := rollout.Open(exec, limits)
	if err != nil {
		return err
	}
	defer decoding.Close()
	w := &responseWriter{model: m, lines: opts.outputGiven, terminal: isTerminal(a.stdout), many: total > 1, returns: opts.Returns, prompts: prompts, out: out}
	tokens, shared, lot := 0, 0, roundsBetweenWrites*limits.Slots
	for first := 0; first < total; first += lot {
		var requests []rollout.Request
		for i := first; i < min(first+lot, total); i++ {
			p := prompts[i/opts.Returns]
			requests = append(requests, rollout.Request{Sequence: i, Prompt: p.ids, Max: p.most, Min: opts.MinNew})
		}
		trajectories, stats, err := rollout.Generate(ctx, decoding, requests, limits, sampling, func(sequences, sampled int) {
			a.telemetry().Progress(telemetry.Progress{Task: "generate", Unit: "responses", Done: int64(first + sequences), Total: int64(total), Tokens: int64(tokens + sampled)})
		})
		if err != nil {
			return err
		}
		tokens += stats.Tokens
		shared += stats.Shared
		for _, tr := range trajectories {
			if err := w.write(tr); err != nil {
				return err
			}
		}
		if err := out.flush(); err != nil {
			return err
		}
	}
	a.log().Info("generated", "responses", total, "tokens", tokens, "prompt_tokens_shared", shared)
	return nil
}
