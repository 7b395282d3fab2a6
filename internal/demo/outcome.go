package demo

import (
	"fmt"
	"math"

	"alfred/internal/config"
	"alfred/internal/telemetry"
)

// Number is a metric, with its standard error if that was recorded (NaN otherwise).
type Number struct{ Value, Stderr float64 }

func (n Number) String() string {
	if math.IsNaN(n.Stderr) {
		return fmt.Sprintf("%.3f", n.Value)
	}
	return fmt.Sprintf("%.3f ± %.3f", n.Value, n.Stderr)
}

// Change is a metric as a run recorded it first and last.
type Change struct{ Before, After Number }

// Outcome is what the runs have recorded.
type Outcome struct {
	PolicyLoss           Change // of supervised fine-tuning, on held-out conversations
	RewardLoss, Accuracy Change // of the reward model, on held-out pairs

	// On held-out prompts; before is the model of supervised fine-tuning.
	Score Change
	// Of the responses in the first iteration, before any update, and in the last one.
	KL, EODRate, Length Change
	// The largest of all iterations; promised to be 0. Only the first one has compared anything if the others trained on what the sampler
	// computed.
	RatioError float64
}

// outcome reads the metrics of the three runs.
func (s *story) outcome() (*Outcome, error) {
	o := &Outcome{}
	var problems error
	read := func(stage string, name, stderr telemetry.Name, into *Change) []telemetry.Record {
		path := s.run(stage).Metrics()
		records, err := telemetry.ReadMetrics(path)
		if err == nil && !into.fill(records, name, stderr) {
			err = fmt.Errorf("demo: %s has no %s", path, name)
		}
		if problems == nil {
			problems = err
		}
		return records
	}
	read(config.SFT, telemetry.EvalLoss, "", &o.PolicyLoss)
	read(config.Reward, telemetry.EvalLoss, "", &o.RewardLoss)
	read(config.Reward, telemetry.Accuracy, telemetry.AccuracyStderr, &o.Accuracy)
	read(config.PPO, telemetry.ScoreHeldout, telemetry.ScoreHeldoutStderr, &o.Score)
	read(config.PPO, telemetry.KL, "", &o.KL)
	read(config.PPO, telemetry.EODRate, "", &o.EODRate)
	var ratio Change
	records := read(config.PPO, telemetry.RatioMaxError, "", &ratio)
	for _, r := range records {
		if v, ok := r.Metrics.Lookup(telemetry.RatioMaxError); ok {
			o.RatioError = math.Max(o.RatioError, v.Scalar())
		}
	}
	read(config.PPO, telemetry.ResponseLengthMean, "", &o.Length)
	return o, problems
}

// fill takes the first and the last record that has a metric.
func (c *Change) fill(records []telemetry.Record, name, stderr telemetry.Name) (found bool) {
	for _, r := range records {
		v, ok := r.Metrics.Lookup(name)
		if !ok {
			continue
		}
		n := Number{v.Scalar(), math.NaN()}
		if e, ok := r.Metrics.Lookup(stderr); ok {
			n.Stderr = e.Scalar()
		}
		if !found {
			c.Before = n
		}
		c.After, found = n, true
	}
	return found
}

// Taught says whether PPO has raised the held-out score by more than two standard errors of the difference. The two means are
// of responses to the same prompts, so the error of their difference is, if anything, smaller.
func (o *Outcome) Taught() bool {
	return o.Score.After.Value-o.Score.Before.Value > 2*o.stderr()
}

func (o *Outcome) stderr() float64 { return math.Hypot(o.Score.Before.Stderr, o.Score.After.Stderr) }

// table shows the outcome, stage by stage.
func (o *Outcome) table() telemetry.Table {
	t := telemetry.Table{Title: "What the stages have done, by prompts that no stage was trained on", Header: []string{"stage", "measure", "before", "after"}}
	row := func(stage, measure string, c Change) {
		t.Rows = append(t.Rows, []string{stage, measure, c.Before.String(), c.After.String()})
	}
	row("supervised fine-tuning", "loss, nats per token", o.PolicyLoss)
	row("reward model", "loss, nats per pair", o.RewardLoss)
	row("", "share of pairs that it orders rightly", o.Accuracy)
	row("PPO", "mean score by that reward model", o.Score)
	row("", "KL to the model before PPO, nats per response *", o.KL)
	row("", "share of responses that end by themselves *", o.EODRate)
	row("", "length of responses, tokens *", o.Length)
	return t
}

// verdict explains the table.
func (o *Outcome) verdict() string {
	rise := o.Score.After.Value - o.Score.Before.Value
	text := fmt.Sprintf("* of the responses that PPO trained on, in its first and last iteration; in each of them the ratio was 1 to within %g\n\n", o.RatioError)
	if !o.Taught() {
		return text + fmt.Sprintf("PPO has not raised the score by more than two standard errors: %+.3f ± %.3f\n", rise, o.stderr())
	}
	return text + fmt.Sprintf("PPO has raised the score by %.2f, which is %.0f standard errors.\n", rise, rise/o.stderr())
}
