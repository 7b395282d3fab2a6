package dataset

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"alfred/internal/config"
	"alfred/internal/dataset/source"
)

// Tokenizer is what the package needs of a tokenizer. Encode must treat the text of special tokens as plain text and be
// safe for concurrent use. If the tokenizer also has Decode(ids []int32) string, reports show
// samples decoded from their ids; if it has Dropped(text string) int, the bytes that its ids do not hold are counted.
type Tokenizer interface {
	Encode(text string) []int32
}

// Values of Options.LossTurns.
const (
	LossLast = "last" // the response only
	LossAll  = "all"  // the assistant's earlier turns as well
)

// Options holds what is common to all sources.
type Options struct {
	Root      string    // relative paths start here (config key data_root)
	Tokenizer Tokenizer // may be nil when all prompts are given as ids
	EOD       int32     // id of the end-of-document token, appended to responses
	VocabSize int       // bound of given prompt_ids; 0 leaves it unchecked

	MaxLen       int     // SFT, Ranked: most tokens of prompt, response and EOD; 0 is no limit
	PromptMaxLen int     // Prompt: most tokens; 0 is no limit
	EvalShare    float64 // share of conversations held out, in [0, 1)
	Seed         uint64  // of the order of training samples
	LossTurns    string  // SFT: LossLast ("" too) or LossAll
}

// ErrSpec is wrapped by errors that the config causes, not the data: unknown names, combinations that cannot work, templates.
var ErrSpec = errors.New("bad data entry")

// ErrData is wrapped by every error that the data cause.
var ErrData = source.ErrData

// ErrTooManyBad says that over 1 % of the rows of a source are malformed. It wraps ErrData.
var ErrTooManyBad = fmt.Errorf("too many malformed rows: %w", ErrData)

// mostMalformed is the share of malformed rows that a source may have.
const mostMalformed = 0.01

// Set is a mixture of data sets as samples of one kind, split into training and held-out samples. All of it is in memory.
type Set[T Sample] struct {
	train   *Stream[T]
	heldOut []T
	report  *Report
}

// Train returns the endless stream of training samples.
func (s *Set[T]) Train() *Stream[T] { return s.train }

// HeldOut returns the held-out samples of all sources in an order that depends on their prompts only.
func (s *Set[T]) HeldOut() []T { return s.heldOut }

// Fingerprint identifies what the samples are made of: SHA-256, in hexadecimal, over the content of the files in order, the
// templates, and the settings that select and shape samples. Paths, the seed and the tokenizer are not part of it.
func (s *Set[T]) Fingerprint() string { return s.report.Fingerprint }

// Report says what was read, kept and dropped.
func (s *Set[T]) Report() *Report { return s.report }

// Open reads the sources of a config into samples of type T. Sources of weight 0 are not read. Errors of all sources come
// together; those that the data cause wrap ErrData (and ErrTooManyBad), those that the entries cause wrap ErrSpec.
func Open[T Sample](ctx context.Context, specs []config.Source, opts Options) (*Set[T], error) {
	set, err := open[T](ctx, specs, opts)
	if err != nil {
		return nil, err
	}
	return set, nil
}

// open is Open; beside an error the set holds the report of what was read.
func open[T Sample](ctx context.Context, specs []config.Source, opts Options) (*Set[T], error) {
	set := &Set[T]{report: &Report{}}
	if err := opts.check(); err != nil {
		return set, err
	}
	var (
		problems []error
		parts    [][]T
		weights  []float64
		held     []placed[T]
		mark     = newFingerprint(opts, useOf[T]())
		seen     = map[identity]struct{}{}
	)
	for i, spec := range specs {
		if spec.Weight == 0 {
			continue
		}
		read, err := readSource[T](ctx, spec, opts, seen)
		if read != nil {
			set.report.Sources = append(set.report.Sources, read.report)
		}
		if err != nil {
			if ctx.Err() != nil {
				return set, fmt.Errorf("dataset: %w", ctx.Err())
			}
			problems = append(problems, fmt.Errorf("data.%d (%s %s): %w", i, spec.Source, spec.Path, err))
			continue
		}
		mark.source(spec, read)
		parts, weights = append(parts, read.train), append(weights, spec.Weight)
		held = append(held, read.held...)
	}
	if len(problems) == 0 && len(parts) == 0 {
		problems = append(problems, fmt.Errorf("dataset: no source of a weight above 0: %w", ErrSpec))
	}
	if len(problems) > 0 {
		return set, errors.Join(problems...)
	}
	set.train = newStream(parts, weights, opts.Seed)
	set.heldOut = sortHeldOut(held)
	set.report.Fingerprint = mark.sum()
	for i := range set.report.Sources {
		set.report.Sources[i].Share = set.train.mix.share(i)
	}
	return set, nil
}

func useOf[T Sample]() source.Use {
	var zero T
	return zero.use()
}

func (o Options) check() error {
	var problems []error
	bad := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("dataset: "+format+": %w", append(args, ErrSpec)...))
	}
	if !(o.EvalShare >= 0 && o.EvalShare < 1) {
		bad("eval_share %v is outside [0, 1)", o.EvalShare)
	}
	if !slices.Contains([]string{"", LossLast, LossAll}, o.LossTurns) {
		bad("loss_turns %q is neither last nor all", o.LossTurns)
	}
	if o.MaxLen < 0 || o.PromptMaxLen < 0 {
		bad("a negative length limit")
	}
	return errors.Join(problems...)
}

// checkSpec finds everything in an entry that cannot work for a use.
func checkSpec(spec config.Source, use source.Use) error {
	kind := source.Kind(spec.Source)
	if !slices.Contains(source.Kinds, kind) {
		return fmt.Errorf("source %q is unknown (%v): %w", spec.Source, source.Kinds, ErrSpec)
	}
	var problems []error
	bad := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf(format+": %w", append(args, ErrSpec)...))
	}
	if spec.Weight < 0 || math.IsNaN(spec.Weight) || math.IsInf(spec.Weight, 0) {
		bad("weight %v is not a number of 0 or more", spec.Weight)
	}
	if !slices.Contains([]string{"", "skip", "stop"}, spec.OnBad) {
		bad("on_bad %q is neither skip nor stop", spec.OnBad)
	}
	if !kind.Serves(use) {
		bad("it holds no ranked responses; reward training takes oasst1, hh-rlhf and pairs")
	}
	if use == source.ForSFT && (kind == source.HHRLHF || kind == source.Pairs) && spec.Use != "chosen" {
		bad("it is preference data; say use: chosen to fine-tune on the chosen responses")
	}
	if spec.Render == "few_shot" && kind != source.NatInst {
		bad("few_shot shows the examples of a natinst task; this source has none")
	}
	if spec.Shots < 0 {
		bad("shots %d is negative", spec.Shots)
	}
	if len(spec.Languages) > 0 && !kind.HasLanguage() {
		bad("its rows name no language; remove languages")
	}
	return errors.Join(problems...)
}
