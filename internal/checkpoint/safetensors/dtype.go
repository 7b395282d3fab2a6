package safetensors

import (
	"fmt"
	"math"
	"math/bits"
)

// DType is an element type by its name in the file. All are little-endian.
type DType string

// The element types of the format, as of safetensors 0.8.
const (
	Bool       DType = "BOOL" // one byte
	F4         DType = "F4"   // MXF4, two in a byte
	F6E2M3     DType = "F6_E2M3"
	F6E3M2     DType = "F6_E3M2"
	U8         DType = "U8"
	I8         DType = "I8"
	F8E5M2     DType = "F8_E5M2"
	F8E4M3     DType = "F8_E4M3"
	F8E8M0     DType = "F8_E8M0"
	F8E4M3FNUZ DType = "F8_E4M3FNUZ"
	F8E5M2FNUZ DType = "F8_E5M2FNUZ"
	I16        DType = "I16"
	U16        DType = "U16"
	F16        DType = "F16"
	BF16       DType = "BF16"
	I32        DType = "I32"
	U32        DType = "U32"
	F32        DType = "F32"
	C64        DType = "C64"
	F64        DType = "F64"
	I64        DType = "I64"
	U64        DType = "U64"
)

var dtypeBits = map[DType]int{
	Bool: 8, F4: 4, F6E2M3: 6, F6E3M2: 6, U8: 8, I8: 8, F8E5M2: 8, F8E4M3: 8, F8E8M0: 8, F8E4M3FNUZ: 8, F8E5M2FNUZ: 8,
	I16: 16, U16: 16, F16: 16, BF16: 16, I32: 32, U32: 32, F32: 32, C64: 64, F64: 64, I64: 64, U64: 64,
}

// Bits returns the size of one element in bits; 0 for a type that the format does not know.
func (d DType) Bits() int { return dtypeBits[d] }

// Spec describes a tensor: what a file must hold, or is to hold.
type Spec struct {
	Name  string
	DType DType
	Shape []int // row-major; empty for a single number
}

// Bytes returns the size of the tensor's data, or what is wrong with its type or shape.
func (s Spec) Bytes() (int64, error) { return byteSize(s.DType, s.Shape) }

func byteSize(dtype DType, shape []int) (int64, error) {
	size := dtype.Bits()
	if size == 0 {
		return 0, fmt.Errorf("unknown dtype %q", string(dtype))
	}
	if len(shape) > maxRank {
		return 0, fmt.Errorf("%d dimensions; at most %d are read", len(shape), maxRank)
	}
	// Zeros are left out of the product until the end: a shape such as [0 2^62 2^62] would make any part of the
	// product overflow later, so it is refused although the tensor is empty.
	total, empty := uint64(size), false
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		}
		if dim == 0 {
			empty = true
			continue
		}
		hi, lo := bits.Mul64(total, uint64(dim))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, fmt.Errorf("shape %v of %s overflows", shape, dtype)
		}
		total = lo
	}
	if empty {
		return 0, nil
	}
	if total%8 != 0 {
		return 0, fmt.Errorf("shape %v of %s does not end at a byte", shape, dtype)
	}
	return int64(total / 8), nil
}
