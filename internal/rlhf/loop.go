package rlhf

import (
	"context"
	"fmt"
	"math"

	"alfred/internal/config"
	"alfred/internal/telemetry"
)

// stage is one of the three stages of training on one rank.
type stage interface {
	// trained lists the models whose weights and optimizer state make a checkpoint.
	trained() []*model
	// load fills the weights; those of trained models come from the checkpoint when the run is resumed.
	load(resumed bool) error
	// begin runs once before the first step of this process.
	begin(ctx context.Context) error
	// rehearse runs every phase at its largest size.
	rehearse(ctx context.Context) error
	// step is one step or iteration. It advances st, except for st.Step.
	step(ctx context.Context, st *State) (*telemetry.Metrics, error)
	// finish runs after the last step, before its checkpoint.
	finish(ctx context.Context, st *State) error
	// evaluate adds what is measured on held-out data.
	evaluate(ctx context.Context, st *State, metrics *telemetry.Metrics) error
}

func newStage(r *rank) (stage, error) {
	switch r.cfg.Stage {
	case config.SFT:
		return newSFT(r)
	case config.Reward:
		return newReward(r)
	case config.PPO:
		return newPPO(r)
	}
	return nil, fmt.Errorf("unknown stage %q", r.cfg.Stage)
}

// loop takes steps until the run is done or asked to stop. begun is called before the first one. save writes a checkpoint, and says
// whether it did; the final one is the last that this process writes.
func (r *rank) loop(ctx context.Context, t stage, st *State, steps int, stop <-chan struct{}, begun func(), save func(final bool) (bool, error)) error {
	tc := &r.cfg.Trainer
	saved := st.Step // where the run goes on from; before its first step there is nothing to save
	if err := t.begin(ctx); err != nil {
		return fmt.Errorf("before step %d: %w", st.Step+1, err)
	}
	if st.Step == 0 && tc.EvalEvery > 0 {
		before := &telemetry.Metrics{}
		if err := t.evaluate(ctx, st, before); err != nil {
			return err
		}
		if before.Len() > 0 {
			r.rec.Step(0, *before, 0)
		}
	}
	for st.Step < steps {
		begun()
		stopping, err := r.agree(requested(stop))
		if err == nil && stopping && st.Step > saved {
			_, err = save(true)
		}
		if err != nil {
			return err
		}
		if stopping {
			return ErrStopped
		}
		seen := st.TokensSeen
		metrics, err := t.step(ctx, st)
		if err != nil {
			return fmt.Errorf("step %d: %w", st.Step+1, err)
		}
		st.Step++
		last := st.Step == steps
		if tc.EvalEvery > 0 && (last || st.Step%tc.EvalEvery == 0) {
			if err := t.evaluate(ctx, st, metrics); err != nil {
				return fmt.Errorf("evaluation after step %d: %w", st.Step, err)
			}
		}
		metrics.SetInt(telemetry.TokensSeen, st.TokensSeen)
		metrics.SetInt(telemetry.SkippedSteps, int64(st.Skipped))
		r.rec.Step(st.Step, *metrics, st.TokensSeen-seen)
		if last {
			if err := t.finish(ctx, st); err != nil {
				return fmt.Errorf("after step %d: %w", st.Step, err)
			}
		}
		if last || st.Step%r.cfg.Checkpoint.Every == 0 {
			done, err := save(last)
			if err != nil {
				return err
			}
			if done {
				saved = st.Step
			}
		}
	}
	return nil
}

func requested(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// update takes one optimizer step with the gradients that were accumulated, unless a loss or the gradient is not finite:
// then nothing changes, on any rank, and the step is counted. The loss must be the same on all ranks.
func (m *model) update(st *State, loss float64, samples []string) (rate, norm float64, err error) {
	if m.observe != nil {
		m.observe(m)
	}
	applied := false
	rate, norm = m.learningRate(st.Step), math.NaN() // the norm of a step that is not taken
	if finite(loss) {
		if norm, applied, err = m.opt.Update(m.stream, rate); err != nil {
			return rate, norm, err
		}
	}
	if applied {
		st.good(m.role)
		st.Updates[m.role] = m.opt.Steps()
		return rate, norm, nil
	}
	m.log.Warn("update dropped: NaN, infinite or far too large numbers", "model", m.role, "loss", loss, "grad_norm", norm, "samples", fmt.Sprint(samples))
	return rate, norm, st.bad(m.role, samples)
}
