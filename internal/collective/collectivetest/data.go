package collectivetest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"alfred/internal/tensor"
)

var dtypes = []tensor.DType{tensor.Float32, tensor.BFloat16, tensor.Float64, tensor.Int32}

// lengths do not divide by numbers of ranks, or are shorter.
var lengths = []int{0, 1, 2, 3, 7, 64, 301}

// parts is what each rank brings: the same whoever asks, and different for each length and purpose.
func parts(dtype tensor.DType, n, ranks int, purpose uint64) [][]byte {
	all := make([][]byte, ranks)
	for r := range all {
		rng := rand.New(rand.NewPCG(purpose<<32+uint64(n), uint64(r)))
		all[r] = make([]byte, 0, n*dtype.Size())
		for i := range n {
			all[r] = appendNumber(all[r], dtype, rng, i, r)
		}
	}
	return all
}

// appendNumber appends an element. Sizes differ by 2^24, so that sums depend on their order; some elements are special.
func appendNumber(b []byte, dtype tensor.DType, rng *rand.Rand, i, rank int) []byte {
	x := math.Ldexp(1+rng.Float64(), rng.IntN(25)-12)
	if rng.IntN(2) == 0 {
		x = -x
	}
	switch {
	case i == 40: // their sum is negative zero
		x = math.Copysign(0, -1)
	case i == 41: // infinite from the first rank on
		x = math.Inf(1)
	case i == 42: // no number where there are two ranks
		x = math.Inf(1 - rank%2*2)
	case i == 44 && rank < 3: // 0 in the order of the ranks, 1 in the opposite one
		x = [...]float64{1, 1 << 60, -1 << 60}[rank]
	case i == 43 && dtype != tensor.Float64: // overflows where there are two ranks
		x = math.MaxFloat32
	}
	le := binary.LittleEndian
	switch dtype {
	case tensor.Float32:
		return le.AppendUint32(b, math.Float32bits(float32(x)))
	case tensor.BFloat16:
		return le.AppendUint16(b, uint16(math.Float32bits(float32(x))>>16))
	case tensor.Float64:
		return le.AppendUint64(b, math.Float64bits(x))
	case tensor.Int32:
		return le.AppendUint32(b, rng.Uint32())
	}
	panic("collectivetest: " + dtype.String())
}

// sum adds elements up in the order of the ranks: bfloat16 in float32, rounded once at the end; int32 wraps around.
func sum(dtype tensor.DType, all [][]byte) (total []byte) {
	le := binary.LittleEndian
	size := dtype.Size()
	for at := 0; at < len(all[0]); at += size {
		var f32 float32
		var f64 float64
		var i32 int32
		for r, part := range all {
			e := part[at : at+size]
			switch dtype {
			case tensor.Float32:
				f32 = plus(r, f32, math.Float32frombits(le.Uint32(e)))
			case tensor.BFloat16:
				f32 = plus(r, f32, math.Float32frombits(uint32(le.Uint16(e))<<16))
			case tensor.Float64:
				f64 = plus(r, f64, math.Float64frombits(le.Uint64(e)))
			case tensor.Int32:
				i32 = plus(r, i32, int32(le.Uint32(e)))
			}
		}
		switch dtype {
		case tensor.Float32:
			total = le.AppendUint32(total, math.Float32bits(f32))
		case tensor.BFloat16:
			total = le.AppendUint16(total, nearest(f32))
		case tensor.Float64:
			total = le.AppendUint64(total, math.Float64bits(f64))
		case tensor.Int32:
			total = le.AppendUint32(total, uint32(i32))
		}
	}
	return total
}

// plus begins with the first rank's element, not with zero: a sum of negative zeros is negative.
func plus[T int32 | float32 | float64](rank int, total, x T) T {
	if rank == 0 {
		return x
	}
	return total + x
}

// nearest is the bfloat16 next to x, the even one of two that are equally near; found by measuring the distances.
func nearest(x float32) uint16 {
	value := func(b uint16) float64 { return float64(math.Float32frombits(uint32(b) << 16)) }
	below := uint16(math.Float32bits(x) >> 16) // towards zero
	if x != x || value(below) == float64(x) {
		return below
	}
	above := below + 1
	up := math.Abs(value(above) - float64(x))
	if math.IsInf(value(above), 0) { // as if the exponent went on
		up = math.Abs(math.Copysign(math.Ldexp(1, 128), float64(x)) - float64(x))
	}
	switch down := math.Abs(float64(x) - value(below)); {
	case down < up || down == up && below%2 == 0:
		return below
	}
	return above
}

// same compares bit by bit; one NaN is as good as another.
func same(dtype tensor.DType, got, want []byte) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d bytes, want %d", len(got), len(want))
	}
	size := dtype.Size()
	for at := 0; at < len(want); at += size {
		g, w := got[at:at+size], want[at:at+size]
		if string(g) != string(w) && !(isNaN(dtype, g) && isNaN(dtype, w)) {
			return fmt.Errorf("element %d (margin of %d included) is % x, want % x", at/size, margin, g, w)
		}
	}
	return nil
}

func isNaN(dtype tensor.DType, e []byte) bool {
	le := binary.LittleEndian
	switch dtype {
	case tensor.Float32:
		return math.IsNaN(float64(math.Float32frombits(le.Uint32(e))))
	case tensor.BFloat16:
		return math.IsNaN(float64(math.Float32frombits(uint32(le.Uint16(e)) << 16)))
	case tensor.Float64:
		return math.IsNaN(math.Float64frombits(le.Uint64(e)))
	}
	return false
}
