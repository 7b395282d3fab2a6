package rlhf

import (
	"context"

	"alfred/internal/dataset"
	"alfred/internal/nn"
	"alfred/internal/pipeline"
	"alfred/internal/ppo"
	"alfred/internal/telemetry"
)

// rewardStage trains a reward model on ranked responses: the score, read at the end-of-document token, should order them as
// people did (Bradley-Terry; Ouyang et al., arXiv:2203.02155, eq. 1).
type rewardStage struct {
	*rank
	model      *model
	normaliser *model // samples the responses that normalise scores; nil without it
	data       *dataset.Set[dataset.Ranked]
}

func newReward(r *rank) (stage, error) {
	cfg := scoreConfig(r.in.reward.Config)
	cfg.Normalisation = nil // of an earlier training
	m, err := r.newModel("reward", cfg, &r.cfg.Optimizer)
	if err != nil {
		return nil, err
	}
	r.shareGradients(m)
	t := &rewardStage{rank: r, model: m, data: r.in.ranked}
	if r.in.normaliser != nil {
		t.normaliser, err = r.newModel("policy of normalise", r.in.normaliser.Config, nil)
	}
	return t, err
}

func (t *rewardStage) trained() []*model { return []*model{t.model} }

func (t *rewardStage) load(resumed bool) error {
	if t.normaliser != nil {
		if err := t.normaliser.load(t.in.normaliser); err != nil {
			return err
		}
	}
	if resumed {
		return nil
	}
	return t.model.load(t.in.reward, "score.weight")
}

// begin has nothing to do.
func (t *rewardStage) begin(context.Context) error { return nil }

func (t *rewardStage) rehearse(ctx context.Context) error {
	if t.normaliser != nil {
		if err := t.normaliser.rehearseDecoding(ctx, t.limits(), t.draw()); err != nil {
			return err
		}
	}
	return t.model.rehearseTraining(ctx)
}

// step is one optimizer step: (1) draw ranked lists, (2) sum the gradient of the mean ranking loss, (3) update.
func (t *rewardStage) step(ctx context.Context, st *State) (*telemetry.Metrics, error) {
	batch := make([]dataset.Ranked, t.cfg.Trainer.GlobalBatch)
	var names []string
	for i := range batch {
		batch[i] = t.data.Train().At(st.Position + uint64(i))
		names = append(names, batch[i].ID)
	}
	st.Position += uint64(len(batch))

	loss, stats, err := t.gradient(ctx, batch)
	if err != nil {
		return nil, err
	}
	for _, l := range batch {
		for i := range l.Responses {
			st.TokensSeen += int64(len(l.Prompt) + len(l.Responses[i]))
		}
	}
	rate, norm, err := t.model.update(st, loss, names)
	metrics := &telemetry.Metrics{}
	metrics.SetFloat(telemetry.LR, rate)
	metrics.SetFloat(telemetry.Loss, loss)
	metrics.SetFloat(telemetry.GradNorm, norm)
	setRanking(metrics, stats, "train_")
	return metrics, err
}

// gradient sums the gradient of the mean ranking loss of a batch.
func (t *rewardStage) gradient(ctx context.Context, batch []dataset.Ranked) (loss float64, stats ppo.RankingStats, err error) {
	plan := t.replicas.Plan(rankedUnits(batch))
	loss, err = t.model.accumulate(ctx, plan, func(micro pipeline.MicroBatch, out pipeline.Output, grad pipeline.Gradient) (float64, error) {
		lists, at := rankedLists(batch, micro, out.Value)
		part, err := ppo.RankingLoss(lists, len(batch))
		stats.Add(part.Stats)
		for i, d := range part.DScore {
			copy(grad.Value[at[i]:], d)
		}
		return part.Loss, err
	})
	if err == nil {
		err = t.sumRanking(&loss, &stats)
	}
	return loss, stats, err
}

// evaluate is loss, accuracy and margin over the lists that are held out.
func (t *rewardStage) evaluate(ctx context.Context, st *State, metrics *telemetry.Metrics) error {
	held := t.data.HeldOut()
	if len(held) == 0 {
		return nil
	}
	results, err := t.replicas.Score(ctx, t.model.exec, t.replicas.Plan(rankedUnits(held)))
	if err != nil {
		return err
	}
	lists := make([]ppo.RankedList, len(held))
	for i, l := range held {
		lists[i].Ranks = l.Ranks
		for _, r := range results[i] {
			lists[i].Scores = append(lists[i].Scores, r.Value[0])
		}
	}
	all, err := ppo.RankingLoss(lists, len(held))
	if err != nil {
		return err
	}
	metrics.SetFloat(telemetry.EvalLoss, all.Loss)
	setRanking(metrics, all.Stats, "")
	return nil
}

// rankedUnits makes each list a unit: its responses stay in one micro-batch.
func rankedUnits(batch []dataset.Ranked) []pipeline.Unit {
	units := make([]pipeline.Unit, len(batch))
	for i, l := range batch {
		units[i].ID = i
		for j := range l.Responses {
			ids := l.Sequence(j)
			units[i].Sequences = append(units[i].Sequences, nn.Sequence{IDs: ids, From: len(ids) - 1, To: len(ids)})
		}
	}
	return units
}

// rankedLists groups the scores of a micro-batch by list; at says where each list's scores begin.
func rankedLists(batch []dataset.Ranked, m pipeline.MicroBatch, scores []float64) (lists []ppo.RankedList, at []int) {
	next := 0
	for _, u := range m.Units {
		n := len(u.Sequences)
		lists = append(lists, ppo.RankedList{Scores: scores[next : next+n], Ranks: batch[u.ID].Ranks})
		at = append(at, next)
		next += n
	}
	return lists, at
}

// setRanking records accuracy and margin with their error bars.
func setRanking(m *telemetry.Metrics, s ppo.RankingStats, prefix telemetry.Name) {
	accuracy, accuracyError := s.Accuracy()
	margin, marginError := s.MeanMargin()
	m.SetFloat(prefix+telemetry.Accuracy, accuracy)
	m.SetFloat(prefix+telemetry.AccuracyStderr, accuracyError)
	m.SetFloat(prefix+telemetry.MarginMean, margin)
	if prefix == "" {
		m.SetFloat(telemetry.MarginStderr, marginError)
	}
}

// sumRanking adds up loss and statistics over the data ranks.
func (t *rewardStage) sumRanking(loss *float64, s *ppo.RankingStats) error {
	counts := []*int{&s.Lists, &s.Unranked, &s.Pairs, &s.EqualPairs}
	sums := []*float64{loss, &s.Correct, &s.SquaredCorrect, &s.Margin, &s.SquaredMargin}
	for _, c := range counts {
		x := float64(*c)
		sums = append(sums, &x)
	}
	err := t.sum(sums...)
	for i, c := range counts {
		*c = int(*sums[len(sums)-len(counts)+i])
	}
	return err
}
