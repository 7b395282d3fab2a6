package rlhf

import (
	"context"
	"fmt"
	"math"

	"alfred/internal/nn"
	"alfred/internal/pipeline"
	"alfred/internal/ppo"
	"alfred/internal/random"
	"alfred/internal/telemetry"
)

// miniBatches cuts the rollouts into the optimizer steps of all epochs: contiguous slices in rollout order, permuted from the
// second epoch on. model tells apart the permutations of policy and value model. kept has the model's activations until its first step, or
// is nil.
func (p *ppoStage) miniBatches(it *iteration, iteration, epochs, steps int, model uint32, masked []bool, kept *pipeline.Decoding) (all []miniBatch, err error) {
	n := len(it.trajectories)
	for epoch := range epochs {
		var order []int
		if epoch > 0 {
			order = p.permute(iteration, epoch, model, n)
		}
		slices, err := ppo.MiniBatches(n, steps, order)
		if err != nil {
			return nil, err
		}
		for _, members := range slices {
			b := miniBatch{members: members}
			var units []pipeline.Unit
			for i, s := range members {
				tr := it.trajectories[s]
				ids, first := tr.Tokens(), len(tr.Prompt)-1 // the position that predicts the first response token
				last := len(ids) - 1                        // it is predicted, and predicts nothing
				units = append(units, pipeline.Single(i, nn.Sequence{IDs: ids[:last], From: first, To: last, Next: ids[last], Kept: keptAt(kept, tr)}))
				if masked == nil || !masked[s] {
					b.tokens += len(tr.Response)
				}
			}
			b.plan = p.replicas.Plan(units)
			all, kept = append(all, b), nil
		}
	}
	return all, nil
}

// permutation orders n rollouts for a later epoch of an iteration, by the addressed generator.
func (p *ppoStage) permutation(iteration, epoch int, model uint32, n int) []int {
	key := random.Key{Seed: p.cfg.Run.Seed, Purpose: random.Permute}
	epochs := max(p.cfg.Trainer.PolicyEpochs, p.cfg.Trainer.ValueEpochs)
	return key.Permutation(uint32(2*(iteration*epochs+epoch))+model, n)
}

// firstEpoch is the mini-batches that cover every rollout once.
func firstEpoch(batches []miniBatch, epochs int) []miniBatch { return batches[:len(batches)/epochs] }

// read runs a model forward over mini-batches and stores the log-probs and, where that is asked for, the entropies, in rollout order.
func (p *ppoStage) read(ctx context.Context, m *model, it *iteration, logp, entropy *ppo.Ragged) error {
	defer p.rec.Phase("score_" + m.role)(0)
	*logp = make(ppo.Ragged, len(it.trajectories))
	if entropy != nil {
		*entropy = make(ppo.Ragged, len(it.trajectories))
	}
	for _, b := range firstEpoch(it.policyBatches, p.cfg.Trainer.PolicyEpochs) {
		results, err := p.replicas.Score(ctx, m.exec, b.plan)
		if err != nil {
			return fmt.Errorf("%s: %w", m.role, err)
		}
		for i, s := range b.members {
			(*logp)[s] = results[i][0].LogProb
			if entropy != nil {
				(*entropy)[s] = results[i][0].Entropy
			}
		}
	}
	return nil
}

// oldLogProbs are the policy's log-probs and entropies before the update. The sampler saw them when it chose the tokens; a replay did
// not, and a careful user wants them from the training forward.
func (p *ppoStage) oldLogProbs(ctx context.Context, it *iteration) error {
	sampled := make(ppo.Ragged, len(it.trajectories))
	entropy := make(ppo.Ragged, len(it.trajectories))
	known := true
	for s, tr := range it.trajectories {
		sampled[s], entropy[s] = tr.LogProb, tr.Entropy
		known = known && tr.LogProb != nil
	}
	if known && p.cfg.Trainer.OldLogProbs == "rollout" {
		it.logp, it.entropy = sampled, entropy
		return nil
	}
	if err := p.read(ctx, p.policy, it, &it.logp, &it.entropy); err != nil || !known {
		return err
	}
	for s := range sampled {
		for t, lp := range sampled[s] {
			it.samplerError = math.Max(it.samplerError, math.Abs(lp-it.logp[s][t]))
		}
	}
	it.compared = true
	return nil
}

// pick takes the rows of the sequences of one micro-batch.
func (b miniBatch) pick(m pipeline.MicroBatch, x ppo.Ragged) (rows ppo.Ragged) {
	for _, u := range m.Units {
		rows = append(rows, x[b.members[u.ID]])
	}
	return rows
}

func (b miniBatch) pickFlags(m pipeline.MicroBatch, x []bool) (flags []bool) {
	for _, u := range m.Units {
		flags = append(flags, x[b.members[u.ID]])
	}
	return flags
}

