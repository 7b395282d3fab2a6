package tensor

import (
	"fmt"
	"slices"
	"strings"
)

// MaxRank is the largest number of dimensions of a Tensor.
const MaxRank = 4

// Buffer is a span of backend memory. Only the backend that made it looks inside. Buffers are comparable: two that are equal
// are the same memory.
type Buffer interface {
	// Size is the length of the span in bytes.
	Size() int
}

// HostBuffer is a Buffer that the host addresses directly, as on the CPU and reference backends.
type HostBuffer interface {
	Buffer
	// Host is the memory itself.
	Host() []byte
}

// Stamp identifies a weight and counts its writes, so that a backend can keep packed copies and know when they are stale.
type Stamp struct {
	Version uint64
	// Smaller objects without pointers share an allocation, which lives as long as any of them: the cleanups that backends attach
	// to a stamp would wait for strangers.
	_ uint64
}

// Tensor is a contiguous, row-major block of elements in backend memory. It is a small value: copy it freely. The zero
// Tensor means "absent" where an operation takes an optional tensor.
type Tensor struct {
	buf     Buffer
	stamp   *Stamp
	version uint64 // of stamp, when the tensor was handed out
	offset  int    // bytes from the start of buf
	dims    [MaxRank]int
	rank    uint8
	dtype   DType
}

// New describes the elements that start offset bytes into buf. It panics when they do not fit: callers compute both.
func New(buf Buffer, offset int, dtype DType, dims ...int) Tensor {
	if len(dims) == 0 || len(dims) > MaxRank {
		panic(fmt.Sprintf("tensor: %d dimensions, want 1 to %d", len(dims), MaxRank))
	}
	t := Tensor{buf: buf, offset: offset, dtype: dtype, rank: uint8(len(dims))}
	copy(t.dims[:], dims)
	bytes, err := Bytes(dtype, dims...)
	if err != nil {
		panic("tensor: " + err.Error())
	}
	if offset < 0 || bytes > buf.Size()-offset {
		panic(fmt.Sprintf("tensor: %v at byte %d does not fit into %d bytes", t, offset, buf.Size()))
	}
	return t
}

// Absent reports whether t is the zero Tensor.
func (t Tensor) Absent() bool { return t.rank == 0 }

// DType is the element type.
func (t Tensor) DType() DType { return t.dtype }

// Rank is the number of dimensions.
func (t Tensor) Rank() int { return int(t.rank) }

// Dim is the length of dimension i; negative i counts from the last one.
func (t Tensor) Dim(i int) int {
	if i < 0 {
		i += int(t.rank)
	}
	return t.dims[i]
}

// Dims is a copy of the shape. It lies on the stack of a caller that does not keep it.
func (t Tensor) Dims() []int {
	dims := t.dims
	return dims[:t.rank:t.rank]
}

// Len is the number of elements.
func (t Tensor) Len() int {
	if t.rank == 0 {
		return 0
	}
	n := 1
	for _, d := range t.dims[:t.rank] {
		n *= d
	}
	return n
}

// Rows is the length of the leading dimension, Cols the number of elements of one row.
func (t Tensor) Rows() int { return t.dims[0] }

// Cols is the number of elements below the leading dimension.
func (t Tensor) Cols() int {
	n := 1
	for i := 1; i < int(t.rank); i++ {
		n *= t.dims[i]
	}
	return n
}

// Bytes is the size of the elements in bytes.
func (t Tensor) Bytes() int { return t.Len() * t.dtype.Size() }

// Buffer is the memory that holds the elements, Offset their first byte in it.
func (t Tensor) Buffer() Buffer { return t.buf }

// Offset is the position of the first element in Buffer, in bytes.
func (t Tensor) Offset() int { return t.offset }

// Slice is the view of rows [lo, hi) of the leading dimension. It carries no Stamp: a part of a weight is not the weight.
// A view of the absent tensor is absent: that is what a stream hands out after it has failed.
func (t Tensor) Slice(lo, hi int) Tensor {
	if t.Absent() {
		return t
	}
	if lo < 0 || hi < lo || hi > t.dims[0] {
		panic(fmt.Sprintf("tensor: rows [%d, %d) of %v", lo, hi, t))
	}
	v := t
	v.stamp, v.version = nil, 0
	v.offset += lo * t.Cols() * t.dtype.Size()
	v.dims[0] = hi - lo
	return v
}

// Reshape is the same elements under other dimensions; absent stays absent.
func (t Tensor) Reshape(dims ...int) Tensor {
	if t.Absent() {
		return t
	}
	if bytes, err := Bytes(t.dtype, dims...); err != nil || len(dims) == 0 || len(dims) > MaxRank || bytes != t.Bytes() {
		panic(fmt.Sprintf("tensor: %v reshaped to %v", t, slices.Clone(dims))) // a clone, so that dims can stay on the caller's stack
	}
	v := t
	v.dims, v.rank = [MaxRank]int{}, uint8(len(dims))
	copy(v.dims[:], dims)
	return v
}

// WithStamp is t as the weight that stamp identifies, in its present version.
func (t Tensor) WithStamp(stamp *Stamp) Tensor {
	t.stamp, t.version = stamp, stamp.Version
	return t
}

// Version is the version of the weight that an operation on t means. It was fixed when t was handed out, so an operation that
// runs later, when the weight has been written again in the order of the host, still knows which contents it is given.
func (t Tensor) Version() uint64 { return t.version }

// Stamp identifies the weight that t is, or is nil.
func (t Tensor) Stamp() *Stamp { return t.stamp }

// String gives type and shape, as in "bfloat16[5 16]".
func (t Tensor) String() string {
	if t.rank == 0 {
		return "absent"
	}
	parts := make([]string, t.rank)
	for i := range parts {
		parts[i] = fmt.Sprint(t.dims[i])
	}
	return t.dtype.String() + "[" + strings.Join(parts, " ") + "]"
}
