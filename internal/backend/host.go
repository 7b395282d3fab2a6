package backend

import (
	"fmt"
	"unsafe"

	"alfred/internal/tensor"
)

// Host is a slice of host memory on its way to or from a device. Numbers are converted between their host type and the
// element type of the tensor, rounding to nearest even.
type Host struct {
	bytes []byte
	dtype tensor.DType
}

// Float32s wraps xs.
func Float32s(xs []float32) Host { return Host{bytesOf(xs), tensor.Float32} }

// Float64s wraps xs.
func Float64s(xs []float64) Host { return Host{bytesOf(xs), tensor.Float64} }

// Int32s wraps xs; only Int32 tensors take it.
func Int32s(xs []int32) Host { return Host{bytesOf(xs), tensor.Int32} }

// Raw wraps little-endian elements of any type, wherever they begin in memory.
func Raw(dtype tensor.DType, data []byte) Host { return Host{data, dtype} }

// bytesOf is the memory of xs: the inverse of tensor.View.
func bytesOf[E any](xs []E) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(xs))), len(xs)*int(unsafe.Sizeof(*new(E))))
}

// Len is the number of elements.
func (h Host) Len() int { return len(h.bytes) / h.dtype.Size() }

// fits reports whether the elements can be exchanged with t.
func (h Host) fits(t tensor.Tensor) error {
	if h.Len() != t.Len() {
		return fmt.Errorf("%d host elements for %v", h.Len(), t)
	}
	if (h.dtype == tensor.Int32) != (t.DType() == tensor.Int32) {
		return fmt.Errorf("host %v for %v", h.dtype, t)
	}
	return nil
}

// Encode writes the elements into dst as dtype, little-endian: what a device memory holds after an upload.
func (h Host) Encode(dst []byte, dtype tensor.DType) { convert(dst, dtype, h.bytes, h.dtype, h.Len()) }

// Decode fills the elements from src, which holds dtype.
func (h Host) Decode(src []byte, dtype tensor.DType) { convert(h.bytes, h.dtype, src, dtype, h.Len()) }

// Poison fills the elements with values that no computation survives: NaN, and a token id that does not exist. A stream
// that defers its work does this between Download and the Wait of its event.
func (h Host) Poison() {
	for i := range h.bytes { // all ones is NaN; as an int32 it would be -1, which some operands allow
		h.bytes[i] = 0xff
		if h.dtype == tensor.Int32 {
			h.bytes[i] = [4]byte{3: 0x80}[i%4]
		}
	}
}

// Clone is a copy that does not share memory with h.
func (h Host) Clone() Host { return Host{append([]byte(nil), h.bytes...), h.dtype} }
