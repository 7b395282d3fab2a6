package falcon

import (
	"fmt"

	"alfred/internal/backend"
	"alfred/internal/mesh"
	"alfred/internal/nn"
	"alfred/internal/param"
)

// shard declares the parameters that one rank of a tensor group holds.
type shard struct {
	cfg        Config
	rank, size int
}

// once reports whether this rank holds what only one rank of the group needs.
func (sh shard) once() bool { return sh.rank == 0 }

// vocabulary is this rank's range of vocabulary entries: whole blocks, as evenly as they go.
func (sh shard) vocabulary() (lo, hi int) {
	v := sh.cfg.VocabSize
	lo, hi = mesh.Shard((v+backend.VocabBlock-1)/backend.VocabBlock, sh.rank, sh.size)
	return min(v, lo*backend.VocabBlock), min(v, hi*backend.VocabBlock)
}

// norm is a layer norm, held whole. Its gradients are taken on the ranks' partial gradients, so they sum over the group.
func (sh shard) norm(name string) *nn.LayerNorm {
	d := []int{sh.cfg.HiddenSize}
	sum := mesh.Set(mesh.Tensor)
	return &nn.LayerNorm{
		Gamma: param.Replicated(name+".weight", d, sum, sh.once()),
		Beta:  param.Replicated(name+".bias", d, sum, sh.once()),
		Eps:   sh.cfg.LayerNormEpsilon,
	}
}

// attention is this rank's part of the attention of a layer, or nil when it has none.
//
// When the query heads divide by the group, each rank takes H/size of them in order and the key/value heads that they read; a
// key/value head that several ranks read is replicated on them, and its gradient is summed. When they do not divide (Falcon-7B
// has 71), rank 0 has all of the attention and the others none of it: splitting the MLP still pays, and computing the same
// attention on every rank would gain nothing.
func (sh shard) attention(prefix string) *nn.Attention {
	cfg := sh.cfg
	h, g, k := cfg.NumHeads, cfg.NumKVHeads, cfg.HeadDim
	a := &nn.Attention{HeadDim: k}
	var rows []param.Segment // of the fused projection
	firstHead := 0
	switch {
	case h%sh.size != 0:
		if !sh.once() {
			return nil
		}
		a.Heads, a.KVHeads = h, g
		rows = []param.Segment{{Count: cfg.QKVRows(), Owner: true}}
	case g%sh.size == 0: // whole groups
		a.Heads, a.KVHeads = h/sh.size, g/sh.size
		firstHead = sh.rank * a.Heads
		n := cfg.QKVRows() / sh.size
		rows = []param.Segment{{Global: sh.rank * n, Count: n, Owner: true}}
	case sh.size%g == 0: // a part of one group
		a.Heads, a.KVHeads = h/sh.size, 1
		firstHead = sh.rank * a.Heads
		sharers := sh.size / g
		group := sh.rank / sharers * (h/g + 2) * k // the group's first row
		n := a.Heads * k
		rows = []param.Segment{
			{Global: group + sh.rank%sharers*n, Count: n, Owner: true},
			{Global: group + h/g*k, Local: n, Count: 2 * k, Sum: mesh.Set(mesh.Tensor), Owner: sh.rank%sharers == 0},
		}
	default:
		panic(fmt.Sprintf("falcon: %d key/value heads over %d tensor ranks", g, sh.size))
	}
	local := (a.Heads + 2*a.KVHeads) * k
	a.QKV.W = &param.Param{Name: prefix + "query_key_value.weight", Shape: []int{cfg.QKVRows(), cfg.HiddenSize},
		Local: []int{local, cfg.HiddenSize}, Segments: rows, Decay: true}
	if cfg.Bias {
		a.QKV.Bias = &param.Param{Name: prefix + "query_key_value.bias", Shape: []int{cfg.QKVRows()}, Local: []int{local}, Segments: rows}
	}
	a.Dense = sh.rowParallel(prefix+"dense", cfg.HiddenSize, h*k, firstHead*k, (firstHead+a.Heads)*k)
	return a
}

// firstHead is the first query head of this rank.
func (sh shard) firstHead() int {
	if sh.cfg.NumHeads%sh.size != 0 {
		return 0
	}
	return sh.rank * (sh.cfg.NumHeads / sh.size)
}

func (sh shard) mlp(prefix string) *nn.MLP {
	d, f := sh.cfg.HiddenSize, sh.cfg.FFNSize
	lo, hi := mesh.Shard(f, sh.rank, sh.size)
	up := nn.Linear{W: param.Rows(prefix+"dense_h_to_4h.weight", []int{f, d}, lo, hi)}
	if sh.cfg.Bias {
		up.Bias = param.Rows(prefix+"dense_h_to_4h.bias", []int{f}, lo, hi)
	}
	return &nn.MLP{Up: up, Down: sh.rowParallel(prefix+"dense_4h_to_h", d, f, lo, hi)}
}

// rowParallel is a linear layer of which this rank holds input columns lo to hi. Its output is a partial sum, so the bias
// must be added by one rank only: the others do not have it.
func (sh shard) rowParallel(name string, out, in, lo, hi int) nn.Linear {
	l := nn.Linear{W: param.Cols(name+".weight", []int{out, in}, lo, hi)}
	if sh.cfg.Bias && sh.once() {
		l.Bias = param.Replicated(name+".bias", []int{out}, 0, true)
	}
	return l
}

// Splits says what is wrong with cutting the model over size tensor ranks, or nil.
func (c Config) Splits(size int) error {
	blocks := (c.VocabSize + backend.VocabBlock - 1) / backend.VocabBlock
	switch g := c.NumKVHeads; {
	case blocks < size:
		return fmt.Errorf("falcon: a vocabulary of %d is %d blocks of %d entries, too few for tensor: %d", c.VocabSize, blocks, backend.VocabBlock, size)
	case c.FFNSize < size:
		return fmt.Errorf("falcon: a feed-forward size of %d is too small for tensor: %d", c.FFNSize, size)
	case c.NumHeads%size == 0 && g%size != 0 && size%g != 0:
		return fmt.Errorf("falcon: %d key/value heads neither divide by tensor: %d nor divide it", g, size)
	}
	return nil
}
