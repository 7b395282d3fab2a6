package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"alfred/internal/backend"
	"alfred/internal/backend/dry"
	"alfred/internal/checkpoint"
	"alfred/internal/falcon"
	"alfred/internal/pipeline"
	"alfred/internal/tensor"
	"alfred/internal/tokenizer"
)

// ModelOptions name a model and what it runs on.
type ModelOptions struct {
	Model, Which, Tokenizer string
	Device                  string
	Threads                 int
}

// AddFlags adds the flags to a flag set.
func (o *ModelOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Model, "model", "", "model: a Hugging Face `directory`, a run directory (its newest good checkpoint) or a checkpoint")
	f.StringVar(&o.Which, "which", "", "which model of a run: policy, value or reward (`name`; default: the policy, or the only one)")
	f.StringVar(&o.Tokenizer, "tokenizer", "", "tokenizer.json, or a directory or run with one, in place of the model's own (`path`)")
	f.StringVar(&o.Device, "device", "cpu", "what computes: cpu or cuda (`name`)")
	f.IntVar(&o.Threads, "threads", 0, "threads of the cpu; 0 is one per core (`n`)")
}

// addTo adds the flags to a command that cannot do without a model.
func (o *ModelOptions) addTo(cmd *cobra.Command) {
	o.AddFlags(cmd.Flags())
	require(cmd, "model")
	cmd.Args = flagInstead("model")
}

// chosenModel is what a flag chooses among the models of a run; "" leaves the choice to OpenModel.
func chosenModel(flag, name string) (checkpoint.Option, error) {
	switch name {
	case "", "policy", "value", "reward":
		return checkpoint.Which(name), nil
	}
	return nil, failf(exitUsage, "--%s %q: want policy, value or reward", flag, name)
}

// openModel is a model's files, and its tokenizer.
type openModel struct {
	*checkpoint.Model
	tokenizer *tokenizer.Tokenizer // nil when there is none: ids can be used all the same
	eod       int32                // -1 when nothing tells which token ends a document

	lostBytes, lossyLines int // of encode
}

// open opens what the options name, and tells what a person should know about it.
func (o *ModelOptions) open(a *app) (_ *openModel, err error) {
	if o.Threads < 0 {
		return nil, failf(exitUsage, "--threads %d is negative", o.Threads)
	}
	which, err := chosenModel("which", o.Which)
	if err != nil {
		return nil, err
	}
	m := &openModel{eod: -1}
	if m.Model, err = checkpoint.OpenModel(o.Model, which); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	for _, w := range m.Warnings {
		a.log().Warn(w, "model", o.Model)
	}
	if id := m.Config.EOSTokenID; id != nil {
		m.eod = int32(*id)
	}
	path := o.Tokenizer
	if path == "" {
		path = m.Dir
		if files, err := checkpoint.TokenizerFiles(path); err != nil || len(files) == 0 {
			return m, fail(exitModel, err)
		}
	}
	if m.tokenizer, err = loadTokenizer(path); err != nil {
		return nil, err
	}
	if n := m.tokenizer.VocabSize(); n > m.Config.VocabSize {
		return nil, failf(exitModel, "the tokenizer %s has %d entries, the model %s only %d: they do not go together", path, n, m.Dir, m.Config.VocabSize)
	}
	if eod, ok := m.tokenizer.EOD(); ok {
		m.eod = eod
	}
	return m, nil
}

// encode tokenizes a text field of a row.
func (m *openModel) encode(r row, key string) ([]int32, error) {
	text, err := r.text(key)
	if err != nil {
		return nil, err
	}
	if m.tokenizer == nil {
		return nil, r.errorf("%q is text, and %s has no tokenizer.json: name one with --tokenizer, or give token ids", key, m.Dir)
	}
	if n := m.tokenizer.Dropped(text); n > 0 {
		m.lostBytes += n
		m.lossyLines++
	}
	return m.tokenizer.Encode(text), nil
}

// reportLosses tells what encode has left out.
func (m *openModel) reportLosses(a *app) {
	if m.lostBytes > 0 {
		a.log().Warn("bytes that the tokenizer has no token for were left out", "bytes", m.lostBytes, "lines", m.lossyLines)
	}
}

// checkIDs finds token ids that the model does not know.
func (m *openModel) checkIDs(r row, ids []int32) error {
	for i, id := range ids {
		if int(id) >= m.Config.VocabSize {
			return r.errorf("token %d, at position %d, is outside the vocabulary of %d", id, i, m.Config.VocabSize)
		}
	}
	return nil
}

// load brings the model's weights to the device. positions is the length of the longest sequence; rehearse runs the largest piece of
// work that will come: it is tried first on a device that holds nothing, and what it uses there is what the real one reserves.
func (o *ModelOptions) load(ctx context.Context, a *app, m *openModel, dtype tensor.DType, positions int, rehearse func(*pipeline.Executor) error) (*pipeline.Executor, error) {
	device, err := openDevice(o.Device, o.Threads)
	if err != nil {
		return nil, err
	}
	plan, err := newRunner(dry.New(dry.Options{Wide: device.Wide()}), m.Config, dtype, positions, dry.Unlimited, dry.Unlimited)
	if err == nil {
		err = errors.Join(rehearse(plan.exec), plan.exec.Stream.Sync())
	}
	if err != nil {
		return nil, fmt.Errorf("planning memory: %w", err)
	}
	a.log().Debug("memory", "weights_bytes", plan.weights.Peak(), "work_bytes", plan.work.Peak())
	r, err := newRunner(device, m.Config, dtype, positions, plan.weights.Peak(), plan.work.Peak())
	if err != nil {
		return nil, err
	}
	s := r.exec.Stream
	if err := m.Load(s, r.stage.Params); err != nil {
		return nil, err
	}
	if err := s.Sync(); err != nil {
		return nil, err
	}
	a.log().Debug("loaded", "model", m.Dir, "parameters", m.Config.NumParameters(), "precision", dtype.String(), "device", device.Name())
	return r.exec, ctx.Err()
}

// runner is a model on a device.
type runner struct {
	stage         *falcon.Stage
	exec          *pipeline.Executor
	weights, work *backend.Arena
}

// newRunner allocates a model, its weights still zero, in arenas of the given sizes in bytes.
func newRunner(device backend.Device, cfg falcon.Config, dtype tensor.DType, positions, weights, work int) (*runner, error) {
	r := &runner{}
	var err error
	if r.weights, err = device.Arena("weights", weights); err != nil {
		return nil, fail(exitMemory, err)
	}
	if r.work, err = device.Arena("work", work); err != nil {
		return nil, fail(exitMemory, err)
	}
	s := device.Stream()
	s.Use(r.weights)
	r.stage = falcon.NewStage(s, cfg, falcon.Options{DType: dtype, Positions: positions})
	r.exec = &pipeline.Executor{Stage: r.stage, Stream: s, Arena: r.work, Scale: 1}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("allocating the model: %w", err)
	}
	return r, nil
}
