package rlhf

import (
	"context"
	"fmt"

	"alfred/internal/dataset"
	"alfred/internal/falcon"
	"alfred/internal/random"
	"alfred/internal/reward"
	"alfred/internal/rollout"
)

// finish gives a trained reward model the gain and bias with which the samples of a policy score mean 0 and standard
// deviation 1, where the configuration asks for that. They are kept beside the weights, which stay as trained.
func (t *rewardStage) finish(ctx context.Context, st *State) error {
	if t.normaliser == nil {
		return nil
	}
	prompts := make([]dataset.Prompt, t.cfg.Normalise.Samples)
	for i := range prompts {
		prompts[i] = t.in.prompts.Train().At(uint64(i))
	}
	t.normaliser.exec.Scale = 1 / t.cfg.Trajectory.Temperature
	trajectories, err := t.generate(ctx, t.normaliser, prompts, rollout.Sampling{Draw: t.draw(), Key: random.Key{Seed: t.cfg.Run.Seed, Purpose: random.Normalise}})
	if err != nil {
		return fmt.Errorf("normalise: %w", err)
	}
	items := make([]reward.Item, len(trajectories))
	for i, tr := range trajectories {
		items[i] = reward.Item{Trajectory: tr, Read: len(tr.Prompt) + len(tr.Response) - 1}
	}
	raw := &reward.Model{Executor: t.model.exec, Replicas: t.replicas, Gain: 1}
	scores, err := raw.Score(ctx, items)
	if err != nil {
		return fmt.Errorf("normalise: %w", err)
	}
	center, spread := meanStd(scores)
	if !finite(center, spread) || spread == 0 {
		t.log.Error("not normalised: the samples' scores have no spread to scale by", "samples", len(scores), "mean", center, "standard deviation", spread)
		return nil
	}
	t.model.config.Normalisation = &falcon.Normalisation{Gain: 1 / spread, Bias: -center / spread}
	t.log.Info("normalised", "samples", len(scores), "mean", center, "standard deviation", spread)
	return nil
}
