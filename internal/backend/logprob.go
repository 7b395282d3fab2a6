package backend

import "alfred/internal/tensor"

// VocabBlock is the number of vocabulary entries whose logits are summed up together, counted from entry 0. Ranks hold
// whole blocks, so neither the sampler's nor the log-prob's blocks depend on how the vocabulary is split.
const VocabBlock = 64

// Head is the part of the language-model head that this rank holds.
type Head struct {
	First int     // vocabulary entry of row 0 of the head's weight; a multiple of VocabBlock
	Scale float64 // logits are multiplied by it: 1/temperature
}

// LogProbOps are the language-model head fused with the log-softmax: only a few numbers per token leave it, and of the
// N x V logits only a bounded chunk exists at any time.
//
// With z = Scale·h·wᵀ: log p(target) = z[target] - lse, lse = log Σ exp z, entropy = lse - Σ p·z.
type LogProbOps interface {
	// LogProbStats: stats [N 4] wide gets (m, Σ exp(z-m), Σ exp(z-m)·z, z[target] or 0) over the rows of w held here, m = max z.
	// Entries with z = -Inf take no part in the sums: (-Inf, 0, 0, ...) where there are no others.
	// Blocks of VocabBlock entries are merged in ascending order. A negative target is an error.  h [N D]  w [V D]  targets [N] int32.
	LogProbStats(stats, h, w, targets tensor.Tensor, head Head)
	// LogProbMerge combines the stats [S N 4] of S ranks in rank order.  logp, lse, entropy [N] wide.
	LogProbMerge(logp, lse, entropy, stats tensor.Tensor)
	// LogProbBackward: with p = exp(z - lse) and
	//	dz = dlogp·(1[target] - p) - dentropy·p·(z - lse + entropy):   dh = Scale·dz·w   dw += Scale·dzᵀ·h.
	// A device may round dz to the type of h before it is multiplied.  dh [N D]  dw [V D] wide.  dlogp, dentropy, lse, entropy [N]
	// wide; dentropy is absent when no entropy gradient is wanted.
	LogProbBackward(dh, dw, h, w, targets, lse, entropy, dlogp, dentropy tensor.Tensor, head Head)
}

// LogProbStats: see LogProbOps.
func (s *Stream) LogProbStats(stats, h, w, targets tensor.Tensor, head Head) {
	n := dim(h, 0)
	c := checking("log-prob").logits(h, w, targets, head).shape("stats", stats, n, 4).dtype("stats", stats, s.wide)
	if s.ok(c) {
		s.queue.LogProbStats(stats, h, w, targets, head)
	}
}

// LogProbMerge: see LogProbOps.
func (s *Stream) LogProbMerge(logp, lse, entropy, stats tensor.Tensor) {
	n := dim(stats, 1)
	c := checking("log-prob merge").shape("stats", stats, -1, n, 4).shape("logp", logp, n).shape("lse", lse, n).shape("entropy", entropy, n).
		dtype("stats", stats, s.wide).dtype("logp", logp, s.wide).dtype("lse", lse, s.wide).dtype("entropy", entropy, s.wide)
	if s.ok(c) {
		s.queue.LogProbMerge(logp, lse, entropy, stats)
	}
}

// LogProbBackward: see LogProbOps.
func (s *Stream) LogProbBackward(dh, dw, h, w, targets, lse, entropy, dlogp, dentropy tensor.Tensor, head Head) {
	n := dim(h, 0)
	c := checking("log-prob backward").logits(h, w, targets, head).shape("dh", dh, h.Dims()...).shape("dw", dw, w.Dims()...).
		shape("lse", lse, n).shape("entropy", entropy, n).shape("dlogp", dlogp, n).optional("dentropy", dentropy, n).
		dtype("dh", dh, h.DType()).dtype("dw", dw, s.wide).dtype("lse", lse, s.wide).dtype("entropy", entropy, s.wide).
		dtype("dlogp", dlogp, s.wide).dtype("dentropy", dentropy, s.wide)
	if s.ok(c) {
		s.queue.LogProbBackward(dh, dw, h, w, targets, lse, entropy, dlogp, dentropy, head)
	}
}

// logits demands hidden states, head and targets that fit together.
func (c *check) logits(h, w, targets tensor.Tensor, head Head) *check {
	n, d := dim(h, 0), dim(h, 1)
	return c.shape("h", h, n, d).shape("w", w, -1, d).shape("targets", targets, n).
		dtype("w", w, h.DType()).dtype("targets", targets, tensor.Int32).head(head)
}

// head demands that a rank's part of the vocabulary starts with a whole block.
func (c *check) head(h Head) *check {
	if h.First%VocabBlock != 0 {
		c.failf("the head starts at vocabulary entry %d, not at a multiple of %d", h.First, VocabBlock)
	}
	return c
}
