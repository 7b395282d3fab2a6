package rlhf

import (
	"context"
	"fmt"

	"alfred/internal/pipeline"
	"alfred/internal/ppo"
	"alfred/internal/telemetry"
)

// firstValueStep is the first value step of an iteration before its update: the gradients are where the model keeps them.
type firstValueStep struct {
	loss  float64
	stats ppo.ValueStats
}

// laterValues reads the values of all rollouts but those of the first value step: that step's own forward pass tells them.
func (p *ppoStage) laterValues(ctx context.Context, it *iteration) error {
	defer p.rec.Phase("score_value")(0)
	it.values = make(ppo.Ragged, len(it.trajectories))
	for _, b := range firstEpoch(it.valueBatches, p.cfg.Trainer.ValueEpochs)[1:] {
		results, err := p.replicas.Score(ctx, p.value.exec, b.plan)
		if err != nil {
			return fmt.Errorf("value: %w", err)
		}
		p.keepValues(it, b, results)
	}
	return nil
}

func (p *ppoStage) keepValues(it *iteration, b miniBatch, results [][]pipeline.Result) {
	for i, s := range b.members {
		it.values[s] = p.value.calibrate(results[i][0].Value)
	}
}

// firstValues runs the first value step forward and backward. The values that it sees are the old ones, to which its loss compares
// them, and a sequence's returns need no values but its own: so the pass that gives the old values serves for training too.
func (p *ppoStage) firstValues(ctx context.Context, it *iteration) error {
	defer p.rec.Phase("value_update")(0)
	tc, b := &p.cfg.Trainer, it.valueBatches[0]
	loss, results, err := p.value.accumulateAndSee(ctx, b.plan, p.valueLoss(b, &it.firstValue.stats, func(micro pipeline.MicroBatch, values ppo.Ragged) (old, returns ppo.Ragged, err error) {
		_, returns, err = ppo.Advantages(b.pick(micro, it.perToken), values, tc.Gamma, tc.GAELambda)
		return values, returns, err
	}))
	if err != nil {
		return fmt.Errorf("value: %w", err)
	}
	it.firstValue.loss = loss
	p.keepValues(it, b, results)
	return nil
}

// valueLoss is the loss of the micro-batches of a value step. targets gives the old values and the returns of one of them.
func (p *ppoStage) valueLoss(b miniBatch, stats *ppo.ValueStats, targets func(micro pipeline.MicroBatch, values ppo.Ragged) (old, returns ppo.Ragged, err error)) microLoss {
	return func(micro pipeline.MicroBatch, out pipeline.Output, grad pipeline.Gradient) (float64, error) {
		values, spans := rows(out, p.value.calibrate(out.Value))
		old, returns, err := targets(micro, values)
		if err != nil {
			return 0, err
		}
		part, err := ppo.ValueLoss(ppo.ValueBatch{Value: values, OldValue: old, Return: returns}, p.cfg.Trainer.ClipRangeValue, b.tokens)
		stats.Add(part.Stats)
		scatter(grad.Value, spans, part.DValue)
		p.value.calibrateGradient(grad.Value)
		return part.Loss, err
	}
}

// updateValue takes the value steps of all epochs, of which the first one has its gradients already.
func (p *ppoStage) updateValue(ctx context.Context, st *State, it *iteration, metrics *telemetry.Metrics) error {
	defer p.rec.Phase("value_update")(0)
	var losses, norms []float64
	var all ppo.ValueStats
	for k, b := range it.valueBatches {
		loss, stats := it.firstValue.loss, it.firstValue.stats
		var err error
		if k > 0 {
			stats = ppo.ValueStats{}
			loss, err = p.value.accumulate(ctx, b.plan, p.valueLoss(b, &stats, func(micro pipeline.MicroBatch, _ ppo.Ragged) (old, returns ppo.Ragged, err error) {
				return b.pick(micro, it.values), b.pick(micro, it.returns), nil
			}))
		}
		if err == nil {
			err = p.sumValue(&loss, &stats)
		}
		if err != nil {
			return err
		}
		rate, norm, err := p.value.update(st, loss, p.names(it, b.members))
		metrics.SetFloat(telemetry.LRValue, rate)
		if err != nil {
			return err
		}
		losses, norms = append(losses, loss), append(norms, norm)
		all.Add(stats)
	}
	metrics.SetList(telemetry.ValueLoss, losses)
	metrics.SetFloat(telemetry.ValueGradNorm, mean(norms))
	metrics.SetFloat(telemetry.ValueClipFraction, all.ClipFraction())
	return nil
}

// sumValue adds up a step's loss and statistics over the data ranks.
func (p *ppoStage) sumValue(loss *float64, st *ppo.ValueStats) error {
	tokens, clipped := float64(st.Tokens), float64(st.Clipped)
	err := p.sum(loss, &tokens, &clipped, &st.SquaredError)
	st.Tokens, st.Clipped = int(tokens), int(clipped)
	return err
}
