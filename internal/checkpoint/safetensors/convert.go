package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Float32 converts the given rows and columns, row after row, into dst, whose length must be their number. F32, F16
// and BF16 convert exactly, F64 rounds to nearest even and must be in range; other types are an error.
func (e Entry) Float32(dst []float32, rows, cols Range) error { return floats(e, dst, rows, cols) }

// Float64 converts as Float32 does; every conversion is exact.
func (e Entry) Float64(dst []float64, rows, cols Range) error { return floats(e, dst, rows, cols) }

func floats[T float32 | float64](e Entry, dst []T, rows, cols Range) error {
	if err := e.check(rows, cols); err != nil {
		return e.wrap("read", err)
	}
	if rows.Len()*cols.Len() != len(dst) {
		return e.wrap("read", fmt.Errorf("rows %v columns %v are %d numbers, the destination holds %d", rows, cols, rows.Len()*cols.Len(), len(dst)))
	}
	return e.wrap("read", e.each(rows, cols, func(part []byte) error {
		n := len(part) * 8 / e.DType.Bits()
		if err := Decode(dst[:n], e.DType, part); err != nil {
			return err
		}
		dst = dst[n:]
		return nil
	}))
}

// Decode converts the elements of src to dst. len(src) must be len(dst) elements of the type, which is F32, F16,
// BF16 or F64.
func Decode[T float32 | float64](dst []T, dtype DType, src []byte) error {
	if err := checkCodec(len(dst), dtype, len(src)); err != nil {
		return err
	}
	switch dtype {
	case F32:
		for i := range dst {
			dst[i] = T(math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:])))
		}
	case BF16:
		for ; len(dst) >= 4 && len(src) >= 8; dst, src = dst[4:], src[8:] { // one load for four
			x := binary.LittleEndian.Uint64(src)
			dst[0] = T(math.Float32frombits(uint32(x << 16)))
			dst[1] = T(math.Float32frombits(uint32(x) & 0xffff0000))
			dst[2] = T(math.Float32frombits(uint32(x >> 32 << 16)))
			dst[3] = T(math.Float32frombits(uint32(x>>32) & 0xffff0000))
		}
		for i := range dst {
			dst[i] = T(math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16))
		}
	case F16:
		for i := range dst {
			dst[i] = T(float16(binary.LittleEndian.Uint16(src[2*i:])))
		}
	case F64:
		for i := range dst {
			x := math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:]))
			dst[i] = T(x)
			if math.IsInf(float64(dst[i]), 0) && !math.IsInf(x, 0) {
				return fmt.Errorf("%g is too large for a 32-bit number", x)
			}
		}
	}
	return nil
}

// Encode converts src to elements of the type F32, BF16 or F64 in dst, whose length must fit. It rounds once, to
// nearest even: what is beyond the largest number becomes infinite, NaN stays NaN.
func Encode[T float32 | float64](dst []byte, dtype DType, src []T) error {
	if err := checkCodec(len(src), dtype, len(dst)); err != nil {
		return err
	}
	switch dtype {
	case F32:
		for i, x := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(float32(x)))
		}
	case BF16:
		for i, x := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], bfloat16(x))
		}
	case F64:
		for i, x := range src {
			binary.LittleEndian.PutUint64(dst[8*i:], math.Float64bits(float64(x)))
		}
	default:
		return fmt.Errorf("weights are not written as %s: use F32, BF16 or F64", dtype)
	}
	return nil
}

func checkCodec(numbers int, dtype DType, size int) error {
	switch dtype {
	case F32, BF16, F16, F64:
	default:
		return fmt.Errorf("%s is no type for weights: F32, BF16, F16 and F64 are", dtype)
	}
	if width := dtype.Bits() / 8; size != numbers*width {
		return fmt.Errorf("%d numbers of %s need %d bytes, not %d", numbers, dtype, numbers*width, size)
	}
	return nil
}

// float16 decodes IEEE 754 binary16: 1 sign bit, 5 exponent bits with bias 15, 10 fraction bits.
func float16(h uint16) float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10)&0x1f, uint32(h)&0x3ff
	switch exponent {
	case 0: // zero or subnormal: fraction * 2^-24
		magnitude := float32(fraction) * 0x1p-24
		return math.Float32frombits(sign | math.Float32bits(magnitude))
	case 0x1f: // infinity or NaN
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent-15+127)<<23 | fraction<<13)
}

// bfloat16 rounds to the upper half of a float32, to nearest even. Adding 0x7fff plus the last kept bit carries into
// the kept half exactly when the dropped half is above one half, or equal to it with the kept half odd. NaN is
// quietened first: a NaN whose kept bits are all zero would become infinity, and the carry could clear it.
func bfloat16[T float32 | float64](x T) uint16 {
	if x != x {
		return uint16(math.Float32bits(float32(x))>>16) | 0x0040
	}
	single := float32(x)
	u := math.Float32bits(single)
	if T(single) != x {
		// Rounding float64 to float32 and then to bfloat16 would round twice. Round to odd instead: towards zero,
		// with the last bit set to say that something was dropped.
		if math.Abs(float64(single)) > math.Abs(float64(x)) {
			u-- // magnitudes are ordered as their bits are; infinity steps down to the largest number
		}
		u |= 1
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}
