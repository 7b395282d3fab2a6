package rlhf

import (
	"context"
	"errors"
	"fmt"

	"alfred/internal/checkpoint"
	"alfred/internal/config"
	"alfred/internal/dataset"
	"alfred/internal/falcon"
	"alfred/internal/mesh"
	"alfred/internal/rundir"
	"alfred/internal/tokenizer"
)

// inputs is everything that a run reads, opened once per process and shared by its ranks. Nothing in it is written to.
type inputs struct {
	cfg *config.Config

	policy, reference, reward, value *checkpoint.Model // nil where the stage has none
	normaliser                       *checkpoint.Model // the policy that normalise samples from
	freshValueHead                   []string          // names the value model's head when no model brings one
	tokenizer                        *tokenizer.Tokenizer
	tokenizerFiles                   []checkpoint.Asset
	eod                              int32

	sft     *dataset.Set[dataset.SFT]
	ranked  *dataset.Set[dataset.Ranked]
	prompts *dataset.Set[dataset.Prompt]
	replay  []string // files, one per iteration

	largestUnit int // tokens of the largest group of sequences that one micro-batch must hold
	positions   int // longest sequence
	// Rotary tables in place of alfred's own, to reproduce another program's numbers.
	rotaryCos, rotarySin []float64

	keep bool // rollouts, until the policy's first step; decided before ranks begin

	dir      rundir.Dir
	warnings []string
}

// openInputs opens the models and the data of a run and checks that they go together. All problems are reported at once.
func openInputs(ctx context.Context, cfg *config.Config) (*inputs, error) {
	in := &inputs{cfg: cfg}
	for _, open := range []func() error{in.openModels, in.openTokenizer, in.checkModels, func() error { return in.openData(ctx) }} {
		if err := open(); err != nil {
			in.close()
			return nil, err
		}
	}
	return in, nil
}

func (in *inputs) close() {
	for _, m := range in.models() {
		m.Close()
	}
}

// models lists the open models.
func (in *inputs) models() (open []*checkpoint.Model) {
	for _, m := range []*checkpoint.Model{in.policy, in.reference, in.reward, in.value, in.normaliser} {
		if m != nil {
			open = append(open, m)
		}
	}
	return open
}

func (in *inputs) openModels() error {
	var errs []error
	// open takes the first of the named models that a run directory has; a Hugging Face directory has one, whatever its name. The key
	// is where the configuration names the path.
	open := func(to **checkpoint.Model, key, path string, which ...string) {
		if path == "" {
			return
		}
		var m *checkpoint.Model
		var tried []error
		for _, name := range which {
			found, err := checkpoint.OpenModel(path, checkpoint.Which(name))
			if m = found; err == nil {
				break
			}
			tried = append(tried, err)
		}
		if m == nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, tried[0]))
			return
		}
		*to = m
		for _, w := range m.Warnings {
			in.warnings = append(in.warnings, path+": "+w)
		}
	}
	model := &in.cfg.Model
	switch in.cfg.Stage {
	case config.SFT:
		open(&in.policy, "model.policy", model.Policy, "policy")
	case config.Reward:
		open(&in.reward, "model.reward", model.Reward.Path, "policy", "reward")
		if n := in.cfg.Normalise; n != nil {
			open(&in.normaliser, "normalise.policy", n.Policy, "policy")
		}
	case config.PPO:
		open(&in.policy, "model.policy", model.Policy, "policy")
		open(&in.reference, "model.reference", model.Reference, "policy")
		open(&in.reward, "model.reward", model.Reward.Path, "reward")
		if model.Value != "" {
			open(&in.value, "model.value", model.Value, "value", "reward")
		} else {
			in.freshValueHead = []string{"score.weight"}
			open(&in.value, "model.policy", model.Policy, "policy")
		}
	}
	return errors.Join(errs...)
}

// main is the model that the tokenizer comes from unless the configuration names another.
func (in *inputs) main() *checkpoint.Model {
	if in.policy != nil {
		return in.policy
	}
	return in.reward
}