// rows views an output per sequence, and says where each lies.
func rows(out pipeline.Output, xs []float64) (r ppo.Ragged, spans [][2]int) {
	r = ppo.Ragged{} // of an empty micro-batch: nothing, but given
	out.Each(func(_, lo, hi int) {
		r, spans = append(r, xs[lo:hi]), append(spans, [2]int{lo, hi})
	})
	return r, spans
}

// updatePolicy takes the policy steps of all epochs. At the first one the ratio is 1 by construction, and that is checked.
func (p *ppoStage) updatePolicy(ctx context.Context, st *State, it *iteration, metrics *telemetry.Metrics) error {
	defer p.rec.Phase("policy_update")(0)
	tc := &p.cfg.Trainer
	cfg := ppo.PolicyConfig{ClipRange: tc.ClipRangePolicy, EntropyCoef: tc.EntropyCoef}
	var losses, norms []float64
	var all ppo.PolicyStats
	for k, b := range it.policyBatches {
		var stats ppo.PolicyStats
		loss, err := p.policy.accumulate(ctx, b.plan, func(micro pipeline.MicroBatch, out pipeline.Output, grad pipeline.Gradient) (float64, error) {
			logp, spans := rows(out, out.LogProb)
			entropy, _ := rows(out, out.Entropy)
			part, err := ppo.PolicyLoss(ppo.PolicyBatch{
				LogProb: logp, OldLogProb: b.pick(micro, it.logp), Advantage: b.pick(micro, it.advantages),
				Entropy: entropy, Exclude: b.pickFlags(micro, it.masked),
			}, cfg, b.tokens)
			stats.Add(part.Stats)
			scatter(grad.LogProb, spans, part.DLogProb)
			if grad.Entropy != nil {
				scatter(grad.Entropy, spans, part.DEntropy)
			}
			return part.Loss, err
		})
		if err == nil {
			err = p.sumPolicy(&loss, &stats)
		}
		if err != nil {
			return err
		}
		if k == 0 {
			it.forget()
			metrics.SetFloat(telemetry.RatioMaxError, stats.MaxRatioError)
			if !stats.RatioWithin(tc.RatioTolerance) {
				return fmt.Errorf("%w: at the first policy step the ratio differs from 1 by %g, allowed is %g (trainer.ratio_tolerance): training does not see what was scored",
					ErrNumerical, stats.MaxRatioError, tc.RatioTolerance)
			}
			p.checked = p.checked || stats.Tokens > 0
		}
		rate, norm, err := p.policy.update(st, loss, p.names(it, b.members))
		metrics.SetFloat(telemetry.LRPolicy, rate)
		if err != nil {
			return err
		}
		losses, norms = append(losses, loss), append(norms, norm)
		all.Add(stats)
		if ppo.StopEarly(stats.ApproxKL(), tc.EarlyStopKL) {
			metrics.SetInt(telemetry.DroppedPolicySteps, int64(len(it.policyBatches)-k-1))
			break
		}
	}
	metrics.SetFloat(telemetry.PolicyLoss, mean(losses))
	metrics.SetFloat(telemetry.PolicyGradNorm, mean(norms))
	metrics.SetFloat(telemetry.ApproxKL, all.ApproxKL())
	metrics.SetFloat(telemetry.PolicyClipFraction, all.ClipFraction())
	return nil
}

// sumPolicy adds up a step's loss and statistics over the data ranks; the ratio's error is a maximum.
func (p *ppoStage) sumPolicy(loss *float64, st *ppo.PolicyStats) error {
	tokens, clipped := float64(st.Tokens), float64(st.Clipped)
	worst := st.MaxRatioError
	if err := p.max(&worst); err != nil {
		return err
	}
	err := p.sum(loss, &tokens, &clipped, &st.Ratio, &st.SquaredLogRatio, &st.Entropy)
	st.Tokens, st.Clipped, st.MaxRatioError = int(tokens), int(clipped), worst
	return err
}

// drop counts an iteration whose numbers are not finite: neither model is updated.
func (p *ppoStage) drop(st *State, it *iteration) error {
	names := p.names(it, it.bad)
	p.log.Warn("iteration dropped: NaN or infinite scores, log-probs or values", "iteration", st.Step+1, "samples", fmt.Sprint(names))
	return st.bad("iteration", names)
}

// names identifies trajectories in messages.
func (p *ppoStage) names(it *iteration, members []int) (names []string) {
	for _, s := range members {
		name := fmt.Sprintf("sequence %d", s)
		if it.prompts != nil {
			name += " (" + it.prompts[s].ID + ")"
		}
		names = append(names, name)
	}
	return names
}
