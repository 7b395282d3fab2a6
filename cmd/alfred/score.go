package main

import (
	"context"
	"encoding/json"
	"math"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"alfred/internal/falcon"
	"alfred/internal/nn"
	"alfred/internal/pipeline"
	"alfred/internal/telemetry"
	"alfred/internal/tensor"
)

// ScoreOptions are the flags of score.
type ScoreOptions struct {
	Model         ModelOptions
	Input, Output string
	AppendEOD     bool
	Batch         int
}

// AddFlags adds the flags to a flag set.
func (o *ScoreOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Input, "input", "-", "JSONL `file` to score; - is standard input")
	f.StringVar(&o.Output, "output", "-", "`file` for the results; - is standard output")
	f.BoolVar(&o.AppendEOD, "append-eod", false, "append the end-of-document token to each sequence that does not end with it")
	f.IntVar(&o.Batch, "micro-batch-tokens", 4096, "most `tokens` of one forward pass; a longer sequence has one to itself")
}

func newScoreCommand(a *app) *cobra.Command {
	var opts ScoreOptions
	cmd := &cobra.Command{
		Use:   "score --model DIR",
		Short: "Log-probs of sequences, or scores of a reward model",
		Long: `Compute the log-prob of each token of given sequences, or, with a reward or value model, their scores.

Lines in:   {"text": "..."} or {"ids": [...]}, and "id" if you like; other keys are ignored
Lines out:  {"id", "ids", "logprobs": [null, ...], "sum"}    language model: log p of each token given those before it
            {"id", "ids", "score", "raw"}                    reward model: the head's output at the last token (raw), and the
                                                             same with the model's own gain and bias applied (score)

The order is that of the input; "id" is the one given, or else the number of the line. The text of special tokens is text like any other.
Nothing is appended unless --append-eod says so; reward models are usually trained to be read at the end-of-document token.
Weights are converted to float32. All lines are checked before the first one is scored. An output file appears when it is complete.` +
			exitHelp(exitUsage, exitData, exitModel, exitMemory, exitNumerical, exitStorage, exitPipe),
		Example: `  alfred score --model models/base --input texts.jsonl --output logprobs.jsonl
  echo '{"text": "Hello there."}' | alfred score --model runs/sft
  alfred score --model runs/reward --append-eod < answers.jsonl`,
		RunE: a.action(func(ctx context.Context) error { return runScore(ctx, a, opts) }),
	}
	opts.Model.addTo(cmd)
	opts.AddFlags(cmd.Flags())
	return cmd
}

// scoreItem is a sequence to score.
type scoreItem struct {
	row row // without its text
	id  json.RawMessage
	ids []int32
}

func runScore(ctx context.Context, a *app, opts ScoreOptions) error {
	if opts.Batch < 1 {
		return failf(exitUsage, "--micro-batch-tokens %d: at least 1 is needed", opts.Batch)
	}
	a.toFile = opts.Output != "-"
	m, err := opts.Model.open(a)
	if err != nil {
		return err
	}
	defer m.Close()
	if opts.AppendEOD && m.eod < 0 {
		return failf(exitUsage, "--append-eod: neither a tokenizer nor config.json of %s tells which token ends a document", m.Dir)
	}
	items, err := readScoreItems(ctx, a, m, opts)
	if err != nil {
		return err
	}
	out, err := a.openOutput(opts.Output)
	if err != nil {
		return err
	}
	defer out.abort()
	if err := scoreAll(ctx, a, m, opts, items, out); err != nil {
		return err
	}
	return out.commit()
}

// readScoreItems reads the input to its end and reports all that is wrong with it.
func readScoreItems(ctx context.Context, a *app, m *openModel, opts ScoreOptions) (items []scoreItem, err error) {
	in, closeInput, err := a.openLines(ctx, opts.Input)
	if err != nil {
		return nil, err
	}
	defer closeInput()
	items, err = readRows(in, func(r row) (scoreItem, error) { return readScoreItem(r, m, opts.AppendEOD) })
	if len(items) == 0 && err == nil {
		a.log().Warn("there are no lines to score", "input", in.name)
	}
	m.reportLosses(a)
	return items, err
}

