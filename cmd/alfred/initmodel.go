package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"alfred/internal/checkpoint"
	"alfred/internal/checkpoint/safetensors"
	"alfred/internal/checkpoint/storage"
	"alfred/internal/falcon"
	"alfred/internal/random"
)

// InitModelOptions are the flags of init-model.
type InitModelOptions struct {
	Config, Tokenizer, Out string
	Seed                   uint64
	Precision              string
}

// AddFlags adds the flags to a flag set.
func (o *InitModelOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Config, "config", "", "config.json of a Falcon model (`file`)")
	f.StringVar(&o.Tokenizer, "tokenizer", "", "tokenizer.json, or a directory or run with one (`path`)")
	f.StringVar(&o.Out, "out", "", "new `directory` for the model")
	f.Uint64Var(&o.Seed, "seed", 1, "root of the random `number`s")
	f.StringVar(&o.Precision, "precision", "", "`type` of the stored weights: float32 or bfloat16 (default: what config.json says)")
}

func newInitModelCommand(a *app) *cobra.Command {
	var opts InitModelOptions
	cmd := &cobra.Command{
		Use:   "init-model --config FILE --tokenizer PATH --out DIR",
		Short: "Write a Falcon model with random weights",
		Long: `Write a Hugging Face directory with a randomly initialised Falcon model: weights of linear layers, embedding and head from a normal
distribution with standard deviation initializer_range, biases 0, layer norms 1 and 0. "architectures" in config.json decides the
head: FalconForCausalLM or FalconForSequenceClassification.

A weight depends on the seed, the name of its tensor and its place in it, and on nothing else: a model with more layers begins with the
same ones. The tokenizer's files are copied along. The directory appears when it is complete.` +
			exitHelp(exitUsage, exitModel, exitStorage),
		Example: `  alfred init-model --config configs/hh-model.json --tokenizer DATA/falcon/tokenizer.json --out models/base
  alfred init-model --config config.json --tokenizer models/other --seed 2 --precision bfloat16 --out models/seed2`,
		Args: cobra.NoArgs,
		RunE: a.action(func(ctx context.Context) error { return runInitModel(ctx, a, opts) }),
	}
	opts.AddFlags(cmd.Flags())
	require(cmd, "config", "tokenizer", "out")
	return cmd
}

func runInitModel(ctx context.Context, a *app, opts InitModelOptions) error {
	cfg, assets, err := newModelParts(a, opts)
	if err != nil {
		return err
	}
	if err := checkNewDirectory(opts.Out); err != nil {
		return err
	}
	if err := writeModel(ctx, cfg, assets, opts.Seed, filepath.Clean(opts.Out)); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return failf(exitStorage, "writing %s: %w", opts.Out, err)
	}
	a.log().Info("wrote a model with random weights", "directory", opts.Out, "parameters", cfg.NumParameters(), "precision", cfg.DType, "head", cfg.Head.String())
	return nil
}

// newModelParts reads what the flags name, and makes it go together.
func newModelParts(a *app, opts InitModelOptions) (cfg falcon.Config, assets []checkpoint.Asset, err error) {
	text, err := os.ReadFile(opts.Config)
	if err != nil {
		return cfg, nil, fail(exitUsage, err)
	}
	cfg, warnings, err := falcon.ParseConfig(text)
	if err != nil {
		return cfg, nil, failf(exitUsage, "%s: %w", opts.Config, err)
	}
	for _, w := range warnings {
		a.log().Warn(w, "file", opts.Config)
	}
	switch opts.Precision {
	case "":
	case "float32", "bfloat16":
		cfg.DType = opts.Precision
	default:
		return cfg, nil, failf(exitUsage, "--precision %q: want float32 or bfloat16", opts.Precision)
	}
	tok, err := loadTokenizer(opts.Tokenizer)
	if err != nil {
		return cfg, nil, err
	}
	if n := tok.VocabSize(); n > cfg.VocabSize {
		return cfg, nil, failf(exitModel, "the tokenizer %s has %d entries, and vocab_size in %s is only %d: the model could not read the last ones", opts.Tokenizer, n, opts.Config, cfg.VocabSize)
	}
	if eod, ok := tok.EOD(); !ok {
		a.log().Warn("the tokenizer has no <|endoftext|>, which training needs", "tokenizer", opts.Tokenizer)
	} else if id := int(eod); cfg.EOSTokenID == nil || *cfg.EOSTokenID != id {
		if cfg.EOSTokenID != nil {
			a.log().Warn("eos_token_id is set to the tokenizer's <|endoftext|>", "was", *cfg.EOSTokenID, "is", id)
		}
		cfg.EOSTokenID = &id
	}
	cfg = checkpoint.Padded(cfg, tok)
	assets, err = checkpoint.TokenizerFiles(opts.Tokenizer)
	return cfg, assets, fail(exitModel, err)
}

