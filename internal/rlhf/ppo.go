package rlhf

import (
	"context"
	"slices"

	"alfred/internal/config"
	"alfred/internal/dataset"
	"alfred/internal/pipeline"
	"alfred/internal/ppo"
	"alfred/internal/reward"
	"alfred/internal/rollout"
	"alfred/internal/telemetry"
)

// ppoStage trains a policy by PPO (Schulman et al., arXiv:1707.06347) against a reward, held to a reference by a KL penalty
// (Ziegler et al., arXiv:1909.08593).
type ppoStage struct {
	*rank
	policy, value, reference *model
	reward                   *model // nil when a rule, a service or a replay scores
	scorer                   reward.Scorer
	retries                  int // requests to a reward service that were repeated, in this process
	scoring                  ppo.Scoring
	checked                  bool // that training sees the sampler's log-probs, in this process
	permute                  func(iteration, epoch int, model uint32, n int) []int
}

// iteration is everything that one PPO iteration knows about its rollouts, in rollout order and the same on all ranks.
type iteration struct {
	trajectories []rollout.Trajectory
	kept         *pipeline.Decoding // keeps their activations until the first policy step; nil if nothing does
	prompts      []dataset.Prompt   // of each trajectory; nil in a replay
	places       []ppo.ScorePlace
	masked       []bool    // without part in whitening and the policy loss
	scores       []float64 // as the scorer gave them

	policyBatches, valueBatches []miniBatch // of all epochs, in order

	logp, reference, entropy, values ppo.Ragged
	rewards                          ppo.Rewards
	perToken                         ppo.Ragged // rewards, whitened if that is asked for
	firstValue                       firstValueStep
	advantages, returns              ppo.Ragged
	advantageMean                    float64 // before whitening
	compared                         bool    // log-probs of sampler and training forward, which differ by at most
	samplerError                     float64
	bad                              []int // trajectories with numbers that are not finite
}

// miniBatch is one optimizer step's share of the rollouts. Its plan serves the log-probs before the step and the step itself.
type miniBatch struct {
	members []int // trajectories; a unit's ID is its place in this list
	plan    pipeline.Plan
	tokens  int // response tokens of all ranks: the loss's denominator
}

func (p *ppoStage) step(ctx context.Context, st *State) (*telemetry.Metrics, error) {
	_, metrics, err := p.iterate(ctx, st)
	return metrics, err
}

// iterate is one PPO iteration.
func (p *ppoStage) iterate(ctx context.Context, st *State) (*iteration, *telemetry.Metrics, error) {
	// (1) Sample responses to the next prompts, or read them from a replay.
	it, err := p.rollouts(ctx, st)
	if err != nil {
		return nil, nil, err
	}
	defer it.forget()
	// (2) Score them, and get the log-probs of reference and policy and the values, with the weights as they are: rewards per token,
	// advantages, returns.
	for _, look := range []func() error{
		func() error { return p.score(ctx, it) },
		func() error { return p.read(ctx, p.reference, it, &it.reference, nil) },
		func() error { return p.oldLogProbs(ctx, it) },
		func() error { return p.laterValues(ctx, it) },
		func() error { return p.tokenRewards(st, it) },
		func() error { return p.firstValues(ctx, it) },
		func() error { return p.credit(it) },
	} {
		if err := look(); err != nil {
			return nil, nil, err
		}
	}
	metrics := p.measure(st, it)
	if err := p.record(st, it); err != nil {
		return nil, nil, err
	}
	// (3) Update the value model, whose first gradients wait, then the policy.
	if len(it.bad) > 0 {
		err = p.drop(st, it)
	} else {
		st.good("iteration")
		if err = p.updateValue(ctx, st, it, metrics); err == nil && st.Step >= p.cfg.Trainer.ValueWarmupIterations {
			err = p.updatePolicy(ctx, st, it, metrics)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	return it, metrics, p.adaptKL(st, it)
}

// forget frees the activations that were kept, if they are still there.
func (it *iteration) forget() {
	if it.kept != nil {
		it.kept.Close()
		it.kept = nil
	}
}

// tokenRewards turns scores and log-probs into rewards per token.
func (p *ppoStage) tokenRewards(st *State, it *iteration) error {
	tc := &p.cfg.Trainer
	estimator, err := ppo.ParseKLEstimator(tc.KLEstimator)
	if err != nil {
		return err
	}
	it.rewards, err = ppo.TokenRewards(it.logp, it.reference, it.scores, it.places,
		ppo.RewardConfig{KLCoef: st.KL.Coef, Estimator: estimator, ScoreClip: tc.RewardClip})
	if err != nil {
		return err
	}
	it.perToken = it.rewards.PerToken
	if tc.WhitenRewards {
		it.perToken, err = ppo.Whiten(it.perToken, it.masked, false)
	}
	return err
}

// credit turns rewards and values into advantages and returns. Returns belong to the advantages before whitening.
func (p *ppoStage) credit(it *iteration) (err error) {
	tc := &p.cfg.Trainer
	if it.advantages, it.returns, err = ppo.Advantages(it.perToken, it.values, tc.Gamma, tc.GAELambda); err != nil {
		return err
	}
	it.bad = nonFinite(it.rewards.PerToken, it.values, it.returns)
	_, it.advantageMean, _ = it.advantages.Moments(it.masked)
	if tc.WhitenAdvantages {
		it.advantages, err = ppo.Whiten(it.advantages, it.masked, true)
	}
	return err
}

// adaptKL steers the KL coefficient, where that is asked for.
func (p *ppoStage) adaptKL(st *State, it *iteration) error {
	if p.cfg.Trainer.AdaptiveKL == nil || len(it.bad) > 0 {
		return nil
	}
	return st.KL.Update(mean(it.rewards.KL), len(it.rewards.KL))
}

// scoringOf reads the configuration's rules about scores.
func scoringOf(tc *config.Trainer) (ppo.Scoring, error) {
	missing, err := ppo.ParseMissingEOD(tc.MissingEOD.Mode)
	return ppo.Scoring{OnEOD: tc.ScoreOnEOD, MissingEOD: missing, Penalty: tc.MissingEOD.Penalty}, err
}

func mean(xs []float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	return sum / float64(len(xs))
}

// nonFinite lists the sequences for which any of xs holds a number that is not finite.
func nonFinite(xs ...ppo.Ragged) (bad []int) {
	for s := range xs[0] {
		if slices.ContainsFunc(xs, func(x ppo.Ragged) bool { return !finite(x[s]...) }) {
			bad = append(bad, s)
		}
	}
	return bad
}
