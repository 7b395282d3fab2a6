package rlhf

import (
	"context"
	"errors"
	"time"

	"alfred/internal/config"
	"alfred/internal/falcon"
	"alfred/internal/reward"
)

// newPPO allocates the models of a PPO run: the policy and its frozen reference, the value model, and the reward model if it
// is one that runs here.
func newPPO(r *rank) (stage, error) {
	p := &ppoStage{rank: r}
	p.permute = p.permutation
	cfg, in := r.cfg, r.in
	scale := 1 / cfg.Trajectory.Temperature
	var err error
	if p.scoring, err = scoringOf(&cfg.Trainer); err != nil {
		return nil, err
	}
	if p.policy, err = r.newModel("policy", in.policy.Config, &cfg.PolicyOptimizer); err != nil {
		return nil, err
	}
	p.policy.exec.Scale, p.policy.exec.Entropy, p.policy.exec.EntropyGradient = scale, true, cfg.Trainer.EntropyCoef != 0
	if p.reference, err = r.newModel("reference", in.reference.Config, nil); err != nil {
		return nil, err
	}
	p.reference.exec.Scale = scale
	if p.value, err = r.newModel("value", scoreConfig(in.value.Config), &cfg.ValueOptimizer); err != nil {
		return nil, err
	}
	r.shareGradients(p.policy, p.value)
	return p, p.newScorer()
}

// newScorer makes what scores responses; a replay may do without.
func (p *ppoStage) newScorer() error {
	given := p.cfg.Model.Reward
	switch {
	case given.Path != "":
		m, err := p.newModel("reward", p.in.reward.Config, nil)
		if err != nil {
			return err
		}
		p.reward = m
		gain, bias := calibration(m.config)
		p.scorer = &reward.Model{Executor: m.exec, Replicas: p.replicas, Gain: gain, Bias: bias}
	case given.Rule != nil:
		rule, err := reward.NewRule(*given.Rule)
		if err != nil {
			return err
		}
		p.scorer = rule
	case given.HTTP != nil:
		service, err := reward.NewHTTP(*given.HTTP)
		if err != nil {
			return err
		}
		service.Retrying = func(attempt int, pause time.Duration, cause error) {
			p.retries++
			p.log.Warn("reward service: trying again", "attempt", attempt, "in", pause, "retries so far", p.retries, "cause", cause)
		}
		p.scorer = reward.Once{Scorer: service, World: p.world}
	}
	return nil
}

// scoreConfig is a model's configuration with a score head in place of whatever head it has.
func scoreConfig(cfg falcon.Config) falcon.Config {
	cfg.Head = falcon.SequenceClassification
	return cfg
}

func (p *ppoStage) trained() []*model { return []*model{p.policy, p.value} }

func (p *ppoStage) load(resumed bool) error {
	errs := []error{p.reference.load(p.in.reference)}
	if p.reward != nil {
		errs = append(errs, p.reward.load(p.in.reward))
	}
	if !resumed {
		errs = append(errs, p.policy.load(p.in.policy), p.value.load(p.in.value, p.in.freshValueHead...))
	}
	return errors.Join(errs...)
}

// begin looks at the reward model.
func (p *ppoStage) begin(ctx context.Context) error { return p.selfCheck(ctx) }

// finish has nothing to do.
func (p *ppoStage) finish(context.Context, *State) error { return nil }

func (p *ppoStage) rehearse(ctx context.Context) error {
	err := errors.Join(p.policy.rehearseTraining(ctx), p.value.rehearseTraining(ctx), p.reference.rehearseScoring(ctx))
	if err == nil && p.cfg.Trajectory.Replay == "" {
		err = p.policy.rehearseDecoding(ctx, p.limits(), p.draw())
	}
	if err == nil && p.reward != nil {
		err = p.reward.rehearseScoring(ctx)
	}
	if err == nil && p.in.keep {
		err = p.rehearseKept(ctx)
	}
	return err
}

// startKL is the state of the KL controller before the first iteration.
func startKL(tc *config.Trainer, st *State) {
	st.KL.Coef = tc.KLCoef
	if a := tc.AdaptiveKL; a != nil {
		st.KL.Target, st.KL.Horizon = a.Target, a.Horizon
	}
}