// checkNewDirectory refuses a directory that holds anything.
func checkNewDirectory(path string) error {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return failf(exitUsage, "--out: %w", err)
	case len(entries) > 0:
		return failf(exitUsage, "--out %s is not empty: choose a new directory", path)
	}
	return nil
}

// writeModel writes the model to a directory that appears when it is complete.
func writeModel(ctx context.Context, cfg falcon.Config, assets []checkpoint.Asset, seed uint64, out string) (err error) {
	fsys := storage.OS
	if err := storage.MkdirAll(fsys, filepath.Dir(out)); err != nil {
		return err
	}
	temp := storage.TempName(out)
	if err := fsys.Mkdir(temp); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = fsys.RemoveAll(temp) // err is what the caller must hear
		}
	}()
	dtype := safetensors.F32
	if cfg.DType == "bfloat16" {
		dtype = safetensors.BF16
	}
	var specs []safetensors.Spec
	for _, t := range cfg.Tensors() {
		specs = append(specs, safetensors.Spec{Name: t.Name, DType: dtype, Shape: t.Shape})
	}
	err = safetensors.WriteModel(fsys, temp, specs, 0, func(spec safetensors.Spec, to io.Writer) error {
		return writeInitialWeights(ctx, spec, cfg.InitializerRange, seed, to)
	})
	if err != nil {
		return err
	}
	if err := writeNew(fsys, filepath.Join(temp, "config.json"), func(to io.Writer) error {
		_, err := to.Write(cfg.JSON())
		return err
	}); err != nil {
		return err
	}
	for _, asset := range assets {
		if err := writeNew(fsys, filepath.Join(temp, asset.Name), func(to io.Writer) error { return copyFile(to, asset.Path) }); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := fsys.Remove(out); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty directory stands in the way of a rename
		return err
	}
	return storage.CommitDir(fsys, temp, out)
}

// writeNew writes a file of a directory that nobody sees yet.
func writeNew(fsys storage.FS, path string, write func(io.Writer) error) error {
	file, err := fsys.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}

func copyFile(to io.Writer, path string) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(to, from)
	return err
}

// writeInitialWeights writes the elements of one tensor: matrices are normal with the given standard deviation, vectors are the
// ones of layer-norm weights and the zeros of biases.
func writeInitialWeights(ctx context.Context, spec safetensors.Spec, deviation float64, seed uint64, to io.Writer) error {
	total := 1
	for _, d := range spec.Shape {
		total *= d
	}
	constant := 0.0
	if strings.HasSuffix(spec.Name, ".weight") {
		constant = 1
	}
	element := func(int) float64 { return constant }
	if len(spec.Shape) > 1 {
		draw := initialNormal(spec.Name, seed)
		element = func(i int) float64 { return deviation * draw(i) }
	}
	const part = 1 << 16 // elements that one goroutine computes at a time
	values := make([]float64, min(total, part*runtime.GOMAXPROCS(0)))
	data := make([]byte, len(values)*spec.DType.Bits()/8)
	for first := 0; first < total; first += len(values) {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(len(values), total-first)
		var group sync.WaitGroup
		for lo := 0; lo < n; lo += part {
			group.Go(func() {
				for i := lo; i < min(lo+part, n); i++ {
					values[i] = element(first + i)
				}
			})
		}
		group.Wait()
		size := n * spec.DType.Bits() / 8
		if err := safetensors.Encode(data[:size], spec.DType, values[:n]); err != nil {
			return fmt.Errorf("tensor %s: %w", spec.Name, err)
		}
		if _, err := to.Write(data[:size]); err != nil {
			return err
		}
	}
	return nil
}

// initialNormal gives element i of the standard normal numbers of a tensor. Their address is a hash of the tensor's name, of which
// 52 bits are used (32 as the iteration, 20 as the upper bits of the sequence), and the element (44 bits: no tensor is larger). So a
// tensor depends neither on the other tensors nor on how they are laid out.
func initialNormal(name string, seed uint64) func(i int) float64 {
	hash := fnv.New64a()
	hash.Write([]byte(name))
	h := hash.Sum64()
	key := random.Key{Seed: seed, Purpose: random.Init}
	return func(i int) float64 {
		return key.Normal(uint32(h), uint32(h>>44)<<12|uint32(uint64(i)>>32), uint32(i))
	}
}
