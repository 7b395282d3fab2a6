package nn

import "alfred/internal/tensor"

// Outputs are what a model's head says at the M rows of a batch, on the device: the log-probs of a language-model head or the
// values [M] wide of a score head; the other is absent.
type Outputs struct {
	LogProbs
	Value tensor.Tensor
}

// Gradients are those of Outputs' LogProb, Entropy (absent when nobody asks) and Value, each [M] wide.
type Gradients struct {
	LogProb, Entropy, Value tensor.Tensor
}
