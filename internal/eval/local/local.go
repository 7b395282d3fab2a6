// Package local evaluates a model in this process: through the paged cache, so that contexts and preambles that requests share are
// computed once.
package local

import (
	"context"
	"fmt"
	"slices"

	"alfred/internal/eval"
	"alfred/internal/eval/task"
	"alfred/internal/nn"
	"alfred/internal/pipeline"
	"alfred/internal/rollout"
	"alfred/internal/tokenizer"
)

// Tokens of one step, of a page of the cache, and sequences generated at a time. They change memory and speed, never answers.
const (
	stepTokens = 2048
	pageSize   = 16
	slots      = 32
)

// Model is a language model on a device.
type Model struct {
	Exec *pipeline.Executor
	Text *tokenizer.Tokenizer
	EOD  int32 // -1 if there is none
}

// Words is a tokenizer that takes the text of special tokens for them, as the harness does.
type Words struct{ *tokenizer.Tokenizer }

// Encode gives the tokens of a text.
func (w Words) Encode(text string) ([]int32, error) { return w.EncodeSpecial(text), nil }

func scoring(longest int) rollout.Limits {
	return rollout.ScoreLimits(max(longest, 1), stepTokens, pageSize)
}

func generation(longest int, eod int32) rollout.Limits {
	return rollout.Limits{Slots: slots, Tokens: stepTokens, PageSize: pageSize, Longest: longest, EOD: eod}
}

var greedy = nn.Draw{Temperature: 1, Greedy: true, TopP: 1}

// Rehearse runs the largest steps that questions can take, on a device that holds nothing.
func Rehearse(ctx context.Context, e *pipeline.Executor, q *eval.Questions) error {
	if err := rollout.RehearseScore(ctx, e, scoring(q.Longest)); err != nil || q.Generation == 0 {
		return err
	}
	return rollout.Rehearse(ctx, e, generation(q.Generation, -1), greedy, nil)
}

// Score scores requests: see eval.Model.
func (m *Model) Score(ctx context.Context, requests []eval.Score, visit func(i int, a task.Answer) error) error {
	if len(requests) == 0 {
		return nil
	}
	longest, all := 0, make([]rollout.ScoreRequest, len(requests))
	for i, r := range requests {
		all[i] = rollout.ScoreRequest{IDs: r.IDs, From: r.From}
		longest = max(longest, len(r.IDs)-1)
	}
	limits := scoring(longest)
	d, err := rollout.Open(m.Exec, limits)
	if err != nil {
		return err
	}
	defer d.Close()
	_, err = rollout.ScoreAll(ctx, d, all, limits, func(i int, s rollout.Score) error {
		a := task.Answer{Greedy: s.Greedy()}
		for _, x := range s.LogProb {
			a.LogLikelihood += x
		}
		return visit(i, a)
	})
	return err
}

// Generate continues prompts: see eval.Model.
func (m *Model) Generate(ctx context.Context, requests []eval.Generate, visit func(i int, text string) error) error {
	if len(requests) == 0 {
		return nil
	}
	longest := 0
	for _, r := range requests {
		longest = max(longest, len(r.Prompt)+r.Most)
	}
	limits := generation(longest, m.EOD)
	d, err := rollout.Open(m.Exec, limits)
	if err != nil {
		return err
	}
	defer d.Close()
	const lot = 8 * slots // answers go out now and then
	for first := 0; first < len(requests); first += lot {
		var asked []rollout.Request
		for i, r := range requests[first:min(first+lot, len(requests))] {
			asked = append(asked, rollout.Request{Sequence: first + i, Prompt: r.Prompt, Max: r.Most, Ends: m.ends(r)})
		}
		trajectories, _, err := rollout.Generate(ctx, d, asked, limits, rollout.Sampling{Draw: greedy}, nil)
		if err != nil {
			return err
		}
		for _, t := range trajectories {
			if err := visit(t.Sequence, m.text(requests[t.Sequence], t.Response)); err != nil {
				return fmt.Errorf("request %d: %w", t.Sequence, err)
			}
		}
	}
	return nil
}

// ends tells whether a response has come to one of the texts that end it.
func (m *Model) ends(r eval.Generate) func(response []int32) bool {
	return func(response []int32) bool {
		text := m.plain(response)
		return eval.Cut(text, r.Stop) != text
	}
}

// text is a response up to what ends it.
func (m *Model) text(r eval.Generate, response []int32) string {
	return eval.Cut(m.plain(response), r.Stop)
}

// plain is the text of tokens, without the special ones.
func (m *Model) plain(ids []int32) string {
	return m.Text.Decode(slices.DeleteFunc(slices.Clone(ids), m.Text.Special))
}
