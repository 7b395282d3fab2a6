package param

import (
	"fmt"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// granule is the alignment of a parameter in the flat buffers, in elements: 256 bytes of float32, 128 of bfloat16.
const granule = 64

// Store keeps the parameters of one model in flat buffers: weights in the order of the forward pass, gradients in the
// reverse order, which is the order in which they become final. The gradient buffer is lent: models that are trained in
// turns share one.
type Store struct {
	params  []*Param
	dtype   tensor.DType
	weights tensor.Tensor // flat
	grads   tensor.Tensor // flat; absent when not lent
	starts  []int         // of each parameter in weights, in elements
	total   int           // elements of either flat buffer
}

// NewStore takes the parameters in the order of the forward pass. Names must differ.
func NewStore(params []*Param) *Store {
	st := &Store{params: params}
	seen := map[string]bool{}
	for _, p := range params {
		p.check()
		if seen[p.Name] {
			panic("param: two parameters named " + p.Name)
		}
		seen[p.Name] = true
		p.stamp = new(tensor.Stamp)
		st.starts = append(st.starts, st.total)
		st.total += (p.Len() + granule - 1) / granule * granule
	}
	return st
}

// Params lists the parameters in the order of the forward pass.
func (st *Store) Params() []*Param { return st.params }

// Lookup finds a parameter by its Hugging Face name.
func (st *Store) Lookup(name string) (*Param, bool) {
	for _, p := range st.params {
		if p.Name == name {
			return p, true
		}
	}
	return nil, false
}

// Len is the number of elements of a flat buffer, alignment included.
func (st *Store) Len() int { return st.total }

// DType is the element type of the weights.
func (st *Store) DType() tensor.DType { return st.dtype }

// Bind allocates the weights, zeroed, from the stream's current arena.
func (st *Store) Bind(s *backend.Stream, dtype tensor.DType) {
	st.dtype = dtype
	st.weights = s.Zeros(dtype, st.total)
	if s.Err() != nil {
		return
	}
	for i, p := range st.params {
		p.weight = view(st.weights, st.starts[i], p)
		p.Touch()
	}
}

// Weights is the flat weight buffer.
func (st *Store) Weights() tensor.Tensor { return st.weights }

// Grads is the flat gradient buffer, absent when none is lent.
func (st *Store) Grads() tensor.Tensor { return st.grads }

// Lend gives the store a flat gradient buffer of Len elements to sum into, or takes it back when grads is absent. What the
// buffer holds is the lender's business: it zeroes it.
func (st *Store) Lend(grads tensor.Tensor) {
	st.grads = grads
	if !grads.Absent() && grads.Len() < st.total {
		panic(fmt.Sprintf("param: %v lent for %d gradients", grads, st.total))
	}
	for i, p := range st.params {
		p.grad = tensor.Tensor{}
		if !grads.Absent() {
			p.grad = view(grads, st.gradStart(i), p)
		}
	}
}

// View is the part of flat, a buffer laid out like the weights, that belongs to parameter i of Params: optimizer state.
func (st *Store) View(flat tensor.Tensor, i int) tensor.Tensor {
	return view(flat, st.starts[i], st.params[i])
}

// gradStart is the mirror image of starts: the last parameter's gradient comes first.
func (st *Store) gradStart(i int) int {
	if i+1 < len(st.params) {
		return st.total - st.starts[i+1]
	}
	return 0
}

func view(flat tensor.Tensor, start int, p *Param) tensor.Tensor {
	return flat.Slice(start, start+p.Len()).Reshape(p.Local...)
}
