package backend

import "alfred/internal/tensor"

// Draw says how the next token is chosen.
type Draw struct {
	Head
	Greedy bool
	TopK   int     // 0 for no limit
	TopP   float64 // 1 for no limit
}

// SamplingOps choose tokens. The vocabulary is walked in blocks of VocabBlock entries: ranks exchange the sums of their
// blocks, never their logits. All randomness is in the uniform numbers, one per row.
//
// A banned entry (the end-of-document token below the minimum length) has probability 0 in the draw, whatever its logit is; the
// statistics, from which LogProbMerge makes log-prob and entropy, are the model's own all the same.
//
// An entry whose z is -Inf has probability 0 too. A row is no distribution when, of the entries that are not banned, one has a z of
// NaN or +Inf, or all have -Inf. It still gives a token, the lowest entry that is not banned, and the stream goes on: the caller sees
// what happened by a log-prob that is not finite. Only a vocabulary of nothing but the banned entry is an error.
type SamplingOps interface {
	// SampleBlocks, with z = Scale·logits: blocks [N nb 2] wide gets (max z, Σ exp(z-max)) of each block of the entries held
	// here, banned ones left out (a block of only banned entries is (-Inf, 0)); stats [N 4] wide gets what LogProbStats gives,
	// with 0 in place of the target's logit.  logits [N V] wide; banned [N] int32 is an entry or -1.
	SampleBlocks(blocks, stats, logits, banned tensor.Tensor, head Head)
	// SamplePick inverts the cumulative distribution at uniforms [N] float64 over the blocks [N NB 2] of the whole
	// vocabulary, or takes the largest entry (the lowest of equals) when Greedy. On the rank that holds the entry, tokens [N]
	// int32 gets it and z is added to stats[n][3]; elsewhere tokens gets 0, so that a sum over ranks completes it.
	SamplePick(tokens, stats, logits, blocks, uniforms, banned tensor.Tensor, d Draw)
	// SampleTruncated draws from the TopK largest entries, cut further to the smallest set of largest entries whose
	// probabilities (among those TopK) reach TopP; of equal entries the lower id ranks first. The cumulative distribution is walked
	// from the largest entry down. logits [N V] is the whole
	// vocabulary. tokens and stats as in SamplePick.
	SampleTruncated(tokens, stats, logits, uniforms, banned tensor.Tensor, d Draw)
}

// SampleBlocks: see SamplingOps.
func (s *Stream) SampleBlocks(blocks, stats, logits, banned tensor.Tensor, head Head) {
	n, v := dim(logits, 0), dim(logits, 1)
	c := checking("sample blocks").head(head).shape("logits", logits, n, v).shape("blocks", blocks, n, (v+VocabBlock-1)/VocabBlock, 2).
		shape("stats", stats, n, 4).shape("banned", banned, n).
		dtype("logits", logits, s.wide).dtype("blocks", blocks, s.wide).dtype("stats", stats, s.wide).dtype("banned", banned, tensor.Int32)
	if s.ok(c) {
		s.queue.SampleBlocks(blocks, stats, logits, banned, head)
	}
}

// SamplePick: see SamplingOps.
func (s *Stream) SamplePick(tokens, stats, logits, blocks, uniforms, banned tensor.Tensor, d Draw) {
	c := checking("sample pick").draw(s.wide, tokens, stats, logits, uniforms, banned, d).shape("blocks", blocks, dim(logits, 0), -1, 2).dtype("blocks", blocks, s.wide)
	if s.ok(c) {
		s.queue.SamplePick(tokens, stats, logits, blocks, uniforms, banned, d)
	}
}

// SampleTruncated: see SamplingOps.
func (s *Stream) SampleTruncated(tokens, stats, logits, uniforms, banned tensor.Tensor, d Draw) {
	c := checking("sample truncated").draw(s.wide, tokens, stats, logits, uniforms, banned, d)
	if !(d.TopP > 0 && d.TopP <= 1) || d.TopK < 0 {
		c.failf("top_p %g must be in (0, 1], top_k %d at least 0", d.TopP, d.TopK)
	}
	if s.ok(c) {
		s.queue.SampleTruncated(tokens, stats, logits, uniforms, banned, d)
	}
}

// draw demands operands of a draw that fit together.
func (c *check) draw(wide tensor.DType, tokens, stats, logits, uniforms, banned tensor.Tensor, d Draw) *check {
	n, v := dim(logits, 0), dim(logits, 1)
	return c.head(d.Head).shape("logits", logits, n, v).shape("tokens", tokens, n).shape("stats", stats, n, 4).
		shape("uniforms", uniforms, n).shape("banned", banned, n).
		dtype("logits", logits, wide).dtype("tokens", tokens, tensor.Int32).dtype("stats", stats, wide).
		dtype("uniforms", uniforms, tensor.Float64).dtype("banned", banned, tensor.Int32)
}
