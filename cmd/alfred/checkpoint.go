package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"alfred/internal/checkpoint"
	"alfred/internal/checkpoint/storage"
	"alfred/internal/rundir"
	"alfred/internal/tensor"
)

func newCheckpointCommand(a *app) *cobra.Command {
	return group("checkpoint", "Look at, verify and export checkpoints and models",
		"  alfred checkpoint inspect runs/ppo\n  alfred checkpoint verify runs/ppo\n  alfred checkpoint export runs/ppo --model policy --out models/mine",
		newCheckpointInspectCommand(a), newCheckpointVerifyCommand(a), newCheckpointExportCommand(a))
}

// InspectOptions are the flags of checkpoint inspect.
type InspectOptions struct {
	Which, Tensor, Npy string
}

// AddFlags adds the flags to a flag set.
func (o *InspectOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Tensor, "tensor", "", "print one tensor, by its Hugging Face `name`")
	f.StringVar(&o.Npy, "npy", "", "write that tensor to a numpy `file` (float32) instead")
	f.StringVar(&o.Which, "which", "", "with --tensor: which model of a checkpoint: policy, value or reward (`name`)")
}

func newCheckpointInspectCommand(a *app) *cobra.Command {
	var opts InspectOptions
	cmd := &cobra.Command{
		Use:   "inspect DIR",
		Short: "Show what a checkpoint, a run or a model holds",
		Long: `Show what is in a checkpoint (of a run: in its newest good one), or in a model directory: step, layout, models with their sizes,
optimizer state, files; or the numbers of one tensor.` + exitHelp(exitUsage, exitModel, exitStorage, exitPipe),
		Example: "  alfred checkpoint inspect runs/ppo\n  alfred checkpoint inspect runs/ppo/checkpoints/000020\n  alfred checkpoint inspect models/base --tensor transformer.ln_f.weight",
		Args:    cobra.ExactArgs(1),
		RunE: a.actionOn(func(ctx context.Context, args []string) error {
			if opts.Tensor != "" || opts.Npy != "" {
				return runInspectTensor(a, args[0], opts)
			}
			return runCheckpointInspect(ctx, a, args[0])
		}),
	}
	opts.AddFlags(cmd.Flags())
	return cmd
}

// runInspectTensor prints a tensor, rows and columns in the middle left out, or writes it for numpy.
func runInspectTensor(a *app, dir string, opts InspectOptions) error {
	if opts.Tensor == "" {
		return fail(exitUsage, errors.New("--npy needs --tensor NAME"))
	}
	which, err := chosenModel("which", opts.Which)
	if err != nil {
		return err
	}
	m, err := checkpoint.OpenModel(dir, which, checkpoint.SkipFiniteCheck())
	if err != nil {
		return err
	}
	defer m.Close()
	d, err := m.Tensor(opts.Tensor)
	if err != nil {
		return err
	}
	if opts.Npy == "" {
		return a.print(fmt.Appendf(nil, "%s %v\n%v\n", opts.Tensor, d.Shape(), d))
	}
	if err := storage.WriteFile(storage.OS, opts.Npy, d.WriteNpy); err != nil {
		return fail(exitStorage, err)
	}
	return nil
}

func runCheckpointInspect(_ context.Context, a *app, dir string) error {
	c, rejected, err := findCheckpoint(dir)
	if err != nil { // which tells of the rejected ones
		return err
	}
	for _, r := range rejected {
		a.log().Warn(r.String())
	}
	if c != nil {
		return a.print(describeCheckpoint(c))
	}
	m, err := checkpoint.OpenModel(dir)
	if err != nil {
		return err
	}
	defer m.Close()
	for _, w := range m.Warnings {
		a.log().Warn(w, "model", dir)
	}
	sum, err := m.SHA256()
	if err != nil {
		return fail(exitModel, err)
	}
	return a.print(describeModel(m, sum))
}

func newCheckpointVerifyCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR",
		Short: "Compare files with their checksums",
		Long: `Read every file of a checkpoint and compare it with the manifest: size and SHA-256. Of a run directory, all checkpoints are verified.
A model directory has no checksums: its tensors are compared with its config.json, and looked through for numbers that are not finite.` +
			exitHelp(exitUsage, exitModel, exitStorage, exitPipe),
		Example: "  alfred checkpoint verify runs/ppo\n  alfred checkpoint verify runs/ppo/checkpoints/000020",
		Args:    cobra.ExactArgs(1),
		RunE:    a.actionOn(func(ctx context.Context, args []string) error { return runCheckpointVerify(ctx, a, args[0]) }),
	}
}

