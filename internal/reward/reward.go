// Package reward scores responses: trajectories in, one number each. A score comes from a reward model, from a rule about the
// text, or from an HTTP service; whoever asks cannot tell which.
package reward

import (
	"context"

	"alfred/internal/nn"
	"alfred/internal/pipeline"
	"alfred/internal/rollout"
)

// Item is a response to be scored.
type Item struct {
	rollout.Trajectory
	PromptText, ResponseText string // decoded; the response without its end-of-document token. Empty when there is no tokenizer.
	Read                     int    // position, in prompt and response together, at which a reward model is read
}

// Scorer gives scores. All ranks call Score with the same items, and all get the same scores, in order.
type Scorer interface {
	Score(ctx context.Context, items []Item) ([]float64, error)
}

// Model is a reward model: a score head on a language model's body.
type Model struct {
	Executor *pipeline.Executor
	Replicas pipeline.Replicas
	// Gain and Bias calibrate the head's output: score = Gain·output + Bias. They are 1 and 0 unless the model is normalised.
	Gain, Bias float64
}

// Score reads the model at each item's position. What comes after the position cannot matter, so it is cut off.
func (m *Model) Score(ctx context.Context, items []Item) ([]float64, error) {
	units := make([]pipeline.Unit, len(items))
	for i, it := range items {
		units[i] = pipeline.Single(i, nn.Sequence{IDs: it.Tokens()[:it.Read+1], From: it.Read, To: it.Read + 1})
	}
	results, err := m.Replicas.Score(ctx, m.Executor, m.Replicas.Plan(units))
	if err != nil {
		return nil, err
	}
	scores := make([]float64, len(items))
	for i, r := range results {
		scores[i] = m.Gain*r[0].Value[0] + m.Bias
	}
	return scores, nil
}
