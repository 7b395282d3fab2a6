package main

import (
	"bytes"
	"context"
	"errors"

	"github.com/spf13/cobra"

	"alfred/internal/checkpoint"
	"alfred/internal/config"
	"alfred/internal/dataset"
)

func newDataCommand(a *app) *cobra.Command {
	return group("data", "Look at data", "  alfred data inspect --config ppo.yaml", newDataInspectCommand(a))
}

func newDataInspectCommand(a *app) *cobra.Command {
	var opts ConfigOptions
	cmd := &cobra.Command{
		Use:   "inspect --config FILE",
		Short: "Show what the model will see",
		Long: `Read the data of a configuration as a run would, and show what became of them: rows kept and dropped, by reason, with the place of
the first malformed ones; lengths in tokens; rendered samples, in which ⟦ ⟧ marks what is learnt (or, for rankings, each response) and ∎ is the
end of a document. Where a text holds these signs itself, they are escaped.

Of the model only the tokenizer and config.json are needed; with model.tokenizer the model may still be missing.` +
			exitHelp(exitUsage, exitData, exitModel, exitStorage, exitPipe),
		Example: `  alfred data inspect --config configs/hh-sft.yaml --set data_root=DATA
  alfred data inspect --config ppo.yaml --set model.tokenizer=tokenizer.json | less`,
		Args: cobra.NoArgs,
		RunE: a.action(func(ctx context.Context) error { return runDataInspect(ctx, a, opts) }),
	}
	opts.addTo(cmd)
	return cmd
}

func runDataInspect(ctx context.Context, a *app, opts ConfigOptions) error {
	cfg, err := opts.load()
	if err != nil {
		return err
	}
	if len(cfg.Data) == 0 {
		return failf(exitUsage, "%s takes its prompts from trajectory.replay and has no data to inspect", opts.Path)
	}
	options, err := datasetOptions(a, cfg)
	if err != nil {
		return err
	}
	stages := []string{cfg.Stage}
	if cfg.Normalise != nil { // which samples responses to the prompts of the same data
		stages = append(stages, config.PPO)
	}
	var text bytes.Buffer
	var errs []error
	for i, stage := range stages {
		if i > 0 {
			text.WriteString("\nPrompts of normalise\n")
		}
		report, err := dataset.Inspect(ctx, stage, cfg.Data, options)
		if report != nil && len(report.Sources) > 0 {
			err = errors.Join(err, report.WriteText(&text))
		}
		errs = append(errs, err)
	}
	return errors.Join(errors.Join(errs...), a.print(text.Bytes()))
}

// datasetOptions are those that a run of the configuration gives its data.
func datasetOptions(a *app, cfg *config.Config) (dataset.Options, error) {
	options := dataset.Options{
		Root: cfg.DataRoot, MaxLen: cfg.Trainer.MaxLen, PromptMaxLen: cfg.Trajectory.PromptMaxLen,
		EvalShare: cfg.Trainer.EvalShare, Seed: cfg.Run.Seed, LossTurns: cfg.Trainer.LossTurns,
	}
	path := cfg.Model.Policy
	if cfg.Stage == config.Reward {
		path = cfg.Model.Reward.Path
	}
	tokenizerPath := cfg.Model.Tokenizer
	m, err := checkpoint.OpenModel(path, checkpoint.Which("policy"), checkpoint.SkipFiniteCheck())
	switch {
	case err == nil:
		defer m.Close()
		options.VocabSize = m.Config.VocabSize
		if id := m.Config.EOSTokenID; id != nil {
			options.EOD = int32(*id)
		}
		if tokenizerPath == "" {
			tokenizerPath = m.Dir
		}
	case tokenizerPath == "":
		return options, err
	default:
		a.log().Warn("the model cannot be opened, so token ids in the data are not checked against its vocabulary", "error", err)
	}
	if files, err := checkpoint.TokenizerFiles(tokenizerPath); err != nil || len(files) == 0 && cfg.Model.Tokenizer == "" {
		return options, fail(exitModel, err) // prompts given as ids do without
	}
	tok, err := loadTokenizer(tokenizerPath)
	if err != nil {
		return options, err
	}
	eod, ok := tok.EOD()
	if !ok {
		return options, failf(exitModel, "%s has no <|endoftext|>, which ends documents", tokenizerPath)
	}
	options.Tokenizer, options.EOD = tok, eod
	return options, nil
}
