package backend

import (
	"fmt"
	"slices"

	"alfred/internal/tensor"
)

// alignment of every allocation in bytes: a cache line on the CPU, and what CUDA's vector loads and cuBLASLt ask for.
const alignment = 256

// Align rounds a number of bytes up to the granularity of arenas.
func Align(bytes int) int { return (bytes + alignment - 1) &^ (alignment - 1) }

// Arena hands out one span of memory from the bottom up. Nothing is freed singly: Mark and Release free everything that was
// allocated in between, and a released span is reused by operations that come later on the same stream.
type Arena struct {
	name string
	buf  tensor.Buffer
	used int
	peak int
}

// NewArena is called by devices: buf is the memory.
func NewArena(name string, buf tensor.Buffer) *Arena { return &Arena{name: name, buf: buf} }

// Name says what the arena is for; it appears in errors and in the memory table.
func (a *Arena) Name() string { return a.name }

// Size is the capacity in bytes, Used what is allocated now, Peak the most that ever was.
func (a *Arena) Size() int { return a.buf.Size() }

// Used is the number of bytes allocated now.
func (a *Arena) Used() int { return a.used }

// Peak is the largest value that Used had since ResetPeak.
func (a *Arena) Peak() int { return a.peak }

// ResetPeak starts another measurement of Peak.
func (a *Arena) ResetPeak() { a.peak = a.used }

// Mark remembers the present fill level for Release.
func (a *Arena) Mark() int { return a.used }

// Release frees everything allocated since mark.
func (a *Arena) Release(mark int) {
	if mark < 0 || mark > a.used {
		panic(fmt.Sprintf("backend: arena %q: release to %d with %d in use", a.name, mark, a.used))
	}
	a.used = mark
}

// Alloc cuts a tensor with undefined contents from the arena. It fails when the arena is full.
func (a *Arena) Alloc(dtype tensor.DType, dims ...int) (tensor.Tensor, error) {
	n, err := tensor.Bytes(dtype, dims...)
	if err != nil {
		return tensor.Tensor{}, fmt.Errorf("arena %q: %w", a.name, err)
	}
	if whole := a.buf.Size() &^ (alignment - 1); n > whole-a.used { // both are whole granules, so Align(n) fits where n does
		return tensor.Tensor{}, fmt.Errorf("arena %q: %s%v needs %d bytes, %d of %d are in use", a.name, dtype, slices.Clone(dims), n, a.used, a.buf.Size())
	}
	t := tensor.New(a.buf, a.used, dtype, dims...)
	a.used += Align(n)
	a.peak = max(a.peak, a.used)
	return t, nil
}
