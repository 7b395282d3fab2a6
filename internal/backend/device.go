package backend

import "alfred/internal/tensor"

// Device is one accelerator, or the CPU.
type Device interface {
	// Name is a short description for people, such as "cpu (avx512, 2 workers)".
	Name() string
	// Wide is the element type of statistics, log-probs, parameter gradients and optimizer state.
	Wide() tensor.DType
	// Arena reserves memory. Bytes that are not used cost nothing where the operating system commits lazily.
	Arena(name string, bytes int) (*Arena, error)
	// Stream makes an in-order queue. It belongs to one goroutine.
	Stream() *Stream
	// BatchInvariant reports whether a row's bits are independent of the other rows of an operation.
	BatchInvariant() bool
}