// openTokenizer reads the tokenizer. A run on token ids alone does without.
func (in *inputs) openTokenizer() error {
	path := in.cfg.Model.Tokenizer
	if path == "" {
		path = in.main().Dir
	}
	files, err := checkpoint.TokenizerFiles(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	if named := in.cfg.Model.Tokenizer; named != "" && len(files) == 0 {
		return fmt.Errorf("%w: model.tokenizer: %s has no tokenizer.json", ErrMismatch, named)
	}
	in.tokenizerFiles, in.eod = files, -1
	if id := in.main().Config.EOSTokenID; id != nil {
		in.eod = int32(*id)
	}
	for _, f := range files {
		if f.Name != "tokenizer.json" {
			continue
		}
		if in.tokenizer, err = tokenizer.Load(f.Path); err != nil {
			return fmt.Errorf("%w: %w", ErrMismatch, err)
		}
		eod, ok := in.tokenizer.EOD()
		if !ok {
			return fmt.Errorf("%w: %s has no token %s", ErrMismatch, f.Path, tokenizer.EndOfDocument)
		}
		in.eod = eod
		for _, m := range in.models() {
			in.warnings = append(in.warnings, m.EODWarnings(int(eod))...)
		}
	}
	if in.eod < 0 {
		return fmt.Errorf("%w: neither a tokenizer nor config.json of %s says which token ends a document", ErrMismatch, in.main().Dir)
	}
	return nil
}

// checkModels demands that models have the heads that their roles need, speak one vocabulary, are long enough, and can be split.
func (in *inputs) checkModels() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: %s", ErrMismatch, fmt.Sprintf(format, args...)))
	}
	need := func(m *checkpoint.Model, role string, head falcon.Head) {
		if m != nil && m.Config.Head != head {
			bad("%s is a %s; the %s must be a %s", m.Dir, m.Config.Head, role, head)
		}
	}
	need(in.policy, "policy", falcon.CausalLM)
	need(in.reference, "reference", falcon.CausalLM)
	need(in.normaliser, "policy of normalise", falcon.CausalLM)
	if in.cfg.Stage == config.PPO {
		need(in.reward, "reward model", falcon.SequenceClassification)
		if in.freshValueHead == nil {
			need(in.value, "value model", falcon.SequenceClassification)
		}
	}
	first := in.models()[0]
	in.positions = first.Config.MaxPositions
	for _, m := range in.models() {
		in.positions = min(in.positions, m.Config.MaxPositions)
		if m.Config.VocabSize != first.Config.VocabSize {
			bad("%s has a vocabulary of %d entries, %s one of %d", m.Dir, m.Config.VocabSize, first.Dir, first.Config.VocabSize)
		}
		if in.tokenizer != nil && in.tokenizer.VocabSize() > m.Config.VocabSize {
			bad("the tokenizer has %d entries, %s only %d", in.tokenizer.VocabSize(), m.Dir, m.Config.VocabSize)
		}
		if err := m.Config.Splits(in.cfg.Parallel.Tensor); err != nil {
			bad("%s: %v", m.Dir, err)
		}
	}
	if in.reward != nil && in.cfg.Stage == config.PPO {
		in.checkReward(bad)
	}
	fits := func(keys string, tokens int) {
		if tokens > in.positions {
			bad("%s is %d tokens, the models' context is %d", keys, tokens, in.positions)
		}
	}
	if in.cfg.Stage != config.PPO {
		fits("trainer.max_len", in.cfg.Trainer.MaxLen)
	}
	if in.cfg.Stage == config.PPO || in.normaliser != nil {
		fits("trajectory.prompt_max_len + continuation_max_len", in.cfg.Trajectory.PromptMaxLen+in.cfg.Trajectory.ContinuationMaxLen)
	}
	if in.cfg.Stage == config.Reward && in.reward.Config.Head == falcon.SequenceClassification {
		in.warnings = append(in.warnings, in.reward.Dir+" has a score head already: its training goes on, and a calibration that it carries is dropped")
	}
	return errors.Join(errs...)
}

// checkReward looks at what would make a reward model's scores meaningless: another tokenizer than the policy's, and a padding
// id that hides the end of document.
func (in *inputs) checkReward(bad func(string, ...any)) {
	cfg, position := in.reward.Config, in.cfg.Model.RMPosition
	if pad := cfg.PadTokenID; pad != nil && int32(*pad) == in.eod && position == "" {
		bad("%s pads with token %d, which ends documents, so it may have been trained to be read at the token before it: say model.rm_position: eod or last_non_pad", in.reward.Dir, *pad)
	}
	files, err := checkpoint.TokenizerFiles(in.reward.Dir)
	if err != nil {
		bad("%v", err)
	}
	for _, f := range files {
		if f.Name != "tokenizer.json" || in.tokenizer == nil {
			continue
		}
		theirs, err := tokenizer.Load(f.Path)
		if err != nil {
			bad("%v", err)
		} else if theirs.SHA256() != in.tokenizer.SHA256() {
			bad("%s has another tokenizer than the policy", in.reward.Dir)
		}
	}
}

