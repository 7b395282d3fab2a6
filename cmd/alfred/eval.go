package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"alfred/internal/eval"
	"alfred/internal/eval/local"
	"alfred/internal/eval/task"
	"alfred/internal/falcon"
	"alfred/internal/pipeline"
	"alfred/internal/rundir"
	"alfred/internal/telemetry"
	"alfred/internal/tensor"
)

// EvalOptions are the flags of eval.
type EvalOptions struct {
	Models, Names     []string
	Which, Tokenizer  string
	Tasks, Include    []string
	Data, Output      string
	Shots, Limit      int
	Seed              int64
	Resamplings       int
	Precision, Device string
	Threads           int
	NoCache           bool
	shotsGiven        bool
}

// AddFlags adds the flags to a flag set.
func (o *EvalOptions) AddFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.Models, "model", nil, "model: a Hugging Face `directory`, a run directory or a checkpoint; again for each one to compare")
	f.StringArrayVar(&o.Names, "name", nil, "how a model is called in the results (`text`, once for each --model; default: the end of its path)")
	f.StringVar(&o.Which, "which", "", "which model of a run (`name`; default: the policy, or the only one)")
	f.StringVar(&o.Tokenizer, "tokenizer", "", "tokenizer.json, or a directory or run with one, in place of the models' own (`path`)")
	f.StringSliceVar(&o.Tasks, "tasks", nil, "tasks, groups and tags by `name` or pattern, or YAML files, with commas between them")
	f.StringArrayVar(&o.Include, "include-path", nil, "`directory` with more task files; they win over those that come with alfred")
	f.StringVar(&o.Data, "data", ".", "`directory` of the data sets: their official files, or what eval prepare has written")
	f.StringVar(&o.Output, "output", "eval", "`directory` for results, samples and the cache of answers")
	f.IntVar(&o.Shots, "num-fewshot", 0, "solved examples before each question (`n`); default: what each task says")
	f.IntVar(&o.Limit, "limit", 0, "only the first `n` documents of each task; 0 is all")
	f.Int64Var(&o.Seed, "fewshot-seed", 1234, "seed of the few-shot examples (`number`)")
	f.IntVar(&o.Resamplings, "bootstrap-iters", 100000, "resamplings for standard errors without a formula (`n`); 0 leaves all standard errors out")
	f.StringVar(&o.Precision, "precision", "float32", "`type` of weights and activations: float32 or bfloat16")
	f.StringVar(&o.Device, "device", "cpu", "what computes: cpu or cuda (`name`)")
	f.IntVar(&o.Threads, "threads", 0, "threads of the cpu; 0 is one per core (`n`)")
	f.BoolVar(&o.NoCache, "no-cache", false, "neither use nor keep answers of earlier evaluations")
}

func newEvalCommand(a *app) *cobra.Command {
	var opts EvalOptions
	cmd := &cobra.Command{
		Use:   "eval --model DIR [--model DIR]... --tasks NAMES --data DIR",
		Short: "Evaluate language models on tasks of the evaluation harness",
		Long: `Evaluate language models on tasks in the format of the Language Model Evaluation Harness (lm-eval 0.4.13), and compare them.

Prompts, choices, metrics and standard errors are the harness's; its own task files can be used, and alfred's tasks can be used there
(eval list --write DIR). Data sets are read from --data and never downloaded. A task that is named must find its data; of a group, tasks
without data are left out and named. With --num-fewshot, examples come from the split that a task names, drawn as the harness draws them.

Written for each model: OUTPUT/NAME/results_TIME.json and samples_TASK_TIME.jsonl, as the harness writes them. Answers are kept in
OUTPUT/cache, so that an evaluation that was stopped goes on where it was when the command is given again.` +
			exitHelp(exitUsage, exitData, exitModel, exitMemory, exitNumerical, exitStorage, exitInUse, exitPipe),
		Example: `  alfred eval --model runs/sft --model runs/ppo --tasks alfred --data DATA
  alfred eval --model models/base --tasks arc_easy,piqa --num-fewshot 5 --limit 100 --data DATA
  alfred eval list`,
	}
	cmd.RunE = a.action(func(ctx context.Context) error {
		opts.shotsGiven = cmd.Flags().Changed("num-fewshot")
		return runEval(ctx, a, opts)
	})
	opts.AddFlags(cmd.Flags())
	require(cmd, "model", "tasks")
	cmd.Args = onlyCommands
	cmd.AddCommand(newEvalListCommand(a), newEvalPrepareCommand(a))
	return cmd
}