func readScoreItem(r row, m *openModel, appendEOD bool) (item scoreItem, err error) {
	if err := r.parse(); err != nil {
		return item, err
	}
	item.row = row{name: r.name, number: r.number}
	if item.id, err = r.id(); err != nil {
		return item, err
	}
	key, err := r.either("text", "ids")
	if err != nil {
		return item, err
	}
	if key == "text" {
		item.ids, err = m.encode(r, key)
	} else {
		item.ids, err = r.ids(key)
	}
	if err == nil {
		err = m.checkIDs(r, item.ids)
	}
	if err != nil {
		return item, err
	}
	if n := len(item.ids); appendEOD && (n == 0 || item.ids[n-1] != m.eod) {
		item.ids = append(item.ids, m.eod)
	}
	switch n := len(item.ids); {
	case n == 0:
		return item, r.errorf("there are no tokens to score")
	case n > m.Config.MaxPositions:
		return item, r.errorf("%d tokens are more than the model's context of %d", n, m.Config.MaxPositions)
	}
	return item, nil
}

// scoreAll scores the items and writes their lines in order.
func scoreAll(ctx context.Context, a *app, m *openModel, opts ScoreOptions, items []scoreItem, out *output) error {
	if len(items) == 0 {
		return nil
	}
	var units []pipeline.Unit
	longest := 0
	var total int64
	for i, item := range items {
		n := len(item.ids)
		q := nn.Sequence{IDs: item.ids, To: n - 1} // read wherever a token follows
		if m.Config.Head == falcon.SequenceClassification {
			q.From, q.To = n-1, n
		}
		units = append(units, pipeline.Single(i, q))
		longest = max(longest, n)
		total += int64(n)
	}
	micros := pipeline.Partition(units, 1, opts.Batch)[0]
	exec, err := opts.Model.load(ctx, a, m, tensor.Float32, longest, func(e *pipeline.Executor) error {
		return e.Score(ctx, largest(micros), func(int, pipeline.Output) {})
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done, tokens := 0, int64(0)
	err = exec.Score(ctx, micros, func(i int, result pipeline.Output) {
		result.Each(func(j, lo, hi int) {
			item := items[micros[i].Units[j].ID]
			tokens += int64(len(item.ids))
			if err := writeScore(out, m, item, result, lo, hi); err != nil {
				stop(err)
			}
		})
		if err := out.flush(); err != nil {
			stop(err)
		}
		done += len(micros[i].Units)
		a.telemetry().Progress(telemetry.Progress{Task: "score", Unit: "sequences", Done: int64(done), Total: int64(len(items)), Tokens: tokens})
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause // what stopped the scoring, or came too late for that
	}
	if err == nil {
		a.log().Info("scored", "sequences", done, "tokens", total)
	}
	return err
}

// largest is a micro-batch that needs as much memory as any of the given ones: what an operation needs grows with tokens, sequences
// and rows read, and here each is as large as the tokens of the largest allow.
func largest(micros []pipeline.MicroBatch) []pipeline.MicroBatch {
	most := 0
	for _, m := range micros {
		tokens := 0
		for _, u := range m.Units {
			tokens += u.Tokens()
		}
		most = max(most, tokens)
	}
	unit := pipeline.Unit{}
	for range most {
		unit.Sequences = append(unit.Sequences, nn.Sequence{IDs: []int32{0}, To: 1})
	}
	return []pipeline.MicroBatch{{Units: []pipeline.Unit{unit}}}
}

// writeScore writes the line of one item, whose results are at [lo, hi).
func writeScore(out *output, m *openModel, item scoreItem, result pipeline.Output, lo, hi int) error {
	line := append(append([]byte(`{"id":`), item.id...), `,"ids":`...)
	line = appendIDs(line, item.ids)
	numbers := result.LogProb
	if m.Config.Head == falcon.SequenceClassification {
		numbers = result.Value
	}
	numbers = numbers[lo:hi]
	for _, x := range numbers {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return failf(exitNumerical, "%s:%d: the model computes %v: its weights are damaged, or too large for float32", item.row.name, item.row.number, x)
		}
	}
	if m.Config.Head == falcon.SequenceClassification {
		raw := numbers[0]
		score := raw
		if n := m.Config.Normalisation; n != nil {
			score = n.Gain*raw + n.Bias
		}
		line = appendNumber(append(line, `,"score":`...), score)
		line = appendNumber(append(line, `,"raw":`...), raw)
	} else {
		line = append(line, `,"logprobs":[null`...)
		sum := 0.0
		for _, x := range numbers {
			line = appendNumber(append(line, ','), x)
			sum += x
		}
		line = appendNumber(append(line, `],"sum":`...), sum)
	}
	_, err := out.Write(append(line, '}', '\n'))
	return err
}

// appendNumber appends the shortest decimal that gives x again, as a float32 if it is one.
func appendNumber(b []byte, x float64) []byte {
	bits := 64
	if float64(float32(x)) == x {
		bits = 32
	}
	return strconv.AppendFloat(b, x, 'g', -1, bits)
}
