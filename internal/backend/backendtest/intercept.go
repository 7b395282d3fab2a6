package backendtest

import (
	"slices"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// intercept is a Queue whose operations go through one function, which may run them later, not at all, or change what they
// wrote. It does not cover the doors between host and device, nor Sync.
//
// What an operation reads on the host is read at the call: slices of lengths are copied.
type intercept struct {
	inner  backend.Queue
	around func(op string, writes []tensor.Tensor, run func())
}

// tensors is a list; operands that may be absent are in it all the same.
func tensors(ts ...tensor.Tensor) []tensor.Tensor { return ts }

func (q intercept) MatMul(y, x, w tensor.Tensor, e backend.Epilogue) {
	q.around("MatMul", tensors(y), func() { q.inner.MatMul(y, x, w, e) })
}

func (q intercept) MatMulInput(dx, dy, w tensor.Tensor, into backend.Into) {
	q.around("MatMulInput", tensors(dx), func() { q.inner.MatMulInput(dx, dy, w, into) })
}

func (q intercept) MatMulWeight(dw, dy, x tensor.Tensor) {
	q.around("MatMulWeight", tensors(dw), func() { q.inner.MatMulWeight(dw, dy, x) })
}

func (q intercept) SumRows(db, dy tensor.Tensor) {
	q.around("SumRows", tensors(db), func() { q.inner.SumRows(db, dy) })
}

func (q intercept) LayerNorm(y, mean, rstd, x, gamma, beta tensor.Tensor, eps float64) {
	q.around("LayerNorm", tensors(y, mean, rstd), func() { q.inner.LayerNorm(y, mean, rstd, x, gamma, beta, eps) })
}

func (q intercept) LayerNormBackward(dx, dgamma, dbeta, dy, x, gamma, mean, rstd tensor.Tensor, into backend.Into) {
	q.around("LayerNormBackward", tensors(dx, dgamma, dbeta), func() {
		q.inner.LayerNormBackward(dx, dgamma, dbeta, dy, x, gamma, mean, rstd, into)
	})
}

func (q intercept) SplitQKV(query, key, value, qkv tensor.Tensor, r backend.Rotary) {
	q.around("SplitQKV", tensors(query, key, value), func() { q.inner.SplitQKV(query, key, value, qkv, r) })
}

func (q intercept) SplitQKVBackward(dqkv, dq, dk, dv tensor.Tensor, r backend.Rotary) {
	q.around("SplitQKVBackward", tensors(dqkv), func() { q.inner.SplitQKVBackward(dqkv, dq, dk, dv, r) })
}

func (q intercept) Attention(o, lse, query, key, value tensor.Tensor, seqs backend.Sequences, a backend.Attention) {
	seqs.Lengths = slices.Clone(seqs.Lengths)
	q.around("Attention", tensors(o, lse), func() { q.inner.Attention(o, lse, query, key, value, seqs, a) })
}

func (q intercept) AttentionBackward(dq, dk, dv, do, o, lse, query, key, value tensor.Tensor, seqs backend.Sequences, a backend.Attention) {
	seqs.Lengths = slices.Clone(seqs.Lengths)
	q.around("AttentionBackward", tensors(dq, dk, dv), func() { q.inner.AttentionBackward(dq, dk, dv, do, o, lse, query, key, value, seqs, a) })
}

func (q intercept) AttentionPaged(o, lse, query, keys, values tensor.Tensor, p backend.Pages, a backend.Attention) {
	p.QueryCounts, p.KeyCounts = slices.Clone(p.QueryCounts), slices.Clone(p.KeyCounts)
	q.around("AttentionPaged", tensors(o, lse), func() { q.inner.AttentionPaged(o, lse, query, keys, values, p, a) })
}

func (q intercept) Gelu(y, x tensor.Tensor) {
	q.around("Gelu", tensors(y), func() { q.inner.Gelu(y, x) })
}

func (q intercept) GeluBackward(dx, dy, x tensor.Tensor) {
	q.around("GeluBackward", tensors(dx), func() { q.inner.GeluBackward(dx, dy, x) })
}

func (q intercept) Embedding(y, table, ids tensor.Tensor, first int) {
	q.around("Embedding", tensors(y), func() { q.inner.Embedding(y, table, ids, first) })
}

func (q intercept) EmbeddingBackward(dtable, dy, ids tensor.Tensor, first int) {
	q.around("EmbeddingBackward", tensors(dtable), func() { q.inner.EmbeddingBackward(dtable, dy, ids, first) })
}

func (q intercept) LogProbStats(stats, h, w, targets tensor.Tensor, head backend.Head) {
	q.around("LogProbStats", tensors(stats), func() { q.inner.LogProbStats(stats, h, w, targets, head) })
}

func (q intercept) LogProbMerge(logp, lse, entropy, stats tensor.Tensor) {
	q.around("LogProbMerge", tensors(logp, lse, entropy), func() { q.inner.LogProbMerge(logp, lse, entropy, stats) })
}

func (q intercept) LogProbBackward(dh, dw, h, w, targets, lse, entropy, dlogp, dentropy tensor.Tensor, head backend.Head) {
	q.around("LogProbBackward", tensors(dh, dw), func() { q.inner.LogProbBackward(dh, dw, h, w, targets, lse, entropy, dlogp, dentropy, head) })
}

func (q intercept) Zero(x tensor.Tensor) {
	q.around("Zero", tensors(x), func() { q.inner.Zero(x) })
}

func (q intercept) Copy(y, x tensor.Tensor) {
	q.around("Copy", tensors(y), func() { q.inner.Copy(y, x) })
}

func (q intercept) Add(y, a, b tensor.Tensor) {
	q.around("Add", tensors(y), func() { q.inner.Add(y, a, b) })
}

func (q intercept) GatherRows(y, x, rows tensor.Tensor) {
	q.around("GatherRows", tensors(y), func() { q.inner.GatherRows(y, x, rows) })
}

func (q intercept) ScatterRows(y, x, rows tensor.Tensor) {
	q.around("ScatterRows", tensors(y), func() { q.inner.ScatterRows(y, x, rows) })
}

func (q intercept) AddRows(y, x, rows tensor.Tensor) {
	q.around("AddRows", tensors(y), func() { q.inner.AddRows(y, x, rows) })
}

func (q intercept) SumSquares(out, x tensor.Tensor) {
	q.around("SumSquares", tensors(out), func() { q.inner.SumSquares(out, x) })
}

func (q intercept) AdamW(weight, master, m, v, grad tensor.Tensor, step backend.AdamWStep) {
	q.around("AdamW", tensors(weight, master, m, v), func() { q.inner.AdamW(weight, master, m, v, grad, step) })
}

func (q intercept) SampleBlocks(blocks, stats, logits, banned tensor.Tensor, head backend.Head) {
	q.around("SampleBlocks", tensors(blocks, stats), func() { q.inner.SampleBlocks(blocks, stats, logits, banned, head) })
}

func (q intercept) SamplePick(tokens, stats, logits, blocks, uniforms, banned tensor.Tensor, d backend.Draw) {
	q.around("SamplePick", tensors(tokens, stats), func() { q.inner.SamplePick(tokens, stats, logits, blocks, uniforms, banned, d) })
}

func (q intercept) SampleTruncated(tokens, stats, logits, uniforms, banned tensor.Tensor, d backend.Draw) {
	q.around("SampleTruncated", tensors(tokens, stats), func() { q.inner.SampleTruncated(tokens, stats, logits, uniforms, banned, d) })
}