// check reports everything that is wrong with the flags.
func (o *EvalOptions) check() (dtype tensor.DType, err error) {
	var problems []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	bad(len(o.Names) == 0 || len(o.Names) == len(o.Models), "%d times --name for %d times --model", len(o.Names), len(o.Models))
	bad(o.Limit >= 0, "--limit %d is negative", o.Limit)
	bad(o.Shots >= 0, "--num-fewshot %d is negative", o.Shots)
	bad(o.Resamplings >= 0, "--bootstrap-iters %d is negative", o.Resamplings)
	dtype, err = tensor.ParseDType(o.Precision)
	bad(err == nil && (dtype == tensor.Float32 || dtype == tensor.BFloat16), "--precision %q: want float32 or bfloat16", o.Precision)
	if len(o.Names) == 0 {
		for _, path := range o.Models {
			o.Names = append(o.Names, filepath.Base(filepath.Clean(path)))
		}
	}
	seen := map[string]bool{}
	for _, name := range o.Names {
		bad(name != "" && !seen[name], "two models are called %q: give them names with --name", name)
		seen[name] = true
	}
	return dtype, fail(exitUsage, errors.Join(problems...))
}

func runEval(ctx context.Context, a *app, opts EvalOptions) error {
	dtype, err := opts.check()
	if err != nil {
		return err
	}
	plan, left, err := opts.plan(ctx, a)
	if err != nil {
		return err
	}
	lock, err := rundir.Dir(opts.Output).Lock()
	if err != nil {
		return err
	}
	defer lock.Unlock()
	setting := eval.Setting{Date: time.Now(), Version: version(), Limit: opts.Limit, Resamplings: opts.Resamplings, FewshotSeed: opts.Seed, Device: opts.Device, Folder: opts.Data, Left: left}
	var all []*eval.Results
	for i := range opts.Models {
		r, err := opts.evaluate(ctx, a, i, dtype, plan)
		if err != nil {
			return err
		}
		path, _, err := r.Write(opts.Output, setting)
		if err != nil {
			return fail(exitStorage, err)
		}
		a.log().Info("results", "model", r.Model.Name, "file", path)
		all = append(all, r)
	}
	return a.print([]byte(eval.Tables(all, left)))
}

// plan reads tasks and data, and builds all prompts.
func (o *EvalOptions) plan(ctx context.Context, a *app) (plan *eval.Plan, left []string, err error) {
	library, err := task.Open(o.Include...)
	if err != nil {
		return nil, nil, fail(exitData, err)
	}
	selected, err := library.Select(o.Tasks)
	if err != nil {
		return nil, nil, fail(exitUsage, err)
	}
	plan = &eval.Plan{Groups: selected.Groups}
	settings := task.Settings{Folder: o.Data, Seed: o.Seed}
	if o.shotsGiven {
		settings.Shots = &o.Shots
	}
	var problems []error
	for i, c := range selected.Tasks {
		a.telemetry().Progress(telemetry.Progress{Task: "prompts", Unit: "tasks", Done: int64(i), Total: int64(len(selected.Tasks))})
		t, samples, err := openTask(ctx, c, settings, o.Limit)
		switch {
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case err != nil && selected.Named[c.Name]:
			problems = append(problems, err)
		case err != nil:
			left = append(left, err.Error())
			a.log().Warn("left out", "task", c.Name, "reason", err)
		default:
			plan.Tasks = append(plan.Tasks, &eval.Planned{Task: t, Samples: samples})
			for reason, n := range t.Skipped {
				a.log().Warn("rows of the data were skipped", "task", c.Name, "reason", reason, "rows", n)
			}
		}
	}
	if len(problems) > 0 {
		return nil, nil, fail(exitData, errors.Join(problems...))
	}
	if len(plan.Tasks) == 0 {
		return nil, nil, failf(exitData, "no task of %s finds its data under %s", strings.Join(o.Tasks, ", "), o.Data)
	}
	return plan, left, nil
}

// openTask reads a task's data and builds its prompts.
func openTask(ctx context.Context, c *task.Config, settings task.Settings, limit int) (*task.Task, []*task.Sample, error) {
	t, err := c.Open(ctx, settings)
	if err != nil {
		return nil, nil, err
	}
	samples, err := t.Samples(limit)
	return t, samples, err
}

// evaluate asks one model.
func (o *EvalOptions) evaluate(ctx context.Context, a *app, i int, dtype tensor.DType, plan *eval.Plan) (*eval.Results, error) {
	begin := time.Now()
	options := ModelOptions{Model: o.Models[i], Which: o.Which, Tokenizer: o.Tokenizer, Device: o.Device, Threads: o.Threads}
	m, err := options.open(a)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	switch {
	case m.Config.Head != falcon.CausalLM:
		return nil, failf(exitModel, "%s is a %s, which has no log-probs; name a language model (of a PPO run: --which policy)", m.Dir, m.Config.Head)
	case m.tokenizer == nil:
		return nil, failf(exitUsage, "%s has no tokenizer.json: name one with --tokenizer", m.Dir)
	case m.eod < 0:
		return nil, failf(exitModel, "nothing tells which token ends a document of %s, and texts with nothing before them are scored after it", m.Dir)
	}
	weights, err := m.Fingerprint(ctx)
	if err != nil {
		return nil, fail(exitModel, err)
	}
	d := eval.Description{Name: o.Names[i], Source: "alfred", Dir: m.Dir, Precision: dtype.String(), Parameters: int64(m.Config.NumParameters()), MaxLength: m.Config.MaxPositions,
		Prefix: m.eod, Weights: weights, TokenizerSHA: m.tokenizer.SHA256()}
	q, err := plan.Encode(local.Words{Tokenizer: m.tokenizer}, d)
	if err != nil {
		return nil, fail(exitData, err)
	}
	if q.Truncated > 0 {
		a.log().Warn("requests are longer than the model's context and lose their beginning", "model", d.Name, "requests", q.Truncated, "context", d.MaxLength)
	}
	var cache *eval.Cache
	if !o.NoCache {
		if cache, err = eval.OpenCache(filepath.Join(o.Output, "cache"), d); err != nil {
			return nil, fail(exitStorage, err)
		}
	}
	answers, err := o.ask(ctx, a, options, m, dtype, q, cache)
	if closed := cache.Close(); err == nil {
		err = fail(exitStorage, closed)
	}
	if err != nil {
		return nil, err
	}
	r, err := plan.Judge(ctx, answers, o.Resamplings)
	if err == nil {
		r.Seconds = time.Since(begin).Seconds()
		a.log().Info("evaluated", "model", d.Name, "requests", q.Requests(), "from_cache", r.Cached, "tokens", answers.Tokens, "seconds", fmt.Sprintf("%.1f", r.Seconds))
	}
	return r, err
}

// ask loads the model and has it answer.
func (o *EvalOptions) ask(ctx context.Context, a *app, options ModelOptions, m *openModel, dtype tensor.DType, q *eval.Questions, cache *eval.Cache) (*eval.Answers, error) {
	longest := max(q.Longest, q.Generation, 1)
	exec, err := options.load(ctx, a, m, dtype, longest, func(e *pipeline.Executor) error { return local.Rehearse(ctx, e, q) })
	if err != nil {
		return nil, err
	}
	model := &local.Model{Exec: exec, Text: m.tokenizer, EOD: m.eod}
	return q.Ask(ctx, model, cache, func(done, total int, tokens int64) {
		a.telemetry().Progress(telemetry.Progress{Task: "eval", Unit: "requests", Done: int64(done), Total: int64(total), Tokens: tokens})
	})
}
