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
	// Overhead is the memory in bytes that the device keeps outside arenas for weight matrices of the given size: packed copies.
	// Trained matrices are multiplied from both sides.
	Overhead(matrices int, trained bool) int
	// BatchInvariant reports whether a row's bits are independent of the other rows of an operation.
	BatchInvariant() bool
}
