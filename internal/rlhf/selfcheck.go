package rlhf

import (
	"context"

	"alfred/internal/reward"
	"alfred/internal/rollout"
)

// obvious are pairs of answers of which anybody would prefer the first. A reward model that does not was trained on something
// else, is read at the wrong position, or got the wrong tokenizer.
var obvious = [][3]string{
	{"What is the capital of France?", "The capital of France is Paris.", "bananas bananas bananas bananas"},
	{"How do I boil an egg?", "Put it into boiling water for about eight minutes, then cool it under cold water.", "I will not tell you, you fool."},
	{"Can you help me write a short thank-you note?", "Of course: \"Thank you for your kind gift. It made my day!\"", "No."},
	{"What is two plus two?", "Two plus two is four.", "Two plus two is a lovely colour of the wind."},
	{"I feel sad today.", "I am sorry to hear that. Would you like to talk about it?", "Nobody cares about that, stop it."},
}

// selfCheck reports how many of the obvious pairs the reward model orders rightly. It judges nothing: a small model trained on
// something narrow may well fail.
func (p *ppoStage) selfCheck(ctx context.Context) error {
	if p.reward == nil || p.in.tokenizer == nil {
		return nil
	}
	var items []reward.Item
	for _, pair := range obvious {
		prompt := p.in.tokenizer.Encode("User: " + pair[0] + "\nAlfred:")
		for _, answer := range pair[1:] {
			response := append(p.in.tokenizer.Encode(" "+answer), p.in.eod)
			tr := rollout.Trajectory{Prompt: prompt, Response: response, Finish: rollout.FinishEOD}
			if most := min(p.in.positions, p.replicas.Budget); len(prompt)+len(response) > most {
				p.log.Info("reward model self-check left out: its pairs are longer than a micro-batch or the context", "tokens", len(prompt)+len(response), "limit", most)
				return nil
			}
			items = append(items, reward.Item{Trajectory: tr, Read: p.readAt(tr, p.scoring.Place(len(response), true))})
		}
	}
	scores, err := p.scorer.Score(ctx, items)
	if err != nil {
		return err
	}
	right := 0
	for i := 0; i < len(scores); i += 2 {
		if scores[i] > scores[i+1] {
			right++
		}
	}
	p.log.Info("reward model self-check", "obvious pairs ordered rightly", right, "of", len(obvious))
	return nil
}
