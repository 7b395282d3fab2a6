package safetensors

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// exponents gives, for each floating type, the bits that are all set in infinities and NaNs. Adding one unit of the
// lowest of them then carries into the bit above, which tests eight bytes of elements at once.
// F8_E4M3 has no infinities, its NaN has all seven bits set.
var exponents = map[DType]struct{ mask, unit uint64 }{
	F64:    {0x7ff0000000000000, 0x0010000000000000},
	F32:    {0x7f8000007f800000, 0x0080000000800000},
	BF16:   {0x7f807f807f807f80, 0x0080008000800080},
	F16:    {0x7c007c007c007c00, 0x0400040004000400},
	F8E5M2: {0x7c7c7c7c7c7c7c7c, 0x0404040404040404},
	F8E4M3: {0x7f7f7f7f7f7f7f7f, 0x0101010101010101},
}

// CheckFinite reads the whole tensor and reports NaN and infinite elements: how many, and the index of the first.
// Integers are finite; types whose NaN this package does not know are an error.
func (e Entry) CheckFinite() error {
	test, ok := exponents[e.DType]
	if !ok {
		switch e.DType {
		case Bool, U8, I8, I16, U16, I32, U32, I64, U64, F4, F6E2M3, F6E3M2: // these have no NaN and no infinity
			return nil
		}
		return e.wrap("check", fmt.Errorf("no test for NaN in %s", e.DType))
	}
	carries := test.mask + test.unit // where a carry goes: the sign bits
	bad, first, index := 0, 0, 0
	width := e.DType.Bits() / 8
	err := e.each(e.Rows(), e.Cols(), func(part []byte) error {
		count := len(part) / width
		for at := 0; at < len(part); at += 8 {
			var word [8]byte
			var x uint64
			if at+8 <= len(part) {
				x = binary.LittleEndian.Uint64(part[at:])
			} else { // the end, filled up with zeros
				copy(word[:], part[at:])
				x = binary.LittleEndian.Uint64(word[:])
			}
			hits := (x&test.mask + test.unit) & carries
			if hits == 0 {
				continue
			}
			for lane := range 8 / width {
				if hits>>(8*width*lane+8*width-1)&1 == 0 {
					continue
				}
				if bad == 0 {
					first = index + at/width + lane
				}
				bad++
			}
		}
		index += count
		return nil
	})
	if err != nil {
		return e.wrap("check", err)
	}
	if bad > 0 {
		return e.wrap("check", fmt.Errorf("%d of %d elements are NaN or infinite, the first at %v", bad, e.NumElements(), e.index(first)))
	}
	return nil
}

// index turns a position in row-major order into one index per dimension.
func (e Entry) index(position int) []int {
	index := make([]int, len(e.Shape))
	for d := len(e.Shape) - 1; d >= 0; d-- {
		index[d] = position % e.Shape[d]
		position /= e.Shape[d]
	}
	return index
}

// CheckFinite checks one tensor of the file; see Entry.CheckFinite.
func (f *File) CheckFinite(name string) error {
	entry, ok := f.Tensor(name)
	if !ok {
		return fmt.Errorf("safetensors: check tensor %s of %s: %w", name, f.path, errNoTensor)
	}
	return entry.CheckFinite()
}

var errNoTensor = errors.New("no such tensor")
