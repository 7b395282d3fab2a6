package tensor

import "math"

// ToBFloat16 rounds x to the nearest bfloat16, ties to even. NaN stays NaN (made quiet).
func ToBFloat16(x float32) uint16 {
	bits := math.Float32bits(x)
	if x != x {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// FromBFloat16 is the exact value of b.
func FromBFloat16(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }
