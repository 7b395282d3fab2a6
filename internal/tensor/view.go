package tensor

import "unsafe"

// View is b, the little-endian elements of a device memory that the host can read, as numbers; they share their memory. Device
// memory begins at a multiple of its element size, and so must b.
func View[E float32 | float64 | int32 | uint16](b []byte) []E {
	return unsafe.Slice((*E)(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b))/unsafe.Sizeof(*new(E)))
}