func (in *inputs) openData(ctx context.Context) (err error) {
	cfg := in.cfg
	opts := dataset.Options{
		Root: cfg.DataRoot, EOD: in.eod, VocabSize: in.main().Config.VocabSize,
		MaxLen: cfg.Trainer.MaxLen, PromptMaxLen: cfg.Trajectory.PromptMaxLen,
		EvalShare: cfg.Trainer.EvalShare, Seed: cfg.Run.Seed, LossTurns: cfg.Trainer.LossTurns,
	}
	if in.tokenizer != nil {
		opts.Tokenizer = in.tokenizer
	}
	switch {
	case cfg.Stage == config.SFT:
		in.sft, err = dataset.Open[dataset.SFT](ctx, cfg.Data, opts)
	case cfg.Stage == config.Reward:
		if in.ranked, err = dataset.Open[dataset.Ranked](ctx, cfg.Data, opts); err == nil {
			in.largestUnit = in.ranked.MaxTokens()
			if in.normaliser != nil {
				in.prompts, err = dataset.Open[dataset.Prompt](ctx, cfg.Data, opts)
			}
		}
	case cfg.Trajectory.Replay != "":
		in.replay, err = replayFiles(cfg.Trajectory.Replay)
		if err != nil {
			err = fmt.Errorf("%w: trajectory.replay: %w", dataset.ErrData, err)
		} else if len(in.replay) == 0 {
			err = fmt.Errorf("%w: trajectory.replay: no .jsonl or .jsonl.gz file in %s", dataset.ErrData, cfg.Trajectory.Replay)
		}
	default:
		in.prompts, err = dataset.Open[dataset.Prompt](ctx, cfg.Data, opts)
	}
	return err
}

// budget is the size of micro-batches in tokens: the configuration's, or, if that is less, the most that is ever cut into
// micro-batches together. Memory is reserved for no more.
func (in *inputs) budget() int {
	tc, tr := &in.cfg.Trainer, &in.cfg.Trajectory
	rollouts := func(n int) int { return n * (tr.PromptMaxLen + tr.ContinuationMaxLen) }
	most := in.cfg.Batching.MicroBatchTokens
	switch {
	case in.sft != nil:
		most = max(tc.GlobalBatch*in.sft.MaxTokens(), in.sft.HeldOutTokens())
	case in.ranked != nil:
		most = max(tc.GlobalBatch*in.largestUnit, in.ranked.HeldOutTokens())
	case in.cfg.Stage == config.PPO:
		most = rollouts(tc.NumRollouts)
	}
	if n := in.cfg.Normalise; n != nil {
		most = max(most, rollouts(n.Samples))
	}
	return min(in.cfg.Batching.MicroBatchTokens, most)
}

// steps is the number of steps or iterations of the whole run.
func (in *inputs) steps() int {
	tc := &in.cfg.Trainer
	if in.cfg.Stage == config.SFT && tc.Epochs > 0 {
		return (tc.Epochs*in.sft.Train().Len() + tc.GlobalBatch - 1) / tc.GlobalBatch
	}
	if in.replay != nil {
		return min(tc.MaxSteps, len(in.replay))
	}
	return tc.MaxSteps
}

// meshOf is the layout that the configuration asks for, as far as it can be trained now.
func meshOf(cfg *config.Config) (mesh.Mesh, error) {
	p := cfg.Parallel
	if p.Pipeline > 1 {
		return mesh.Mesh{}, fmt.Errorf("%w: parallel.pipeline is %d: training over pipeline stages is not part of this version; use 1", ErrUnsupported, p.Pipeline)
	}
	if p.ZeROStage > 0 {
		return mesh.Mesh{}, fmt.Errorf("%w: parallel.zero_stage is %d: sharding over data ranks is not part of this version; use 0", ErrUnsupported, p.ZeROStage)
	}
	return mesh.New(p.Tensor, p.Data, p.Pipeline)
}
