// Package falcon is the Falcon family of decoder-only transformers: the forms of Falcon-40B (new decoder architecture), of
// Falcon-7B (multi-query attention) and of Falcon-RW (ALiBi, biases, sequential blocks), with a language-model head or a
// score head. One Block serves all of them.
package falcon

import (
	"errors"

	"alfred/internal/backend"
	"alfred/internal/collective"
	"alfred/internal/nn"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

// Stage is what one rank holds of a model.
type Stage struct {
	Config Config
	Params *param.Store

	embed     *nn.Embedding
	blocks    []*Block
	norm      *nn.LayerNorm
	lm        *nn.LogProbHead // one of lm and score
	score     *nn.ScoreHead
	positions nn.Positions
	options   Options
	nn.Boundary

	spare []*pass // that Backward has used up: room for the next Forward
}

// Options of a Stage.
type Options struct {
	Tensor    collective.Group // the tensor group; Solo when nil
	DType     tensor.DType     // of weights and activations
	Positions int              // longest sequence; the model's own limit when 0
	Recompute bool             // keep only the inputs of blocks, and run them again in the backward pass
	// Rotary replaces the rotary tables of RotaryTables, [Positions HeadDim/2] each, to reproduce another program's.
	RotaryCos, RotarySin []float64
}

// NewStage allocates weights (zero) and position tables from the stream's current arena. The configuration must be one that
// Splits accepts.
func NewStage(s *backend.Stream, cfg Config, o Options) *Stage {
	if o.Tensor == nil {
		o.Tensor = collective.Solo{}
	}
	if o.Positions == 0 {
		o.Positions = cfg.MaxPositions
	}
	sh := shard{cfg: cfg, rank: o.Tensor.Rank(), size: o.Tensor.Size()}
	st := &Stage{Config: cfg, options: o, Boundary: nn.Boundary{Group: o.Tensor}}
	lo, hi := sh.vocabulary()
	table := []int{cfg.VocabSize, cfg.HiddenSize}
	st.embed = &nn.Embedding{W: param.Rows("transformer.word_embeddings.weight", table, lo, hi), First: lo, Boundary: st.Boundary}
	params := []*param.Param{st.embed.W}
	for l := range cfg.NumLayers {
		blk := newBlock(sh, l, st.Boundary)
		st.blocks = append(st.blocks, blk)
		params = append(params, blk.Params()...)
	}
	st.norm = sh.norm("transformer.ln_f")
	params = append(params, st.norm.Params()...)
	switch {
	case cfg.Head == SequenceClassification:
		st.score = &nn.ScoreHead{W: param.Replicated("score.weight", []int{1, cfg.HiddenSize}, 0, sh.once()), Boundary: st.Boundary}
		params = append(params, st.score.W)
	case cfg.TieWordEmbeddings:
		st.lm = &nn.LogProbHead{W: st.embed.W, First: lo, Boundary: st.Boundary}
	default:
		st.lm = &nn.LogProbHead{W: param.Rows("lm_head.weight", table, lo, hi), First: lo, Boundary: st.Boundary}
		params = append(params, st.lm.W)
	}
	st.Params = param.NewStore(params)
	st.Params.Bind(s, o.DType)
	st.positions = st.tables(s, sh)
	return st
}

// tables uploads what attention needs to know positions.
func (st *Stage) tables(s *backend.Stream, sh shard) (pos nn.Positions) {
	n := st.options.Positions
	upload := func(rows int, data []float64) tensor.Tensor {
		t := s.Alloc(s.Wide(), rows, len(data)/rows)
		s.Upload(t, backend.Float64s(data))
		return t
	}
	if st.Config.Alibi {
		if attn := st.blocks[0].attn; attn != nil {
			table := AlibiTable(st.Config.NumHeads, n)
			pos.Bias = upload(attn.Heads, table[sh.firstHead()*n:(sh.firstHead()+attn.Heads)*n])
		}
		return pos
	}
	cos, sin := st.options.RotaryCos, st.options.RotarySin
	if cos == nil {
		cos, sin = RotaryTables(st.Config, n)
	}
	pos.Cos, pos.Sin = upload(n, cos), upload(n, sin)
	return pos
}

// pass is what Backward needs of a Forward.
type pass struct {
	batch  *nn.Batch
	scale  float64
	inputs []tensor.Tensor // of each block
	blocks []blockSaved    // empty when recomputing
	norm   nn.NormSaved
	h      tensor.Tensor // [M D]: what the head read
	out    nn.Outputs
}

// begin gives an empty pass, finish takes it back.
func (st *Stage) begin(b *nn.Batch, scale float64) (p *pass) {
	if n := len(st.spare); n > 0 {
		p, st.spare = st.spare[n-1], st.spare[:n-1]
	} else {
		p = &pass{}
	}
	p.batch, p.scale = b, scale
	return p
}

func (st *Stage) finish(p *pass) {
	clear(p.inputs)
	clear(p.blocks)
	*p = pass{inputs: p.inputs[:0], blocks: p.blocks[:0]}
	st.spare = append(st.spare, p)
}

// at is where block l is asked for outputs: everywhere, but of the last one at the rows that the head reads.
func (st *Stage) at(l int, rows tensor.Tensor) tensor.Tensor {
	if l < len(st.blocks)-1 {
		return tensor.Tensor{}
	}
	return rows
}

// output allocates what a block gives that is asked for rows, of n where they are absent.
func (st *Stage) output(s *backend.Stream, n int, rows tensor.Tensor) tensor.Tensor {
	if !rows.Absent() {
		n = rows.Len()
	}
	return s.Alloc(st.options.DType, n, st.Config.HiddenSize)
}

// Forward runs the model over a batch and reads its head at the batch's rows, with logits multiplied by scale. Unless keep is
// set, nothing is kept for Backward and memory does not grow with the number of layers. What is to be kept and a cache has already is
// recalled from there.
func (st *Stage) Forward(s *backend.Stream, b *nn.Batch, scale float64, keep bool) (nn.Outputs, any) {
	if keep && b.Cache != nil {
		return st.recall(s, b, scale)
	}
	kept := st.begin(b, scale)
	x := st.embed.Forward(s, b.IDs)
	spare := tensor.Tensor{}
	if !keep {
		spare = s.Alloc(x.DType(), x.Dims()...)
	}
	for l, blk := range st.blocks {
		y, rows := spare, st.at(l, b.Rows)
		if keep || !rows.Absent() {
			y = st.output(s, b.IDs.Len(), rows)
		}
		mark := s.Arena().Mark()
		bs := blk.Forward(s, y, x, st.attend(s, blk, b, rows), rows)
		if keep {
			kept.inputs = append(kept.inputs, x)
		}
		if keep && !st.options.Recompute {
			kept.blocks = append(kept.blocks, bs)
		} else {
			s.Arena().Release(mark)
		}
		x, spare = y, x
	}
	kept.h, kept.norm = st.norm.Forward(s, x)
	if st.score != nil {
		kept.out.Value = st.score.Forward(s, kept.h)
	} else {
		kept.out.LogProbs = st.lm.Forward(s, kept.h, b.Targets, scale)
	}
	out := kept.out
	if !keep {
		st.finish(kept)
		return out, nil
	}
	return out, kept
}

// recall is Forward with keep for a batch that a cache has kept: of the tokens in its order, chosen with this scale.
func (st *Stage) recall(s *backend.Stream, b *nn.Batch, scale float64) (nn.Outputs, any) {
	kept, slots := st.begin(b, scale), b.Slots(s)
	for l, blk := range st.blocks {
		kept.blocks = append(kept.blocks, blk.Recall(s, b.Cache, l, slots, st.at(l, b.Rows)))
	}
	read := nn.Gather(s, slots, b.Rows)
	kept.h, kept.norm = st.norm.Forward(s, nn.Gather(s, b.Cache.Kept.Last, read))
	kept.out.LogProbs = st.lm.Recall(s, b.Cache.Kept.Chosen, read)
	return kept.out, kept
}

func (st *Stage) attend(s *backend.Stream, blk *Block, b *nn.Batch, rows tensor.Tensor) attend {
	return func(y, h tensor.Tensor) nn.AttentionSaved {
		return blk.attn.Forward(s, y, h, b, st.positions, rows)
	}
}

// Backward adds the gradients of all parameters, given those of the outputs.
func (st *Stage) Backward(s *backend.Stream, kept any, g nn.Gradients) {
	saved := kept.(*pass)
	defer st.finish(saved)
	defer s.Arena().Release(s.Arena().Mark())
	b, n := saved.batch, saved.batch.IDs.Len()
	dtype := saved.h.DType()
	d, dy := s.Alloc(dtype, n, st.Config.HiddenSize), s.Alloc(dtype, saved.h.Dims()...)
	head := s.Arena().Mark()
	dh := s.Alloc(dtype, saved.h.Dims()...)
	if st.score != nil {
		st.score.Backward(s, dh, saved.h, g.Value)
	} else {
		st.lm.Backward(s, dh, saved.h, b.Targets, saved.scale, saved.out.LogProbs, g.LogProb, g.Entropy)
	}
	st.norm.Backward(s, dy, dh, saved.norm, backend.Set)
	st.EnterBackward(s, dy)
	s.Arena().Release(head)
	for l := len(st.blocks) - 1; l >= 0; l-- {
		blk, mark, rows := st.blocks[l], s.Arena().Mark(), st.at(l, b.Rows)
		var bs blockSaved
		if len(saved.blocks) == 0 {
			bs = blk.Forward(s, st.output(s, n, rows), saved.inputs[l], st.attend(s, blk, b, rows), rows)
		} else {
			bs = saved.blocks[l]
		}
		blk.Backward(s, d, dy, b, st.positions, bs)
		s.Arena().Release(mark)
		dy = d
	}
	st.embed.Backward(s, d, b.IDs)
}

// Cache allocates a key/value cache for this rank's heads from the stream's current arena, with room for activations if it is to
// keep those.
func (st *Stage) Cache(s *backend.Stream, pages, pageSize int, keep bool) *nn.Cache {
	c := &nn.Cache{PageSize: pageSize, Pages: pages}
	if attn := st.blocks[0].attn; attn != nil {
		c = nn.NewCache(s, st.options.DType, len(st.blocks), pages, pageSize, attn.KVHeads, attn.HeadDim)
	}
	if !keep || st.lm == nil {
		return c
	}
	tokens := pages * pageSize
	c.Kept = &nn.Activations{
		Layers: make([]nn.LayerActivations, len(st.blocks)), Last: s.Alloc(st.options.DType, tokens, st.Config.HiddenSize),
		Chosen: st.lm.Allot(s, tokens),
	}
	for l, blk := range st.blocks {
		blk.Allot(s, &c.Kept.Layers[l], st.options.DType, tokens)
	}
	return c
}

// Decode runs the model over the next tokens of cached sequences, writes their keys and values to the cache, and chooses the
// token after each row of the batch; see nn.LogProbHead.Sample.
func (st *Stage) Decode(s *backend.Stream, b *nn.CachedBatch, cache *nn.Cache, uniforms, banned tensor.Tensor, d nn.Draw) (tokens tensor.Tensor, out nn.LogProbs) {
	if st.lm == nil {
		s.Fail(errors.New("falcon: a model with a score head cannot choose tokens"))
		return tokens, out
	}
	x := st.extend(s, b, cache)
	h, _ := st.norm.Forward(s, x)
	tokens, out = st.lm.Sample(s, h, uniforms, banned, d)
	if kept := cache.Kept; kept != nil {
		read := nn.Gather(s, b.Slots, b.Rows)
		s.ScatterRows(kept.Last, x, read)
		st.lm.Keep(s, kept.Chosen, out, read)
	}
	return tokens, out
}

// ScoreCached does the same, but instead of choosing tokens it scores those that the batch names; see nn.LogProbHead.Score.
func (st *Stage) ScoreCached(s *backend.Stream, b *nn.CachedBatch, cache *nn.Cache, scale float64) (out nn.LogProbs, stats tensor.Tensor) {
	if st.lm == nil {
		s.Fail(errors.New("falcon: a model with a score head has no log-probs"))
		return out, stats
	}
	h, _ := st.norm.Forward(s, st.extend(s, b, cache))
	out = st.lm.Allot(s, h.Rows())
	return out, st.lm.Score(s, out, h, b.Targets, scale)
}

// extend runs all blocks over the next tokens of cached sequences and writes to the cache; what it gives [M D] is what the head's norm
// reads.
func (st *Stage) extend(s *backend.Stream, b *nn.CachedBatch, cache *nn.Cache) tensor.Tensor {
	x := st.embed.Forward(s, b.IDs)
	y := s.Alloc(x.DType(), x.Dims()...)
	for l, blk := range st.blocks {
		rows := st.at(l, b.Rows)
		if !rows.Absent() {
			y = st.output(s, b.IDs.Len(), rows)
		}
		mark := s.Arena().Mark()
		saved := blk.Forward(s, y, x, func(y, h tensor.Tensor) (none nn.AttentionSaved) {
			blk.attn.Cached(s, y, h, b, st.positions, cache, l, rows)
			return none
		}, rows)
		if cache.Kept != nil {
			blk.Keep(s, &cache.Kept.Layers[l], x, saved, b.Slots)
		}
		s.Arena().Release(mark)
		x, y = y, x
	}
	return x
}
