package rlhf

import (
	"context"

	"alfred/internal/dataset"
	"alfred/internal/nn"
	"alfred/internal/pipeline"
	"alfred/internal/ppo"
	"alfred/internal/telemetry"
)

// sft is supervised fine-tuning: the policy learns the responses of the data, token by token.
type sft struct {
	*rank
	policy *model
	data   *dataset.Set[dataset.SFT]
}

func newSFT(r *rank) (stage, error) {
	policy, err := r.newModel("policy", r.in.policy.Config, &r.cfg.Optimizer)
	if err != nil {
		return nil, err
	}
	r.shareGradients(policy)
	return &sft{rank: r, policy: policy, data: r.in.sft}, nil
}

func (t *sft) trained() []*model { return []*model{t.policy} }

func (t *sft) load(resumed bool) error {
	if resumed {
		return nil
	}
	return t.policy.load(t.in.policy)
}

func (t *sft) rehearse(ctx context.Context) error {
	return t.policy.rehearseTraining(ctx)
}

// begin has nothing to do.
func (t *sft) begin(context.Context) error { return nil }

// finish has nothing to do.
func (t *sft) finish(context.Context, *State) error { return nil }

// step is one optimizer step: (1) draw a batch, (2) sum the gradient of its mean token loss, (3) update.
func (t *sft) step(ctx context.Context, st *State) (*telemetry.Metrics, error) {
	batch := make([]dataset.SFT, t.cfg.Trainer.GlobalBatch)
	for i := range batch {
		batch[i] = t.data.Train().At(st.Position + uint64(i))
	}
	st.Position += uint64(len(batch))

	loss, err := t.gradient(ctx, batch)
	if err != nil {
		return nil, err
	}
	rate, norm, err := t.policy.update(st, loss, sampleIDs(batch))
	for _, s := range batch {
		st.TokensSeen += int64(len(s.IDs))
	}
	metrics := &telemetry.Metrics{}
	metrics.SetFloat(telemetry.LR, rate)
	metrics.SetFloat(telemetry.Loss, loss)
	metrics.SetFloat(telemetry.GradNorm, norm)
	return metrics, err
}

// gradient sums the gradient of the mean token loss of a batch.
func (t *sft) gradient(ctx context.Context, batch []dataset.SFT) (loss float64, err error) {
	tokens, plan := lossTokens(batch), t.replicas.Plan(sftUnits(batch))
	loss, err = t.policy.accumulate(ctx, plan, func(micro pipeline.MicroBatch, out pipeline.Output, grad pipeline.Gradient) (float64, error) {
		logp, mask, spans := sftMicroBatch(batch, micro, out)
		part, err := ppo.SupervisedLoss(logp, mask, tokens)
		scatter(grad.LogProb, spans, part.DLogProb)
		return part.Loss, err
	})
	if err == nil {
		err = t.sum(&loss)
	}
	return loss, err
}

// evaluate is the mean token loss over what is held out.
func (t *sft) evaluate(ctx context.Context, st *State, metrics *telemetry.Metrics) error {
	held := t.data.HeldOut()
	if len(held) == 0 {
		return nil
	}
	loss, tokens := 0.0, lossTokens(held)
	results, err := t.replicas.Score(ctx, t.policy.exec, t.replicas.Plan(sftUnits(held)))
	if err != nil {
		return err
	}
	for i, s := range held {
		from, to := lossSpan(s)
		part, err := ppo.SupervisedLoss(ppo.Ragged{results[i][0].LogProb}, [][]bool{s.Loss[from+1 : to+1]}, tokens)
		if err != nil {
			return err
		}
		loss += part.Loss
	}
	metrics.SetFloat(telemetry.EvalLoss, loss)
	return nil
}

// lossSpan is the range of positions whose next tokens carry the loss: the head is read there, and nowhere else.
func lossSpan(s dataset.SFT) (from, to int) {
	from = -1
	for t := 1; t < len(s.IDs); t++ {
		if s.Loss[t] {
			if from < 0 {
				from = t - 1
			}
			to = t
		}
	}
	return max(from, 0), to
}

func sftUnits(batch []dataset.SFT) (units []pipeline.Unit) {
	for i, s := range batch {
		from, to := lossSpan(s)
		units = append(units, pipeline.Single(i, nn.Sequence{IDs: s.IDs, From: from, To: to}))
	}
	return units
}

// sftMicroBatch pairs the log-probs of a micro-batch with the loss masks of its samples; spans says where they lie in the output.
func sftMicroBatch(batch []dataset.SFT, m pipeline.MicroBatch, out pipeline.Output) (logp ppo.Ragged, mask [][]bool, spans [][2]int) {
	out.Each(func(i, lo, hi int) {
		q := out.Sequences[i]
		logp = append(logp, out.LogProb[lo:hi])
		mask = append(mask, batch[m.Units[i].ID].Loss[q.From+1:q.To+1])
		spans = append(spans, [2]int{lo, hi})
	})
	return logp, mask, spans
}

// scatter puts per-sequence gradients back where the spans lie.
func scatter(dst []float64, spans [][2]int, rows ppo.Ragged) {
	for i, row := range rows {
		copy(dst[spans[i][0]:spans[i][1]], row)
	}
}

func lossTokens(batch []dataset.SFT) (n int) {
	for _, s := range batch {
		for _, counts := range s.Loss {
			if counts {
				n++
			}
		}
	}
	return n
}

func sampleIDs(batch []dataset.SFT) (ids []string) {
	for _, s := range batch {
		ids = append(ids, s.ID)
	}
	return ids
}