func runCheckpointVerify(ctx context.Context, a *app, dir string) error {
	steps, err := checkpointsIn(dir)
	if err != nil {
		return err
	}
	if len(steps) == 0 {
		m, err := checkpoint.OpenModel(dir)
		if err != nil {
			return err
		}
		defer m.Close()
		for _, w := range m.Warnings {
			a.log().Warn(w, "model", dir)
		}
		return a.print(fmt.Appendf(nil, "%s: good: %d tensors as config.json says, all numbers finite (a model directory has no checksums)\n", dir, len(m.Config.Tensors())))
	}
	var problems []error
	for _, path := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		c, err := checkpoint.Verify(path)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		files, bytes := sizeOf(c.Manifest.Files, "")
		if err := a.print(fmt.Appendf(nil, "%s: good: %d files, %s\n", path, files, size(bytes))); err != nil {
			return err
		}
	}
	if n := len(problems); n > 0 && len(steps) > 1 {
		problems = append(problems, fmt.Errorf("%d of %d checkpoints are damaged", n, len(steps)))
	}
	return errors.Join(problems...)
}

// ExportOptions are the flags of checkpoint export.
type ExportOptions struct {
	Which, Out, Precision string
}

// AddFlags adds the flags to a flag set.
func (o *ExportOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Which, "model", "", "which model of a checkpoint: policy, value or reward (`name`; default: the policy, or the only one)")
	f.StringVar(&o.Which, "which", "", "the same as --model, as other commands call it")
	f.StringVar(&o.Out, "out", "", "new `directory` for the model")
	f.StringVar(&o.Precision, "precision", "", "`type` to convert the weights to: float32 or bfloat16 (default: as they are)")
	f.Lookup("which").Hidden = true
}

func newCheckpointExportCommand(a *app) *cobra.Command {
	var opts ExportOptions
	cmd := &cobra.Command{
		Use:   "export DIR --out DIR",
		Short: "Write a model as a Hugging Face directory",
		Long: `Write a model of a run, of a checkpoint or of a model directory as a new Hugging Face directory, which transformers loads without code
from elsewhere: whole tensors, a modern config.json, the tokenizer's files. The directory appears when it is complete.` +
			exitHelp(exitUsage, exitModel, exitStorage),
		Example: `  alfred checkpoint export runs/ppo --model policy --out models/mine
  alfred checkpoint export runs/ppo/checkpoints/000020 --model value --out models/value
  alfred checkpoint export models/old --precision bfloat16 --out models/new`,
		Args: cobra.ExactArgs(1),
		RunE: a.actionOn(func(ctx context.Context, args []string) error { return runCheckpointExport(ctx, a, args[0], opts) }),
	}
	opts.AddFlags(cmd.Flags())
	cmd.MarkFlagsMutuallyExclusive("model", "which")
	require(cmd, "out")
	return cmd
}

func runCheckpointExport(_ context.Context, a *app, dir string, opts ExportOptions) error {
	precision := tensor.Invalid
	switch opts.Precision {
	case "":
	case "float32":
		precision = tensor.Float32
	case "bfloat16":
		precision = tensor.BFloat16
	default:
		return failf(exitUsage, "--precision %q: want float32 or bfloat16", opts.Precision)
	}
	which, err := chosenModel("model", opts.Which)
	if err != nil {
		return err
	}
	if err := checkNewDirectory(opts.Out); err != nil {
		return err
	}
	m, err := checkpoint.OpenModel(dir, which)
	if err != nil {
		return err
	}
	defer m.Close()
	warnings, err := checkpoint.Export(nil, m, opts.Out, precision)
	for _, w := range append(m.Warnings, warnings...) {
		a.log().Warn(w, "model", dir)
	}
	if err != nil {
		return err
	}
	a.log().Info("exported", "from", m.Dir, "to", opts.Out, "parameters", m.Config.NumParameters())
	return nil
}

