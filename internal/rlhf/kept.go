package rlhf

import (
	"context"
	"errors"

	"alfred/internal/backend"
	"alfred/internal/config"
	"alfred/internal/nn"
	"alfred/internal/pipeline"
	"alfred/internal/rollout"
)

// The sampler's forward passes are those of the policy's first step, to the bit: the weights are the same, and a row does not depend on
// its batch. So an iteration may keep what they computed, and that step only goes backward.

// keptShare is the part of the machine's memory that a run which keeps activations may need in all.
const keptShare = 0.5

// keeps reports whether the configuration lets rollouts be kept. With several data ranks a sequence is not trained on where it was
// sampled.
func keeps(cfg *config.Config) bool {
	return cfg.Stage == config.PPO && cfg.Batching.KeepRollouts && !cfg.Batching.Recompute && cfg.Trajectory.Replay == "" &&
		cfg.Trainer.OldLogProbs == "rollout" && cfg.Parallel.Data == 1
}

// plan measures what each rank needs, and decides whether rollouts are kept on a machine that has so many bytes (0 if nobody knows).
func (r *run) plan(ctx context.Context, device backend.Device, have int) (sizes []memory, err error) {
	r.in.keep = keeps(r.cfg)
	sizes, err = measure(ctx, r.in, device, r.mesh)
	if err != nil || !r.in.keep {
		return sizes, err
	}
	total := 0
	for _, s := range sizes {
		total += s.total()
	}
	if float64(total) <= keptShare*float64(have) {
		return sizes, nil
	}
	if have > 0 {
		r.log.Info("rollouts are not kept until the policy's first step: with them the run needs too much of the memory", "size", mebibytes(total), "of", mebibytes(have))
	} else {
		r.log.Info("rollouts are not kept until the policy's first step: nobody knows how much memory this machine has", "size", mebibytes(total))
	}
	r.in.keep = false
	return measure(ctx, r.in, device, r.mesh)
}

// keptLimits are the limits of rollouts that are kept.
func (p *ppoStage) keptLimits() rollout.Limits {
	limits := p.limits()
	limits.Keep = p.cfg.Trainer.NumRollouts
	return limits
}

// rehearseKept runs an iteration whose rollouts are kept.
func (p *ppoStage) rehearseKept(ctx context.Context) error {
	return p.rehearsal("iteration with its rollouts kept", func() error {
		return rollout.Rehearse(ctx, p.policy.exec, p.keptLimits(), p.draw(), func(d *pipeline.Decoding) error {
			err := errors.Join(p.reference.scoreLargest(ctx), p.value.trainLargest(ctx, nn.Kept{}))
			if p.reward != nil {
				err = errors.Join(err, p.reward.scoreLargest(ctx))
			}
			return errors.Join(err, p.policy.trainLargest(ctx, nn.Kept{Cache: d.Cache, Slots: []int32{0}}))
		})
	})
}

// keptAt says where d keeps the activations of a trajectory, nowhere if it does not or there is no d.
func keptAt(d *pipeline.Decoding, tr rollout.Trajectory) nn.Kept {
	if d == nil || tr.Slots == nil {
		return nn.Kept{}
	}
	return nn.Kept{Cache: d.Cache, Slots: tr.Slots}
}
