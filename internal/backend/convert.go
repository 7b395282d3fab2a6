package backend

import (
	"fmt"
	"math"
	"unsafe"

	"alfred/internal/tensor"
)

// convert writes the first n elements of src, of type from, to dst as type to.
func convert(dst []byte, to tensor.DType, src []byte, from tensor.DType, n int) {
	dst, src = dst[:n*to.Size()], src[:n*from.Size()]
	switch {
	case n == 0: // whatever the types are
	case to == from:
		copy(dst, src)
	case aligned(dst, to) && aligned(src, from):
		convertSlices(dst, to, src, from)
	default:
		convertPieces(dst, to, src, from, n)
	}
}

// aligned reports whether the elements in b can be looked at as numbers: those of a file may begin at any byte.
func aligned(b []byte, dtype tensor.DType) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))%uintptr(dtype.Size()) == 0
}

// convertPieces goes through aligned memory of its own.
func convertPieces(dst []byte, to tensor.DType, src []byte, from tensor.DType, n int) {
	var before, after [512]float64 // the widest type
	for n > 0 {
		m := min(n, len(before))
		x, y := bytesOf(before[:])[:m*from.Size()], bytesOf(after[:])[:m*to.Size()]
		src = src[copy(x, src):]
		convertSlices(y, to, x, from)
		dst, n = dst[copy(dst, y):], n-m
	}
}

// convertSlices converts between different floating-point types, rounding once, to nearest even.
func convertSlices(dst []byte, to tensor.DType, src []byte, from tensor.DType) {
	type types struct{ to, from tensor.DType }
	switch (types{to, from}) {
	case types{tensor.Float32, tensor.BFloat16}:
		y := tensor.View[float32](dst)
		for i, x := range tensor.View[uint16](src) {
			y[i] = tensor.FromBFloat16(x)
		}
	case types{tensor.Float64, tensor.BFloat16}:
		y := tensor.View[float64](dst)
		for i, x := range tensor.View[uint16](src) {
			y[i] = float64(tensor.FromBFloat16(x))
		}
	case types{tensor.Float64, tensor.Float32}:
		y := tensor.View[float64](dst)
		for i, x := range tensor.View[float32](src) {
			y[i] = float64(x)
		}
	case types{tensor.BFloat16, tensor.Float32}:
		y := tensor.View[uint16](dst)
		for i, x := range tensor.View[float32](src) {
			y[i] = tensor.ToBFloat16(x)
		}
	case types{tensor.BFloat16, tensor.Float64}:
		y := tensor.View[uint16](dst)
		for i, x := range tensor.View[float64](src) {
			y[i] = tensor.ToBFloat16(roundToOdd(x))
		}
	case types{tensor.Float32, tensor.Float64}:
		y := tensor.View[float32](dst)
		for i, x := range tensor.View[float64](src) {
			y[i] = float32(x)
		}
	default:
		panic(fmt.Sprintf("backend: %v is not converted to %v", from, to))
	}
}

// roundToOdd is v as a float32 whose last bit tells that something was cut off, so that rounding it again to a shorter type gives
// what rounding v at once would give.
func roundToOdd(v float64) float32 {
	f := float32(v)
	if float64(f) == v || math.IsNaN(v) || math.IsInf(float64(f), 0) && math.IsInf(v, 0) {
		return f
	}
	bits := math.Float32bits(f)
	if math.Abs(float64(f)) > math.Abs(v) {
		bits-- // towards zero
	}
	return math.Float32frombits(bits | 1)
}
