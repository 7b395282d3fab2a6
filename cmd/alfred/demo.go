package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"alfred/internal/backend"
	"alfred/internal/collective"
	"alfred/internal/config"
	"alfred/internal/demo"
	"alfred/internal/nn"
	"alfred/internal/pipeline"
	"alfred/internal/reward"
	"alfred/internal/rlhf"
	"alfred/internal/rollout"
	"alfred/internal/telemetry"
	"alfred/internal/tensor"
)

// DemoOptions are the flags of demo.
type DemoOptions struct {
	Dir  string
	Seed uint64
	sets map[string][]string // by stage: changes to its configuration; tests make short demos with them
}

// AddFlags adds the flags to a flag set.
func (o *DemoOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Dir, "dir", "alfred-demo", "new `directory` for the demo, or that of a demo to go on with")
	f.Uint64Var(&o.Seed, "seed", 1, "root of the random `number`s")
}

func newDemoCommand(a *app) *cobra.Command {
	var opts DemoOptions
	cmd := &cobra.Command{
		Use:   "demo [--dir DIR]",
		Short: "Tell the whole story on toy data: fine-tuning, reward model, PPO",
		Long: `Make a small model with random weights and take it through the three stages on data that come with alfred: supervised fine-tuning on
answers in two moods, a reward model that learns which answers are preferred, and PPO, which teaches the model to give those. It takes
about two minutes on two cores.

At the end a table shows losses, scores and KL before and after, and what the model says before and after PPO.

The directory then holds the data, the configurations and the three runs, to look at and to go on from. The same command goes on with a
demo that was interrupted, and shows the tables again of one that is done. If PPO does not raise the score on held-out prompts by more
than two standard errors, the demo ends with code 8.` + exitHelp(exitUsage, exitData, exitModel, exitMemory, exitNumerical, exitStorage, exitInUse, exitStopped, exitPipe),
		Example: "  alfred demo\n  alfred demo --dir second --seed 2",
		Args:    cobra.NoArgs,
		RunE:    a.action(func(ctx context.Context) error { return runDemo(ctx, a, opts) }),
	}
	opts.AddFlags(cmd.Flags())
	return cmd
}

func runDemo(ctx context.Context, a *app, opts DemoOptions) error {
	out, err := a.openOutput("-")
	if err != nil {
		return err
	}
	a.toFile = true // standard output is written to when the bars are gone
	p := &demoProgram{app: a, stop: make(chan struct{})}
	p.interrupt.onFirst(p.interrupted)
	outcome, err := demo.Run(ctx, demo.Options{Dir: opts.Dir, Seed: opts.Seed, Sets: opts.sets}, p, out)
	p.silence()
	switch {
	case errors.Is(err, rlhf.ErrStopped) && exitCode(err) == exitStopped:
		return fmt.Errorf("%w in %s; the same command goes on from there", err, opts.Dir)
	case errors.Is(err, demo.ErrFolder):
		return fail(exitUsage, err)
	case err != nil:
		return err
	}
	if err := out.commit(); err != nil {
		return err
	}
	if len(opts.sets) == 0 && !outcome.Taught() {
		return failf(exitNumerical, "the demo has not shown what it should: PPO has not raised the held-out score by more than two standard errors")
	}
	return nil
}

// demoProgram is alfred as the demo uses it.
type demoProgram struct {
	*app
	stop    chan struct{}
	current atomic.Pointer[telemetry.Recorder] // which a signal is announced on
}

// interrupted is what the first signal does.
func (p *demoProgram) interrupted(sig os.Signal) {
	// Between stages there is no recorder, which says nothing, and no step to wait for.
	p.current.Load().Message(telemetry.Message{Level: slog.LevelWarn, Text: stopping + ": " + sig.String()})
	close(p.stop)
}

// silence closes the recorder; the next message opens a new one.
func (p *demoProgram) silence() {
	p.current.Store(nil)
	p.closeRecorder()
	p.recorder = nil
}

func (p *demoProgram) stopped() error {
	select {
	case <-p.stop:
		return rlhf.ErrStopped
	default:
		return nil
	}
}

// InitModel is alfred init-model.
func (p *demoProgram) InitModel(ctx context.Context, config, tokenizer, out string, seed uint64) error {
	return runInitModel(ctx, p.app, InitModelOptions{Config: config, Tokenizer: tokenizer, Out: out, Seed: seed})
}

// Train is alfred train. Each stage has a recorder of its own, because the files of a run belong to it.
func (p *demoProgram) Train(ctx context.Context, title string, cfg *config.Config) error {
	if err := p.stopped(); err != nil {
		return err
	}
	p.log().Info(title)
	p.silence()
	device, err := openDevice(cfg.Device.Backend, cfg.Device.Threads)
	if err != nil {
		return err
	}
	p.openRecorder(telemetry.ConsoleOptions{Every: cfg.Log.Every})
	p.current.Store(p.recorder)
	defer p.silence()
	err = rlhf.Train(ctx, cfg, rlhf.Env{
		Device: func(int) (backend.Device, error) { return device, nil }, Recorder: p.recorder, Stop: p.stop, Resume: "auto",
	})
	if err == nil {
		err = p.stopped() // during the last step
	}
	return err
}

// Generate samples responses of a policy.
func (p *demoProgram) Generate(ctx context.Context, path string, requests []rollout.Request, limits rollout.Limits, sampling rollout.Sampling) ([]rollout.Trajectory, error) {
	exec, _, err := p.open(ctx, path, "policy", limits.Longest, func(e *pipeline.Executor) error {
		return rollout.Rehearse(ctx, e, limits, sampling.Draw, nil)
	})
	if err != nil {
		return nil, err
	}
	decoding, err := rollout.Open(exec, limits)
	if err != nil {
		return nil, err
	}
	defer decoding.Close()
	trajectories, _, err := rollout.Generate(ctx, decoding, requests, limits, sampling, func(int, int) {})
	return trajectories, err
}

// Score scores responses with a reward model.
func (p *demoProgram) Score(ctx context.Context, path string, items []reward.Item) ([]float64, error) {
	longest, budget := 0, 0
	var all pipeline.MicroBatch // there are few
	for i, it := range items {
		unit := pipeline.Single(i, nn.Sequence{IDs: it.Tokens()})
		longest, budget = max(longest, unit.Tokens()), budget+unit.Tokens()
		all.Units = append(all.Units, unit)
	}
	exec, m, err := p.open(ctx, path, "reward", longest, func(e *pipeline.Executor) error {
		return e.Score(ctx, largest([]pipeline.MicroBatch{all}), func(int, pipeline.Output) {})
	})
	if err != nil {
		return nil, err
	}
	scorer := &reward.Model{Executor: exec, Replicas: pipeline.Replicas{Group: collective.Solo{}, Budget: budget}, Gain: 1}
	if n := m.Config.Normalisation; n != nil {
		scorer.Gain, scorer.Bias = n.Gain, n.Bias
	}
	return scorer.Score(ctx, items)
}

// open brings a model of the demo to the device.
func (p *demoProgram) open(ctx context.Context, path, which string, positions int, rehearse func(*pipeline.Executor) error) (*pipeline.Executor, *openModel, error) {
	opts := ModelOptions{Model: path, Which: which, Device: "cpu"}
	m, err := opts.open(p.app)
	if err != nil {
		return nil, nil, err
	}
	defer m.Close()
	exec, err := opts.load(ctx, p.app, m, tensor.Float32, positions, rehearse)
	return exec, m, err
}
