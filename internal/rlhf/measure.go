package rlhf

import (
	"context"
	"fmt"
	"math"

	"alfred/internal/ppo"
	"alfred/internal/random"
	"alfred/internal/rollout"
	"alfred/internal/telemetry"
)

// measure records what an iteration's rollouts say, before any update.
func (p *ppoStage) measure(st *State, it *iteration) *telemetry.Metrics {
	m := &telemetry.Metrics{}
	n := float64(len(it.trajectories))
	lengths, ended := 0.0, 0.0
	for _, tr := range it.trajectories {
		lengths += float64(len(tr.Response))
		if tr.Finish == rollout.FinishEOD {
			ended++
		}
	}
	score, spread := meanStd(it.scores)
	_, entropy, _ := it.entropy.Moments(nil)
	_, ret, _ := it.returns.Moments(nil)
	m.SetFloat(telemetry.ScoreMean, score)
	m.SetFloat(telemetry.ScoreStd, spread)
	m.SetFloat(telemetry.RewardMean, mean(sums(it.rewards.PerToken)))
	m.SetFloat(telemetry.KL, mean(it.rewards.KL))
	m.SetFloat(telemetry.KLCoef, st.KL.Coef)
	m.SetFloat(telemetry.Entropy, entropy)
	m.SetFloat(telemetry.AdvantageMean, it.advantageMean)
	m.SetFloat(telemetry.ReturnMean, ret)
	m.SetFloat(telemetry.ResponseLengthMean, lengths/n)
	m.SetFloat(telemetry.EODRate, ended/n)
	if it.compared {
		m.SetFloat(telemetry.SamplerLogProbMaxError, it.samplerError)
	}
	if ev, err := ppo.ExplainedVariance(it.values, it.returns); err == nil {
		m.SetFloat(telemetry.ExplainedVariance, ev)
	}
	if it.rewards.Clipped > 0 || p.cfg.Trainer.RewardClip > 0 {
		m.SetInt(telemetry.ClippedScores, int64(it.rewards.Clipped))
	}
	m.SetInt(telemetry.PromptsSeen, st.PromptsSeen)
	if every := p.cfg.Log.SamplesEvery; every > 0 && (st.Step == 0 || (st.Step+1)%every == 0) {
		p.rec.Samples(st.Step+1, p.table(fmt.Sprintf("iteration %d", st.Step+1), it.trajectories, it.scores))
	}
	return m
}

// shownSamples is the number of rows of a table of samples.
const shownSamples = 4

// table shows some responses with their scores.
func (p *ppoStage) table(title string, trajectories []rollout.Trajectory, scores []float64) telemetry.Table {
	table := telemetry.Table{Title: title, Header: []string{"prompt", "response", "finish", "score"}}
	for s := range min(shownSamples, len(trajectories)) {
		tr := trajectories[s]
		prompt, response := fmt.Sprint(tr.Prompt), fmt.Sprint(tr.Response)
		if tok := p.in.tokenizer; tok != nil {
			prompt, response = tok.Decode(tr.Prompt), tok.Decode(withoutEOD(tr))
		}
		table.Rows = append(table.Rows, []string{prompt, response, string(tr.Finish), fmt.Sprintf("%.3f", scores[s])})
	}
	return table
}

// evaluate is the mean score of responses to held-out prompts, at most num_rollouts of them, with its standard error. The
// random numbers are the same each time, so evaluations of one run differ by the policy only.
func (p *ppoStage) evaluate(ctx context.Context, st *State, metrics *telemetry.Metrics) error {
	if p.in.prompts == nil || p.scorer == nil {
		return nil
	}
	prompts := p.in.prompts.HeldOut()
	prompts = prompts[:min(len(prompts), p.cfg.Trainer.NumRollouts)]
	if len(prompts) == 0 {
		return nil
	}
	trajectories, err := p.generate(ctx, p.policy, prompts, rollout.Sampling{Draw: p.draw(), Key: random.Key{Seed: p.cfg.Run.Seed, Purpose: random.HeldOut}})
	if err != nil {
		return err
	}
	var places []ppo.ScorePlace
	for _, tr := range trajectories {
		places = append(places, p.scoring.Place(len(tr.Response), tr.Finish == rollout.FinishEOD))
	}
	scores, err := p.scoresOf(ctx, trajectories, prompts, places)
	if err != nil {
		return err
	}
	score, spread := meanStd(scores)
	metrics.SetFloat(telemetry.ScoreHeldout, score)
	if n := len(scores); n > 1 {
		metrics.SetFloat(telemetry.ScoreHeldoutStderr, spread/math.Sqrt(float64(n-1))) // sample deviation over √n
	}
	return nil
}

// meanStd is the mean and the population standard deviation.
func meanStd(xs []float64) (m, std float64) {
	m = mean(xs)
	for _, x := range xs {
		std += (x - m) * (x - m)
	}
	return m, math.Sqrt(std / math.Max(1, float64(len(xs))))
}

func sums(x ppo.Ragged) []float64 {
	out := make([]float64, len(x))
	for s, row := range x {
		for _, v := range row {
			out[s] += v
		}
	}
	return out
}
