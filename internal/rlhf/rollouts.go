package rlhf

import (
	"context"

	"alfred/internal/dataset"
	"alfred/internal/ppo"
	"alfred/internal/random"
	"alfred/internal/reward"
	"alfred/internal/rollout"
)

// rollouts makes the trajectories of the next iteration and cuts them into mini-batches.
func (p *ppoStage) rollouts(ctx context.Context, st *State) (it *iteration, err error) {
	it = &iteration{}
	defer func() {
		if err != nil {
			it.forget()
		}
	}()
	if p.cfg.Trajectory.Replay != "" {
		err = p.replay(st, it)
	} else {
		err = p.sample(ctx, st, it)
	}
	if err != nil {
		return it, err
	}
	for _, tr := range it.trajectories {
		place := p.scoring.Place(len(tr.Response), tr.Finish == rollout.FinishEOD)
		it.places, it.masked = append(it.places, place), append(it.masked, place.Masked)
		st.TokensSeen += int64(len(tr.Prompt) + len(tr.Response))
	}
	tc := &p.cfg.Trainer
	if it.policyBatches, err = p.miniBatches(it, st.Step, tc.PolicyEpochs, tc.PPOStepsPerEpoch, 0, it.masked, it.kept); err != nil {
		return it, err
	}
	it.valueBatches, err = p.miniBatches(it, st.Step, tc.ValueEpochs, tc.ValueStepsPerEpoch, 1, nil, nil)
	return it, err
}

// sample draws prompts and generates responses. Sequence s answers prompt s / responses_per_prompt.
func (p *ppoStage) sample(ctx context.Context, st *State, it *iteration) error {
	each := p.cfg.Trajectory.ResponsesPerPrompt
	n := p.cfg.Trainer.NumRollouts / each
	for i := range n {
		prompt := p.in.prompts.Train().At(st.Position + uint64(i))
		for range each {
			it.prompts = append(it.prompts, prompt)
		}
	}
	st.Position += uint64(n)
	st.PromptsSeen += int64(n)
	sampling := rollout.Sampling{
		Draw: p.draw(), Key: random.Key{Seed: p.cfg.Run.Seed, Purpose: random.Rollout}, Iteration: uint32(st.Step), LogProbs: true,
	}
	var err error
	if !p.in.keep || !p.checked || st.Step < p.cfg.Trainer.ValueWarmupIterations {
		it.trajectories, err = p.generate(ctx, p.policy, it.prompts, sampling)
		return err
	}
	if it.kept, err = rollout.Open(p.policy.exec, p.keptLimits()); err == nil {
		it.trajectories, err = p.generateIn(ctx, it.kept, p.keptLimits(), it.prompts, sampling)
	}
	return err
}

// score asks the scorer, or takes the scores that a replay brought.
func (p *ppoStage) score(ctx context.Context, it *iteration) error {
	defer p.rec.Phase("score")(0)
	if it.scores != nil {
		return nil
	}
	var err error
	it.scores, err = p.scoresOf(ctx, it.trajectories, it.prompts, it.places)
	return err
}

// scoresOf asks the scorer; where the rules fix a score, that is what counts.
func (p *ppoStage) scoresOf(ctx context.Context, trajectories []rollout.Trajectory, prompts []dataset.Prompt, places []ppo.ScorePlace) ([]float64, error) {
	scores, err := p.scorer.Score(ctx, p.items(trajectories, prompts, places))
	if err != nil {
		return nil, err
	}
	for s, place := range places {
		if place.Fixed {
			scores[s] = place.Value
		}
	}
	return scores, nil
}

// items are the trajectories as a scorer sees them.
func (p *ppoStage) items(trajectories []rollout.Trajectory, prompts []dataset.Prompt, places []ppo.ScorePlace) []reward.Item {
	items := make([]reward.Item, len(trajectories))
	for i, tr := range trajectories {
		items[i] = reward.Item{Trajectory: tr, Read: p.readAt(tr, places[i])}
		if tok := p.in.tokenizer; tok != nil {
			items[i].PromptText = tok.Decode(tr.Prompt)
			items[i].ResponseText = tok.Decode(withoutEOD(tr))
		}
		if prompts != nil && prompts[i].Text != "" {
			items[i].PromptText = prompts[i].Text
		}
	}
	return items
}

// readAt is the position at which a reward model is read. One that was trained with its padding id ending documents was read
// at the last token that is not padding, and model.rm_position says so.
func (p *ppoStage) readAt(tr rollout.Trajectory, place ppo.ScorePlace) int {
	at := max(0, len(tr.Prompt)+place.Read)
	if p.cfg.Model.RMPosition == "last_non_pad" && p.reward != nil && p.reward.config.PadTokenID != nil {
		pad, ids := int32(*p.reward.config.PadTokenID), tr.Tokens()
		for at > 0 && ids[at] == pad {
			at--
		}
	}
	return at
}

func withoutEOD(tr rollout.Trajectory) []int32 {
	if tr.Finish == rollout.FinishEOD {
		return tr.Response[:len(tr.Response)-1]
	}
	return tr.Response
}
