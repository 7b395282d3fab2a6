package demo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"alfred/internal/config"
	"alfred/internal/dataset"
	"alfred/internal/nn"
	"alfred/internal/ppo"
	"alfred/internal/random"
	"alfred/internal/reward"
	"alfred/internal/rollout"
	"alfred/internal/telemetry"
	"alfred/internal/tokenizer"
)

// shown is how many held-out prompts the table has.
const shown = 8

// exchange is a held-out prompt and what two models say to it, by the same random numbers.
type exchange struct {
	prompt        string
	before, after utterance
}

// utterance is a response with its score.
type utterance struct {
	text  string
	ended bool
	score float64
}

// dialogue lets the models before and after PPO answer the prompts that the run's evaluations use, with the same random
// numbers: the means of these scores are the first and the last score_heldout of the run.
func (s *story) dialogue(ctx context.Context) ([]exchange, error) {
	cfg := s.configs[config.PPO]
	tok, err := tokenizer.Load(filepath.Join(s.Dir, "data", "tokenizer.json"))
	if err != nil {
		return nil, err
	}
	eod, _ := tok.EOD()
	data, err := dataset.Open[dataset.Prompt](ctx, cfg.Data, dataset.Options{
		Root: cfg.DataRoot, Tokenizer: tok, EOD: eod, PromptMaxLen: cfg.Trajectory.PromptMaxLen, EvalShare: cfg.Trainer.EvalShare, Seed: cfg.Run.Seed,
	})
	if err != nil {
		return nil, err
	}
	prompts := data.HeldOut()
	prompts = prompts[:min(len(prompts), cfg.Trainer.NumRollouts)]
	before, errBefore := s.answers(ctx, cfg.Model.Policy, prompts, tok)
	after, errAfter := s.answers(ctx, cfg.Run.Dir, prompts, tok)
	if err := errors.Join(errBefore, errAfter); err != nil {
		return nil, err
	}
	exchanges := make([]exchange, len(prompts))
	for i, p := range prompts {
		question := strings.TrimSuffix(strings.TrimPrefix(p.Text, "User: "), "\nAlfred:")
		exchanges[i] = exchange{question, before[i], after[i]}
	}
	return exchanges, nil
}

// answers samples and scores the responses of a model as an evaluation of the PPO run does.
func (s *story) answers(ctx context.Context, path string, prompts []dataset.Prompt, tok *tokenizer.Tokenizer) ([]utterance, error) {
	cfg := s.configs[config.PPO]
	t, b := &cfg.Trajectory, &cfg.Batching
	eod, _ := tok.EOD()
	var requests []rollout.Request
	for i, p := range prompts {
		requests = append(requests, rollout.Request{Sequence: i, Prompt: p.IDs, Max: t.ContinuationMaxLen, Min: t.ContinuationMinLen})
	}
	trajectories, err := s.program.Generate(ctx, path, requests,
		rollout.Limits{Slots: b.RolloutSlots, Tokens: max(b.MicroBatchTokens, b.RolloutSlots), PageSize: 64, Longest: t.PromptMaxLen + t.ContinuationMaxLen, EOD: eod},
		rollout.Sampling{Draw: nn.Draw{Temperature: t.Temperature, TopK: t.TopK, TopP: t.TopP}, Key: random.Key{Seed: cfg.Run.Seed, Purpose: random.HeldOut}})
	if err != nil {
		return nil, err
	}
	missing, err := ppo.ParseMissingEOD(cfg.Trainer.MissingEOD.Mode)
	if err != nil {
		return nil, err
	}
	scoring := ppo.Scoring{OnEOD: cfg.Trainer.ScoreOnEOD, MissingEOD: missing, Penalty: cfg.Trainer.MissingEOD.Penalty}
	items := make([]reward.Item, len(trajectories))
	places := make([]ppo.ScorePlace, len(trajectories))
	for i, tr := range trajectories {
		places[i] = scoring.Place(len(tr.Response), tr.Finish == rollout.FinishEOD)
		items[i] = reward.Item{Trajectory: tr, Read: max(0, len(tr.Prompt)+places[i].Read)}
	}
	scores, err := s.program.Score(ctx, cfg.Model.Reward.Path, items)
	if err != nil {
		return nil, err
	}
	said := make([]utterance, len(trajectories))
	for i, tr := range trajectories {
		ids, ended := tr.Response, tr.Finish == rollout.FinishEOD
		if ended {
			ids = ids[:len(ids)-1]
		}
		if places[i].Fixed {
			scores[i] = places[i].Value
		}
		said[i] = utterance{strings.TrimSpace(tok.Decode(ids)), ended, scores[i]}
	}
	return said, nil
}

// dialogueTable shows the first exchanges, which are a fair draw: held-out prompts are ordered by hash.
func dialogueTable(exchanges []exchange) telemetry.Table {
	t := telemetry.Table{
		Title:  "Held-out prompts, answered before and after PPO with the same random numbers (… was cut off)",
		Header: []string{"prompt", "before", "score", "after", "score"},
	}
	for _, e := range exchanges[:min(shown, len(exchanges))] {
		t.Rows = append(t.Rows, []string{e.prompt, e.before.String(), e.before.points(), e.after.String(), e.after.points()})
	}
	return t
}

// String marks a response that was cut off.
func (u utterance) String() string {
	if u.ended {
		return u.text
	}
	return u.text + " …"
}

func (u utterance) points() string { return fmt.Sprintf("%.2f", u.score) }
