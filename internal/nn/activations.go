package nn

import "alfred/internal/tensor"

// Activations are what forward passes over a cache computed of each token and a backward pass needs, but for what is made of it
// at little cost: norms and the nonlinearity of the MLP. A row does not depend on its batch, so they are what a training forward with the same
// weights would compute, to the bit.
type Activations struct {
	Layers []LayerActivations
	Last   tensor.Tensor // [T D]: what the last layer gave
	Chosen LogProbs      // [T] wide each: of the token that was chosen after it
}

// LayerActivations are those of one layer.
type LayerActivations struct {
	Input    tensor.Tensor // [T D]
	Residual tensor.Tensor // [T D]: Input and what attention added, where the MLP reads that; or absent

	q, o, lse tensor.Tensor // of attention: [T H K], [T H K], [T H] wide
	up        tensor.Tensor // of the MLP: [T F]
}

// Kept says where a cache keeps the activations of a sequence.
type Kept struct {
	Cache *Cache
	Slots []int32 // of each token
}
