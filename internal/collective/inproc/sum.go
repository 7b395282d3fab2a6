package inproc

import "alfred/internal/tensor"

// sum writes elements lo to hi of the sum over calls, in rank order, accumulated wide and rounded once.
func sum(dst []byte, calls []call, lo, hi int) {
	switch calls[0].dtype {
	case tensor.Float32:
		addUp[float32](dst, calls, lo, hi)
	case tensor.Float64:
		addUp[float64](dst, calls, lo, hi)
	case tensor.Int32:
		addUp[int32](dst, calls, lo, hi)
	case tensor.BFloat16:
		addUpBFloat16(dst, calls, lo, hi)
	}
}

func addUp[E float32 | float64 | int32](dst []byte, calls []call, lo, hi int) {
	out := tensor.View[E](dst)[lo:hi]
	copy(out, tensor.View[E](calls[0].data)[lo:hi])
	for _, c := range calls[1:] {
		for i, x := range tensor.View[E](c.data)[lo:hi] {
			out[i] += x
		}
	}
}

// addUpBFloat16 sums in float32, some elements at a time.
func addUpBFloat16(dst []byte, calls []call, lo, hi int) {
	var wide [512]float32
	for ; lo < hi; lo += len(wide) {
		acc := wide[:min(len(wide), hi-lo)]
		part := func(b []byte) []uint16 { return tensor.View[uint16](b)[lo : lo+len(acc)] }
		for i, x := range part(calls[0].data) {
			acc[i] = tensor.FromBFloat16(x)
		}
		for _, c := range calls[1:] {
			for i, x := range part(c.data) {
				acc[i] += tensor.FromBFloat16(x)
			}
		}
		for i, out := 0, part(dst); i < len(out); i++ {
			out[i] = tensor.ToBFloat16(acc[i])
		}
	}
}
