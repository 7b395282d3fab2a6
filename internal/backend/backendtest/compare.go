package backendtest

import (
	"bytes"
	"fmt"
	"math"

	"alfred/internal/tensor"
)

// tolerance is the largest error of an output against the reference. The zero value asks for the reference's number, rounded.
type tolerance struct {
	// norm bounds the L2 norm of the error, relative to the tensor's. A bfloat16 output is rounded once at the end, so there
	// each element must lie within half a unit in the last of its 8 bits, 2^-8 of it, plus norm of the largest element.
	norm float64
	// each, instead, bounds the error of each element, relative to itself.
	each float64
	// floor is what the error of each element may have besides.
	floor float64
}

// exact is for operations that move numbers or round them once.
var exact = tolerance{}

// arithmetic is the error of float32 sums: n products of random sign give about √n·2^-24, which is 4e-6 at n = 4096. A correct
// formula stays below; one that loses digits on the way does not.
var arithmetic = tolerance{norm: 1e-5}

// differences is arithmetic where numbers up to largest may cancel.
func differences(largest float64) tolerance {
	return tolerance{norm: 1e-5, floor: 8 * largest * 0x1p-24}
}

// exponentials is arithmetic where exp is taken of numbers up to largest: a few of their own roundings, 2^-24 of them each,
// become a relative error of exp.
func exponentials(largest float64) tolerance { return tolerance{norm: 1e-5 + 4*largest*0x1p-24} }

// logarithms is for differences of log-probs and logits up to largest, where the errors stay and the numbers may cancel.
func logarithms(largest float64) tolerance {
	return tolerance{each: 1e-5, floor: 1e-6 + 8*largest*0x1p-24}
}

// unchecked is for outputs that a check of the case looks at.
var unchecked = tolerance{norm: -1}

// bfloat16Rounding is the largest relative error of rounding to 8 bits.
const bfloat16Rounding = 1.0 / 256

// compare reports where the device's output is further from the reference's than its tolerance.
func (o *operand) compare() error {
	t := o.tolerance
	if t == unchecked {
		return nil
	}
	largest, norm, errNorm := 0.0, 0.0, 0.0
	for i, w := range o.want {
		if t == exact {
			w = round(o.dtype, w)
		}
		if g := o.got[i]; !finite(w) || !finite(g) {
			if g != w {
				return o.errorAt(i, "exactly")
			}
			continue
		}
		largest = max(largest, math.Abs(w))
		norm = math.Hypot(norm, w)
		errNorm = math.Hypot(errNorm, o.got[i]-w)
	}
	if t.norm > 0 && o.dtype != tensor.BFloat16 {
		if errNorm > t.norm*norm+t.floor*math.Sqrt(float64(len(o.want))) {
			return o.errorAt(o.worst(), fmt.Sprintf("the error of the tensor being %.3g of it, at most %.3g:", errNorm/norm, t.norm))
		}
		return nil
	}
	for i, w := range o.want {
		limit := 0.0
		switch {
		case !finite(w):
			continue
		case t.norm > 0:
			limit = bfloat16Rounding*math.Abs(w) + t.norm*largest + t.floor
		case t == exact:
			w = round(o.dtype, w)
		default:
			limit = t.each*math.Abs(w) + t.floor
		}
		if math.Abs(o.got[i]-w) > limit {
			return o.errorAt(i, fmt.Sprintf("within %.3g of", limit))
		}
	}
	return nil
}

// equalBits reports whether the device holds the same bits in both.
func equalBits(a, b *operand) error {
	if !bytes.Equal(a.bits, b.bits) {
		return fmt.Errorf("%v and %v differ in their bits", a, b)
	}
	return nil
}

func (o *operand) errorAt(i int, how string) error {
	return fmt.Errorf("%s: element %d is %v, want %s %v", o, i, o.got[i], how, o.want[i])
}

// worst is the element with the largest error.
func (o *operand) worst() int {
	worst, largest := 0, 0.0
	for i, w := range o.want {
		if d := math.Abs(o.got[i] - w); d > largest {
			worst, largest = i, d
		}
	}
	return worst
}

func (o *operand) String() string { return fmt.Sprintf("%s %v%v", o.name, o.dtype, o.dims) }

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
