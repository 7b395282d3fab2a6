package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"alfred/internal/backend"
	"alfred/internal/rlhf"
	"alfred/internal/telemetry"
)

// TrainOptions are the flags of train.
type TrainOptions struct {
	Config ConfigOptions
	Resume string
	DryRun bool
}

// AddFlags adds the flags to a flag set.
func (o *TrainOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Resume, "resume", "auto", "where to go on from (`run`): auto is the newest good checkpoint of the run directory, if it has one; never refuses a used run directory; else the directory of another run")
	f.BoolVar(&o.DryRun, "dry-run", false, "open everything, plan the memory, report, and train nothing")
}

func newTrainCommand(a *app) *cobra.Command {
	var opts TrainOptions
	cmd := &cobra.Command{
		Use:   "train --config FILE",
		Short: "Run a stage of training: sft, reward or ppo",
		Long: `Run the stage of training that a configuration describes: supervised fine-tuning (sft), a reward model (reward), or PPO (ppo).

A run that was stopped, killed or broken off goes on from its newest good checkpoint when the same command is given again.
SIGINT (Ctrl-C), SIGTERM or SIGHUP asks it to finish the step, save and end with code 75 (before the first step it just ends); a second one
ends it at once.

The run directory (run.dir) holds config.yaml, metrics.jsonl, timing.jsonl, tensorboard/ and checkpoints/. It can be given as the model
of other commands and of other runs.` + exitHelp(exitUsage, exitData, exitModel, exitMemory, exitPeer, exitNumerical, exitStorage, exitInUse, exitStopped),
		Example: `  alfred train --config configs/hh-sft.yaml --set data_root=DATA
  alfred train --config ppo.yaml --dry-run
  alfred train --config ppo.yaml --set run.dir=runs/second --resume runs/first`,
		Args: cobra.NoArgs,
		RunE: a.action(func(ctx context.Context) error { return runTrain(ctx, a, opts) }),
	}
	opts.Config.addTo(cmd)
	opts.AddFlags(cmd.Flags())
	return cmd
}

func runTrain(ctx context.Context, a *app, opts TrainOptions) error {
	cfg, err := opts.Config.load()
	if err != nil {
		return err
	}
	device := planningDevice(cfg.Device.Backend, cfg.Device.Threads)
	if !opts.DryRun { // asked for now: a run that nothing can compute need not read its data first
		if device, err = openDevice(cfg.Device.Backend, cfg.Device.Threads); err != nil {
			return err
		}
	}
	a.toFile = true
	a.openRecorder(telemetry.ConsoleOptions{Every: cfg.Log.Every})
	err = rlhf.Train(ctx, cfg, rlhf.Env{
		Device:   func(int) (backend.Device, error) { return device, nil },
		Recorder: a.recorder,
		Stop:     a.stopOnSignal(),
		Resume:   opts.Resume,
		DryRun:   opts.DryRun,
	})
	if errors.Is(err, rlhf.ErrStopped) && exitCode(err) == exitStopped {
		again := "the same command goes on from there"
		if opts.Resume == "never" {
			again += ", without --resume never"
		}
		return fmt.Errorf("%w in %s: %s", err, cfg.Run.Dir, again)
	}
	return err
}

// stopping is what a run says when it hears the first signal.
const stopping = "stopping: the step in progress is finished and saved; another signal ends at once, without that"

// stopOnSignal makes the first signal a request to stop in good order: the channel is closed then.
func (a *app) stopOnSignal() <-chan struct{} {
	stop := make(chan struct{})
	a.interrupt.onFirst(func(sig os.Signal) {
		a.log().Warn(stopping, "signal", sig.String())
		close(stop)
	})
	return stop
}
