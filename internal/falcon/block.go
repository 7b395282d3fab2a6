package falcon

import (
	"fmt"

	"alfred/internal/backend"
	"alfred/internal/nn"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

// Block is one layer. In the parallel forms (40B, 7B) attention and MLP read the same residual stream and their outputs are
// summed over the tensor group once; in the sequential form (RW) the MLP reads what attention has added.
type Block struct {
	attnNorm *nn.LayerNorm
	mlpNorm  *nn.LayerNorm // nil: the MLP reads attnNorm's output
	attn     *nn.Attention // nil on a rank that holds no part of it
	mlp      *nn.MLP
	parallel bool
	nn.Boundary
}

// blockSaved is what Backward needs.
type blockSaved struct {
	attnNorm, mlpNorm nn.NormSaved
	attn              nn.AttentionSaved
	mlp               nn.MLPSaved
	residual          tensor.Tensor // what the outputs of the block were added to
	rows              tensor.Tensor // at which the block was asked for outputs
}

// attend runs a block's attention: y = attention(h), or what this rank holds of it.
type attend func(y, h tensor.Tensor) nn.AttentionSaved

func newBlock(sh shard, l int, b nn.Boundary) *Block {
	prefix := fmt.Sprintf("transformer.h.%d.", l)
	blk := &Block{Boundary: b, parallel: sh.cfg.ParallelAttention}
	blk.attn, blk.mlp = sh.attention(prefix+"self_attention."), sh.mlp(prefix+"mlp.")
	switch {
	case !blk.parallel:
		blk.attnNorm, blk.mlpNorm = sh.norm(prefix+"input_layernorm"), sh.norm(prefix+"post_attention_layernorm")
	case sh.cfg.NumLayerNorms == 2:
		blk.attnNorm, blk.mlpNorm = sh.norm(prefix+"ln_attn"), sh.norm(prefix+"ln_mlp")
	default:
		blk.attnNorm = sh.norm(prefix + "input_layernorm")
	}
	return blk
}

// Forward sets y [M D] from x [N D], at rows:
//
//	parallel:    y = x + attn(ln_attn(x)) + mlp(ln_mlp(x))
//	sequential:  a = x + attn(ln(x));  y = a + mlp(ln'(a))
//
// attn gives those rows of attention.
func (b *Block) Forward(s *backend.Stream, y, x tensor.Tensor, attn attend, rows tensor.Tensor) (saved blockSaved) {
	h, n := b.attnNorm.Forward(s, x)
	saved.attnNorm, saved.rows = n, rows
	x = nn.Gather(s, x, rows)
	residual, partial := x, tensor.Tensor{}
	if b.attn != nil {
		saved.attn = attn(y, h)
		partial = y
	}
	if !b.parallel {
		if b.attn == nil {
			s.Zero(y)
		}
		b.Leave(s, y)
		residual, partial = s.Alloc(x.DType(), x.Dims()...), tensor.Tensor{}
		s.Add(residual, y, x)
	}
	if b.mlpNorm != nil {
		h, saved.mlpNorm = b.mlpNorm.Forward(s, residual)
	} else {
		h = nn.Gather(s, h, rows)
	}
	saved.mlp, saved.residual = b.mlp.Forward(s, y, h, partial), residual
	b.Leave(s, y)
	s.Add(y, y, residual)
	return saved
}

// Backward sets d [N D], the gradient of x, from dy [M D], that of y, which it overwrites; they may be the same.
func (b *Block) Backward(s *backend.Stream, d, dy tensor.Tensor, batch *nn.Batch, pos nn.Positions, saved blockSaved) {
	defer s.Arena().Release(s.Arena().Mark())
	dx, dh := s.Alloc(dy.DType(), dy.Dims()...), s.Alloc(dy.DType(), dy.Dims()...)
	b.mlp.Backward(s, dh, dy, saved.mlp)
	intoX, intoH := backend.Set, backend.Add // whether there is something to be added to
	if b.mlpNorm != nil {
		b.mlpNorm.Backward(s, dx, dh, saved.mlpNorm, backend.Set)
		intoX, intoH = backend.Add, backend.Set
	}
	if !b.parallel {
		b.EnterBackward(s, dx)
		s.Add(dy, dy, dx)
		intoX = backend.Set
	}
	dx, dh = spread(s, dx, saved.rows, d.Rows(), intoX), spread(s, dh, saved.rows, d.Rows(), intoH)
	if b.attn != nil {
		b.attn.Backward(s, dh, dy, batch, pos, saved.attn, intoH)
	} else if intoH == backend.Set {
		s.Zero(dh)
	}
	b.attnNorm.Backward(s, dx, dh, saved.attnNorm, intoX)
	b.EnterBackward(s, dx)
	s.Add(d, nn.Spread(s, dy, saved.rows, d.Rows()), dx)
}

// spread gives dx at all rows, or room for it if it is not to be added to.
func spread(s *backend.Stream, dx, rows tensor.Tensor, n int, into backend.Into) tensor.Tensor {
	if into == backend.Add || rows.Absent() {
		return nn.Spread(s, dx, rows, n)
	}
	return s.Alloc(dx.DType(), n, dx.Dim(1))
}

// Allot takes memory for the activations of tokens tokens.
func (b *Block) Allot(s *backend.Stream, kept *nn.LayerActivations, dtype tensor.DType, tokens int) {
	kept.Input = s.Alloc(dtype, tokens, b.attnNorm.Gamma.Shape[0])
	if !b.parallel {
		kept.Residual = s.Alloc(dtype, kept.Input.Dims()...)
	}
	if b.attn != nil {
		b.attn.Allot(s, kept, dtype, tokens)
	}
	b.mlp.Allot(s, kept, dtype, tokens)
}

// Keep puts what Forward had from x where a cache keeps it, at slots [N], but for what attention has put there already.
func (b *Block) Keep(s *backend.Stream, kept *nn.LayerActivations, x tensor.Tensor, saved blockSaved, slots tensor.Tensor) {
	s.ScatterRows(kept.Input, x, slots)
	slots = nn.Gather(s, slots, saved.rows)
	if !b.parallel {
		s.ScatterRows(kept.Residual, saved.residual, slots)
	}
	b.mlp.Keep(s, kept, saved.mlp, slots)
}

// Recall is what Forward saves with these rows, for tokens that layer l of a cache has kept at slots [N].
func (b *Block) Recall(s *backend.Stream, cache *nn.Cache, l int, slots, rows tensor.Tensor) (saved blockSaved) {
	kept := &cache.Kept.Layers[l]
	x := nn.Gather(s, kept.Input, slots)
	h, n := b.attnNorm.Forward(s, x)
	saved.attnNorm, saved.rows = n, rows
	if b.attn != nil {
		saved.attn = b.attn.Recall(s, h, cache, l, slots, rows)
	}
	slots = nn.Gather(s, slots, rows)
	if b.parallel {
		saved.residual = nn.Gather(s, x, rows)
	} else {
		saved.residual = nn.Gather(s, kept.Residual, slots)
	}
	if b.mlpNorm != nil {
		h, saved.mlpNorm = b.mlpNorm.Forward(s, saved.residual)
	} else {
		h = nn.Gather(s, h, rows)
	}
	saved.mlp = b.mlp.Recall(s, h, kept, slots)
	return saved
}

// Params lists the block's parameters in the order of the forward pass.
func (b *Block) Params() (list []*param.Param) {
	list = b.attnNorm.Params()
	if b.attn != nil {
		list = append(list, b.attn.Params()...)
	}
	if b.mlpNorm != nil {
		list = append(list, b.mlpNorm.Params()...)
	}
	return append(list, b.mlp.Params()...)
}
