package rlhf

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"

	"alfred/internal/dataset"
	"alfred/internal/nn"
	"alfred/internal/pipeline"
	"alfred/internal/rollout"
	"alfred/internal/telemetry"
)

// pageSize is the number of tokens of a page of the key/value cache.
const pageSize = 16

// limits are those of the run's rollouts.
func (r *rank) limits() rollout.Limits {
	t, b := &r.cfg.Trajectory, &r.cfg.Batching
	most := r.cfg.Trainer.NumRollouts // of one replica, more slots than responses would stay empty
	if n := r.cfg.Normalise; n != nil {
		most = n.Samples
	}
	slots := min(b.RolloutSlots, (most+r.groups.Data.Size()-1)/r.groups.Data.Size())
	return rollout.Limits{
		Slots: slots, Tokens: max(b.MicroBatchTokens, slots), PageSize: pageSize,
		Longest: t.PromptMaxLen + t.ContinuationMaxLen, EOD: r.in.eod,
	}
}

func (r *rank) draw() nn.Draw {
	t := &r.cfg.Trajectory
	return nn.Draw{Temperature: t.Temperature, TopK: t.TopK, TopP: t.TopP}
}

// generate samples one response per prompt, in a cache of its own.
func (r *rank) generate(ctx context.Context, m *model, prompts []dataset.Prompt, sampling rollout.Sampling) ([]rollout.Trajectory, error) {
	d, err := rollout.Open(m.exec, r.limits())
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return r.generateIn(ctx, d, r.limits(), prompts, sampling)
}

// generateIn samples one response per prompt. The data ranks take equal stretches of the prompts, so that responses to one prompt,
// which follow each other, share its pages; all ranks end up with all trajectories.
func (r *rank) generateIn(ctx context.Context, d *pipeline.Decoding, limits rollout.Limits, prompts []dataset.Prompt, sampling rollout.Sampling) ([]rollout.Trajectory, error) {
	end := r.rec.Phase("rollout")
	t, data := &r.cfg.Trajectory, r.groups.Data
	var requests []rollout.Request
	for s := data.Rank() * len(prompts) / data.Size(); s < (data.Rank()+1)*len(prompts)/data.Size(); s++ {
		requests = append(requests, rollout.Request{Sequence: s, Prompt: prompts[s].IDs, Max: t.ContinuationMaxLen, Min: t.ContinuationMinLen})
	}
	mine, stats, err := rollout.Generate(ctx, d, requests, limits, sampling, func(done, tokens int) {
		r.rec.Progress(telemetry.Progress{Task: "rollout", Unit: "responses", Done: int64(done), Total: int64(len(requests)), Tokens: int64(tokens)})
	})
	end(int64(stats.Tokens))
	if err != nil {
		return nil, err
	}
	if data.Size() == 1 {
		return mine, nil
	}
	var wire bytes.Buffer
	if err := gob.NewEncoder(&wire).Encode(mine); err != nil {
		return nil, fmt.Errorf("exchanging trajectories: %w", err)
	}
	parts, err := data.Exchange(wire.Bytes())
	if err != nil {
		return nil, err
	}
	all := make([]rollout.Trajectory, len(prompts))
	for _, part := range parts {
		var theirs []rollout.Trajectory
		if err := gob.NewDecoder(bytes.NewReader(part)).Decode(&theirs); err != nil {
			return nil, fmt.Errorf("exchanging trajectories: %w", err)
		}
		for _, tr := range theirs {
			all[tr.Sequence] = tr
		}
	}
	return all, nil
}
