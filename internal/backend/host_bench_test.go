package backend_test

import (
	"fmt"
	"testing"
	"unsafe"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// BenchmarkHost measures Encode by the bytes of both sides, raw elements on the host; Decode is the same the other way.
func BenchmarkHost(b *testing.B) {
	const n = 1 << 16 // stays in the second-level cache
	words := make([]float64, n+1)
	memory := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))
	for _, c := range []struct {
		from, to tensor.DType
		offset   int // of the host's elements: those of a file lie anywhere
	}{
		{tensor.Float32, tensor.Float32, 0}, {tensor.BFloat16, tensor.Float32, 0}, {tensor.BFloat16, tensor.Float32, 1}, {tensor.Float32, tensor.BFloat16, 0},
		{tensor.Float64, tensor.Float32, 0}, {tensor.Float64, tensor.BFloat16, 0},
	} {
		b.Run(fmt.Sprintf("%v to %v, offset %d", c.from, c.to, c.offset), func(b *testing.B) {
			device := make([]byte, n*c.to.Size())
			h := backend.Raw(c.from, memory[c.offset:][:n*c.from.Size()])
			b.SetBytes(int64(n * (c.from.Size() + c.to.Size())))
			for b.Loop() {
				h.Encode(device, c.to)
			}
		})
	}
	b.Run("float32 slice to float32", func(b *testing.B) {
		device, h := make([]byte, 4*n), backend.Float32s(make([]float32, n))
		b.SetBytes(8 * n)
		for b.Loop() {
			h.Encode(device, tensor.Float32)
		}
	})
}
