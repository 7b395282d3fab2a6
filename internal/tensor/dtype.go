package tensor

import (
	"fmt"
	"math"
	"slices"
)

// DType is the type of one element.
type DType uint8

// Element types. Float64 is used by the reference backend and for a few exact sums; models are stored in Float32 or BFloat16.
const (
	Invalid DType = iota
	Float32
	BFloat16
	Float64
	Int32
)

// Size is the number of bytes of one element.
func (d DType) Size() int {
	switch d {
	case Float32, Int32:
		return 4
	case BFloat16:
		return 2
	case Float64:
		return 8
	}
	return 0
}

// Bytes is the size in bytes of elements of a type in the given dimensions. It fails when a dimension is negative, or when the size
// is more than an int holds, also that of the elements below a dimension of 0. Errors show clones: dims stay on the caller's stack.
func Bytes(dtype DType, dims ...int) (int, error) {
	n, empty := max(dtype.Size(), 1), false
	for _, d := range dims {
		if d < 0 {
			return 0, fmt.Errorf("negative dimension in %v", slices.Clone(dims))
		}
		if d == 0 {
			empty = true
			continue
		}
		if n > math.MaxInt/d {
			return 0, fmt.Errorf("%s%v is larger than any memory", dtype, slices.Clone(dims))
		}
		n *= d
	}
	if empty {
		return 0, nil
	}
	return n, nil
}

// String gives the name used in configurations and messages.
func (d DType) String() string {
	switch d {
	case Float32:
		return "float32"
	case BFloat16:
		return "bfloat16"
	case Float64:
		return "float64"
	case Int32:
		return "int32"
	}
	return fmt.Sprintf("dtype(%d)", uint8(d))
}

// ParseDType reads the name that String gives.
func ParseDType(name string) (DType, error) {
	for d := Float32; d <= Int32; d++ {
		if d.String() == name {
			return d, nil
		}
	}
	return Invalid, fmt.Errorf("tensor: unknown element type %q: float32, bfloat16, float64 or int32", name)
}