// checkpointsIn lists the checkpoints of a run, or the directory itself if it is one; none for a model directory.
func checkpointsIn(dir string) (paths []string, err error) {
	if has(dir, "manifest.json") {
		return []string{dir}, nil
	}
	if has(dir, "config.json") {
		return nil, nil
	}
	folder := rundir.Dir(dir).Checkpoints()
	entries, err := os.ReadDir(folder)
	if err != nil {
		if _, statErr := os.Stat(dir); statErr != nil {
			return nil, fail(exitModel, statErr)
		}
		return nil, failf(exitModel, "%s is no run, no checkpoint and no model: it holds neither checkpoints nor manifest.json nor config.json", dir)
	}
	for _, e := range entries {
		if step, err := strconv.Atoi(e.Name()); err == nil && checkpoint.Name(step) == e.Name() {
			paths = append(paths, filepath.Join(folder, e.Name()))
		}
	}
	if len(paths) == 0 {
		return nil, failf(exitModel, "%s has no checkpoints yet", dir)
	}
	return paths, nil
}

// findCheckpoint opens the checkpoint at dir: the newest good one if it is a run; nil if it is a model directory.
func findCheckpoint(dir string) (*checkpoint.Checkpoint, []checkpoint.Rejected, error) {
	paths, err := checkpointsIn(dir)
	if err != nil || len(paths) == 0 {
		return nil, nil, err
	}
	if paths[0] == dir {
		c, err := checkpoint.Verify(dir)
		return c, nil, err
	}
	return checkpoint.Latest(rundir.Dir(dir).Checkpoints())
}

func has(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

func describeCheckpoint(c *checkpoint.Checkpoint) []byte {
	m := c.Manifest
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s  %s\n", name, fmt.Sprintf(format, args...))
	}
	line("checkpoint", "%s", c.Dir)
	line("stage", "%s", m.Stage)
	line("step", "%d", m.Step)
	line("written by", "tensor %d, pipeline %d, data %d", m.Layout.Tensor, m.Layout.Pipeline, m.Layout.Data)
	for _, model := range m.Models {
		_, bytes := sizeOf(m.Files, model.Name+"/")
		line("model", "%s: %d tensors, %d parameters, %s, %s", model.Name, len(model.Tensors), parametersOf(model), model.DType, size(bytes))
		if o := model.Optimizer; o != nil {
			_, bytes := sizeOf(m.Files, "optimizer/"+model.Name+"/")
			line("optimizer", "%s: %d updates, %s, %s, %s", model.Name, o.Steps, strings.Join(o.Kinds, " "), o.DType, size(bytes))
		}
	}
	files, bytes := sizeOf(m.Files, "")
	line("files", "%d, %s, all as the manifest says", files, size(bytes))
	line("config", "SHA-256 %s", m.ConfigHash)
	return []byte(b.String())
}

func describeModel(m *checkpoint.Model, sum string) []byte {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s  %s\n", name, fmt.Sprintf(format, args...))
	}
	c := m.Config
	line("model", "%s", m.Dir)
	line("head", "%v", c.Head)
	if c.Role != "" {
		line("role", "%s", c.Role)
	}
	line("parameters", "%d in %d tensors", c.NumParameters(), len(c.Tensors()))
	line("stored as", "%s", c.DType)
	line("layers", "%d, hidden size %d, feed-forward size %d", c.NumLayers, c.HiddenSize, c.FFNSize)
	line("heads", "%d, of key and value %d", c.NumHeads, c.NumKVHeads)
	line("vocabulary", "%d", c.VocabSize)
	line("context", "%d tokens", c.MaxPositions)
	if n := c.Normalisation; n != nil {
		line("score", "%g * raw + %g", n.Gain, n.Bias)
	}
	line("contents", "SHA-256 %s", sum)
	return []byte(b.String())
}

// sizeOf counts the files whose names begin with prefix, and their bytes.
func sizeOf(files []checkpoint.FileEntry, prefix string) (n int, bytes int64) {
	for _, f := range files {
		if strings.HasPrefix(f.Name, prefix) {
			n++
			bytes += f.Size
		}
	}
	return n, bytes
}

func parametersOf(c checkpoint.Contents) (total int64) {
	for _, t := range c.Tensors {
		n := int64(1)
		for _, d := range t.Shape {
			n *= int64(d)
		}
		total += n
	}
	return total
}

// size is a number of bytes for people.
func size(bytes int64) string {
	switch {
	case bytes < 10_000:
		return fmt.Sprintf("%d bytes", bytes)
	case bytes < 10_000_000:
		return fmt.Sprintf("%.1f kB", float64(bytes)/1e3)
	case bytes < 10_000_000_000:
		return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(bytes)/1e9)
}
