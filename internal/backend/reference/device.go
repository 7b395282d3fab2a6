package reference

import (
	"fmt"
	"unsafe"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// New opens the reference device. Devices are independent of each other and hold nothing but their arenas.
func New() backend.Device { return device{} }

type device struct{}

// Name is "reference".
func (device) Name() string { return "reference" }

// Wide is Float64: statistics and gradients are as wide as everything else.
func (device) Wide() tensor.DType { return tensor.Float64 }

// BatchInvariant is true: every row is computed by itself.
func (device) BatchInvariant() bool { return true }

// Overhead is nothing: weights are read as they are.
func (device) Overhead(int, bool) int { return 0 }

// Stream makes a queue that does its work at once.
func (device) Stream() *backend.Stream { return backend.NewStream(&queue{}, tensor.Float64) }

// maxArena keeps make from panicking on sizes that no address space holds.
const maxArena = 1 << 46

// Arena is ordinary garbage-collected memory; the operating system commits its pages when they are first written.
func (device) Arena(name string, bytes int) (*backend.Arena, error) {
	if bytes < 0 || bytes > maxArena {
		return nil, fmt.Errorf("reference: arena %q: %d bytes, want 0 to %d", name, bytes, maxArena)
	}
	return backend.NewArena(name, newMemory(bytes)), nil
}

// memory is host memory, aligned for float64. It is a pointer so that buffers can be compared.
type memory struct{ bytes []byte }

func newMemory(bytes int) *memory {
	if bytes == 0 {
		return &memory{}
	}
	words := make([]float64, (bytes+7)/8)
	return &memory{unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), bytes)}
}

func (m *memory) Size() int    { return len(m.bytes) }
func (m *memory) Host() []byte { return m.bytes }
