// Package nn holds the layers of a transformer as pairs of Forward and Backward, tensor-parallel by construction.
//
// A layer owns parameters and nothing else. Forward returns what Backward needs as a value, in memory of the stream's
// current arena, so several micro-batches can be in flight, and recomputing a layer is: keep its input, run Forward again.
// Backward adds parameter gradients to Param.Grad and sets the gradient of the input in the tensor that it is given; a layer whose input
// others read too is told whether to add instead.
//
// Tensor parallelism (Megatron-LM, arXiv:1909.08053): column-parallel layers split outputs, row-parallel layers split
// inputs and return partial sums; where branches begin and end a Boundary turns one into the other. With one rank the
// same code runs and the Boundary does nothing.
package nn
