package dry

import (
	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// outer is the multiply-adds of the product of x [N I] with a weight [O I].
func outer(x, w tensor.Tensor) float64 {
	return float64(x.Dim(0)) * float64(w.Dim(0)) * float64(w.Dim(1))
}

func (q *queue) MatMul(y, x, w tensor.Tensor, e backend.Epilogue) {
	q.product("matmul", outer(x, w), once(y, x, w, e.Bias, e.Residual))
}

func (q *queue) MatMulInput(dx, dy, w tensor.Tensor, into backend.Into) {
	q.product("matmul input gradient", outer(dy, w), written(dx, into)+once(dy, w))
}

func (q *queue) MatMulWeight(dw, dy, x tensor.Tensor) {
	q.product("matmul weight gradient", outer(x, dw), twice(dw)+once(dy, x))
}

func (q *queue) SumRows(db, dy tensor.Tensor) { q.op("sum rows", twice(db)+once(dy)) }

func (q *queue) LayerNorm(y, mean, rstd, x, gamma, beta tensor.Tensor, _ float64) {
	q.op("layer norm", once(y, mean, rstd, x, gamma, beta))
}

func (q *queue) LayerNormBackward(dx, dgamma, dbeta, dy, x, gamma, mean, rstd tensor.Tensor, into backend.Into) {
	q.op("layer norm backward", written(dx, into)+twice(dgamma, dbeta)+once(dy, x, gamma, mean, rstd))
}

func (q *queue) SplitQKV(query, key, value, qkv tensor.Tensor, r backend.Rotary) {
	q.op("split qkv", once(query, key, value, qkv, r.Cos, r.Sin, r.Positions))
}

func (q *queue) SplitQKVBackward(dqkv, dq, dk, dv tensor.Tensor, r backend.Rotary) {
	q.op("split qkv backward", once(dqkv, dq, dk, dv, r.Cos, r.Sin, r.Positions))
}

// visible is the number of (query, key) pairs of causal attention when the last queries of keys ask.
func visible(queries, keys int) float64 {
	n := float64(queries)
	return n*float64(keys-queries) + n*(n+1)/2
}

func packedPairs(seqs backend.Sequences) (pairs float64) {
	for _, l := range seqs.Lengths {
		pairs += visible(l, l)
	}
	return pairs
}

// Attention has two products for each pair and head: q·k and p·v.
func (q *queue) Attention(o, lse, query, key, value tensor.Tensor, seqs backend.Sequences, a backend.Attention) {
	width := float64(query.Cols())
	q.product("attention", 2*width*packedPairs(seqs), once(o, lse, query, key, value, seqs.Offsets, a.Bias))
}

// AttentionBackward has five: the scores again, and the gradients of probabilities, q, k and v.
func (q *queue) AttentionBackward(dq, dk, dv, do, o, lse, query, key, value tensor.Tensor, seqs backend.Sequences, a backend.Attention) {
	width := float64(query.Cols())
	q.product("attention backward", 5*width*packedPairs(seqs), once(dq, dk, dv, do, o, lse, query, key, value, seqs.Offsets, a.Bias))
}

// AttentionPaged reads the keys and values of the sequences, not the rest of the cache.
func (q *queue) AttentionPaged(o, lse, query, keys, values tensor.Tensor, p backend.Pages, a backend.Attention) {
	pairs, numKeys := 0.0, 0
	for b, count := range p.KeyCounts {
		pairs += visible(p.QueryCounts[b], count)
		numKeys += count
	}
	q.product("paged attention", 2*float64(query.Cols())*pairs,
		once(o, lse, query, p.Table, p.Queries, p.KeyLengths, a.Bias)+rowBytes(keys, numKeys)+rowBytes(values, numKeys))
}

func (q *queue) Gelu(y, x tensor.Tensor) { q.op("gelu", once(y, x)) }

func (q *queue) GeluBackward(dx, dy, x tensor.Tensor) { q.op("gelu backward", once(dx, dy, x)) }

func (q *queue) Embedding(y, table, ids tensor.Tensor, _ int) {
	q.op("embedding", once(y, ids)+rowBytes(table, ids.Len()))
}

func (q *queue) EmbeddingBackward(dtable, dy, ids tensor.Tensor, _ int) {
	q.op("embedding backward", once(dy, ids)+2*rowBytes(dtable, ids.Len()))
}

func (q *queue) LogProbStats(stats, h, w, targets tensor.Tensor, _ backend.Head) {
	q.product("log-prob", outer(h, w), once(stats, h, w, targets))
}

func (q *queue) LogProbMerge(logp, lse, entropy, stats tensor.Tensor) {
	q.op("log-prob merge", once(logp, lse, entropy, stats))
}

// LogProbBackward has three products: the logits again, and the gradients of h and w.
func (q *queue) LogProbBackward(dh, dw, h, w, targets, lse, entropy, dlogp, dentropy tensor.Tensor, _ backend.Head) {
	q.product("log-prob backward", 3*outer(h, w), twice(dw)+once(dh, h, w, targets, lse, entropy, dlogp, dentropy))
}

func (q *queue) Zero(x tensor.Tensor) { q.op("zero", once(x)) }

func (q *queue) Copy(y, x tensor.Tensor) { q.op("copy", once(y, x)) }

func (q *queue) Add(y, a, b tensor.Tensor) { q.op("add", once(y, a, b)) }

func (q *queue) GatherRows(y, _, rows tensor.Tensor) { q.op("gather rows", twice(y)+once(rows)) }

func (q *queue) ScatterRows(_, x, rows tensor.Tensor) { q.op("scatter rows", twice(x)+once(rows)) }

func (q *queue) AddRows(y, x, rows tensor.Tensor) {
	q.op("add rows", once(x, rows)+2*rowBytes(y, rows.Len()))
}

func (q *queue) SumSquares(out, x tensor.Tensor) { q.op("sum of squares", twice(out)+once(x)) }

func (q *queue) AdamW(weight, master, m, v, grad tensor.Tensor, _ backend.AdamWStep) {
	bytes := twice(master, m, v) + once(grad)
	if weight.Buffer() != master.Buffer() || weight.Offset() != master.Offset() {
		bytes += once(weight)
	}
	q.op("adamw", bytes)
}

func (q *queue) SampleBlocks(blocks, stats, logits, banned tensor.Tensor, _ backend.Head) {
	q.op("sample blocks", once(blocks, stats, logits, banned))
}

// SamplePick reads one block of each row of logits.
func (q *queue) SamplePick(tokens, stats, logits, blocks, uniforms, banned tensor.Tensor, _ backend.Draw) {
	entries := min(backend.VocabBlock, logits.Dim(1)) * logits.Dim(0)
	q.op("sample pick", twice(stats)+once(tokens, blocks, uniforms, banned)+entries*logits.DType().Size())
}

func (q *queue) SampleTruncated(tokens, stats, logits, uniforms, banned tensor.Tensor, _ backend.Draw) {
	q.op("sample truncated", twice(stats)+once(tokens, logits, uniforms, banned))
}
