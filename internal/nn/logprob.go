package nn

import (
	"alfred/internal/backend"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

// LogProbHead is the language-model head with the log-softmax over a vocabulary that is split over the tensor group in
// whole blocks. It may share W with the embedding; their gradients then sum.
type LogProbHead struct {
	W     *param.Param // [V D], entries First to First+V
	First int
	Boundary
}

// LogProbs are the head's outputs for M rows, each [M] wide and the same on all ranks of the tensor group.
type LogProbs struct {
	LogProb, LSE, Entropy tensor.Tensor
}

// Forward reads the head for hidden states h [M D] and targets [M], with logits multiplied by scale.
func (l *LogProbHead) Forward(s *backend.Stream, h, targets tensor.Tensor, scale float64) LogProbs {
	out := l.Allot(s, h.Rows())
	mark := s.Arena().Mark()
	l.Score(s, out, h, targets, scale)
	s.Arena().Release(mark)
	return out
}

// Score is Forward into out, and gives the statistics [S M 4] that it is made of, of the S ranks of the tensor group (see
// backend.LogProbOps): the largest logit among them tells whether a target is the most probable token.
func (l *LogProbHead) Score(s *backend.Stream, out LogProbs, h, targets tensor.Tensor, scale float64) (all tensor.Tensor) {
	all, mine := l.stats(s, h.Rows())
	s.LogProbStats(mine, h, l.W.Weight(), targets, l.head(scale))
	l.merge(s, out, all, mine)
	return all
}

// Backward sets dh [M D] to this rank's part of the gradient, from the gradients of LogProb and Entropy [M] wide; dentropy
// may be absent.
func (l *LogProbHead) Backward(s *backend.Stream, dh, h, targets tensor.Tensor, scale float64, out LogProbs, dlogp, dentropy tensor.Tensor) {
	s.LogProbBackward(dh, l.W.Grad(), h, l.W.Weight(), targets, out.LSE, out.Entropy, dlogp, dentropy, l.head(scale))
}

// Draw says how Sample chooses.
type Draw struct {
	Temperature float64
	Greedy      bool
	TopK        int     // 0: no limit
	TopP        float64 // 1: no limit
}

// Sample chooses the next token for hidden states h [M D] with one uniform number [M] float64 each; banned [M] int32 is an
// entry that must not be chosen, or -1. tokens [M] int32 and the log-probs are the same on all ranks; with the same h and
// scale the log-probs have the bits that Forward gives for those tokens.
func (l *LogProbHead) Sample(s *backend.Stream, h, uniforms, banned tensor.Tensor, d Draw) (tokens tensor.Tensor, out LogProbs) {
	m, v := h.Rows(), l.W.Local[0]
	tokens, out = s.Alloc(tensor.Int32, m), l.Allot(s, m)
	mark := s.Arena().Mark()
	defer s.Arena().Release(mark)
	logits := s.Alloc(s.Wide(), m, v)
	s.MatMul(logits, h, l.W.Weight(), backend.Epilogue{})
	draw := backend.Draw{Head: l.head(1 / d.Temperature), Greedy: d.Greedy, TopK: d.TopK, TopP: d.TopP}
	all, mine := l.stats(s, m)
	blocks := s.Alloc(s.Wide(), m, blockCount(v), 2)
	s.SampleBlocks(blocks, mine, logits, banned, draw.Head)
	if !d.Greedy && (d.TopK > 0 || d.TopP < 1) {
		// Every rank draws from the whole row. The statistics stay those of the ranks' parts, for the bits of Forward, and one rank
		// adds the logit of the token.
		logits = joinColumns(s, l.Group, logits, l.First, l.W.Shape[0])
		draw.First = 0
		chosen := s.Zeros(s.Wide(), m, 4)
		s.SampleTruncated(tokens, chosen, logits, uniforms, banned, draw)
		if l.Group.Rank() == 0 {
			s.Add(mine, mine, chosen)
		}
	} else {
		blocks = joinColumns(s, l.Group, blocks, l.First/backend.VocabBlock, blockCount(l.W.Shape[0]))
		s.SamplePick(tokens, mine, logits, blocks, uniforms, banned, draw)
		l.Group.AllReduce(s, tokens)
	}
	l.merge(s, out, all, mine)
	return tokens, out
}

// Keep puts outputs where a cache keeps them, at slots [M].
func (l *LogProbHead) Keep(s *backend.Stream, kept, out LogProbs, slots tensor.Tensor) {
	s.ScatterRows(kept.LogProb, out.LogProb, slots)
	s.ScatterRows(kept.LSE, out.LSE, slots)
	s.ScatterRows(kept.Entropy, out.Entropy, slots)
}

// Recall gives the outputs that a cache has kept at slots [M]: those of Forward for the tokens that were chosen, with the scale that they were
// drawn with.
func (l *LogProbHead) Recall(s *backend.Stream, kept LogProbs, slots tensor.Tensor) LogProbs {
	return LogProbs{LogProb: Gather(s, kept.LogProb, slots), LSE: Gather(s, kept.LSE, slots), Entropy: Gather(s, kept.Entropy, slots)}
}

func (l *LogProbHead) head(scale float64) backend.Head {
	return backend.Head{First: l.First, Scale: scale}
}

// Allot takes memory for the outputs of m rows.
func (l *LogProbHead) Allot(s *backend.Stream, m int) LogProbs {
	return LogProbs{LogProb: s.Alloc(s.Wide(), m), LSE: s.Alloc(s.Wide(), m), Entropy: s.Alloc(s.Wide(), m)}
}

// stats is room for the statistics of all ranks [S M 4] and this rank's part of it [M 4].
func (l *LogProbHead) stats(s *backend.Stream, m int) (all, mine tensor.Tensor) {
	all = s.Alloc(s.Wide(), l.Group.Size(), m, 4)
	r := l.Group.Rank()
	return all, all.Slice(r, r+1).Reshape(m, 4)
}

func (l *LogProbHead) merge(s *backend.Stream, out LogProbs, all, mine tensor.Tensor) {
	l.Group.AllGather(s, all, mine)
	s.LogProbMerge(out.LogProb, out.LSE, out.Entropy, all)
}

func blockCount(v int) int { return (v + backend.VocabBlock - 1) / backend.VocabBlock }

// Params lists W.
func (l *LogProbHead) Params() []*param.Param { return []*param.Param{l.W} }
