package backend

import (
	"encoding/binary"
	"fmt"
	"math"

	"alfred/internal/tensor"
)

// Host is a slice of host memory on its way to or from a device. Numbers are converted between their host type and the
// element type of the tensor, rounding to nearest even.
type Host struct {
	f32   []float32
	f64   []float64
	i32   []int32
	raw   []byte
	dtype tensor.DType // of raw; of the elements otherwise
}

// Float32s wraps xs.
func Float32s(xs []float32) Host { return Host{f32: xs, dtype: tensor.Float32} }

// Float64s wraps xs.
func Float64s(xs []float64) Host { return Host{f64: xs, dtype: tensor.Float64} }

// Int32s wraps xs; only Int32 tensors take it.
func Int32s(xs []int32) Host { return Host{i32: xs, dtype: tensor.Int32} }

// Raw wraps little-endian elements of any type.
func Raw(dtype tensor.DType, data []byte) Host { return Host{raw: data, dtype: dtype} }

// Len is the number of elements.
func (h Host) Len() int {
	switch {
	case h.raw != nil:
		return len(h.raw) / h.dtype.Size()
	case h.f32 != nil:
		return len(h.f32)
	case h.f64 != nil:
		return len(h.f64)
	}
	return len(h.i32)
}

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
func (h Host) Encode(dst []byte, dtype tensor.DType) {
	if h.raw != nil && h.dtype == dtype {
		copy(dst, h.raw)
		return
	}
	if dtype == tensor.Int32 {
		for i, v := range h.i32 {
			binary.LittleEndian.PutUint32(dst[4*i:], uint32(v))
		}
		return
	}
	for i := range h.Len() {
		putFloat(dst, dtype, i, h.float(i))
	}
}

// Decode fills the elements from src, which holds dtype.
func (h Host) Decode(src []byte, dtype tensor.DType) {
	switch {
	case h.raw != nil && h.dtype == dtype:
		copy(h.raw, src)
	case h.raw != nil:
		for i := range h.Len() {
			putFloat(h.raw, h.dtype, i, getFloat(src, dtype, i))
		}
	case h.i32 != nil:
		for i := range h.i32 {
			h.i32[i] = int32(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case h.f32 != nil:
		for i := range h.f32 {
			h.f32[i] = float32(getFloat(src, dtype, i))
		}
	default:
		for i := range h.f64 {
			h.f64[i] = getFloat(src, dtype, i)
		}
	}
}

// Poison fills the elements with values that no computation survives: NaN, and a token id that does not exist. A stream
// that defers its work does this between Download and the Wait of its event.
func (h Host) Poison() {
	for i := range h.f32 {
		h.f32[i] = float32(math.NaN())
	}
	for i := range h.f64 {
		h.f64[i] = math.NaN()
	}
	for i := range h.i32 {
		h.i32[i] = math.MinInt32
	}
	for i := range h.raw { // all ones is NaN; as an int32 it would be -1, which some operands allow
		h.raw[i] = 0xff
		if h.dtype == tensor.Int32 {
			h.raw[i] = [4]byte{3: 0x80}[i%4]
		}
	}
}

// Clone is a copy that does not share memory with h.
func (h Host) Clone() Host {
	c := h
	c.f32 = append([]float32(nil), h.f32...)
	c.f64 = append([]float64(nil), h.f64...)
	c.i32 = append([]int32(nil), h.i32...)
	c.raw = append([]byte(nil), h.raw...)
	return c
}

func (h Host) float(i int) float64 {
	switch {
	case h.f32 != nil:
		return float64(h.f32[i])
	case h.f64 != nil:
		return h.f64[i]
	}
	return getFloat(h.raw, h.dtype, i)
}

func getFloat(src []byte, dtype tensor.DType, i int) float64 {
	switch dtype {
	case tensor.Float32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:])))
	case tensor.BFloat16:
		return float64(tensor.FromBFloat16(binary.LittleEndian.Uint16(src[2*i:])))
	case tensor.Float64:
		return math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:]))
	}
	panic("backend: " + dtype.String() + " is not a floating-point type")
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

func putFloat(dst []byte, dtype tensor.DType, i int, v float64) {
	switch dtype {
	case tensor.Float32:
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(float32(v)))
	case tensor.BFloat16:
		binary.LittleEndian.PutUint16(dst[2*i:], tensor.ToBFloat16(roundToOdd(v)))
	case tensor.Float64:
		binary.LittleEndian.PutUint64(dst[8*i:], math.Float64bits(v))
	default:
		panic("backend: " + dtype.String() + " is not a floating-point type")
	}
}
