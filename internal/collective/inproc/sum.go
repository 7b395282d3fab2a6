package inproc

import (
	"encoding/binary"
	"math"

	"alfred/internal/tensor"
)

// sum writes elements lo to hi of the sum over calls, in rank order, accumulated wide and rounded once.
func sum(dst []byte, calls []call, lo, hi int) {
	le := binary.LittleEndian
	switch calls[0].dtype {
	case tensor.Float32:
		for i := 4 * lo; i < 4*hi; i += 4 {
			acc := math.Float32frombits(le.Uint32(calls[0].data[i:]))
			for _, p := range calls[1:] {
				acc += math.Float32frombits(le.Uint32(p.data[i:]))
			}
			le.PutUint32(dst[i:], math.Float32bits(acc))
		}
	case tensor.BFloat16:
		for i := 2 * lo; i < 2*hi; i += 2 {
			acc := tensor.FromBFloat16(le.Uint16(calls[0].data[i:]))
			for _, p := range calls[1:] {
				acc += tensor.FromBFloat16(le.Uint16(p.data[i:]))
			}
			le.PutUint16(dst[i:], tensor.ToBFloat16(acc))
		}
	case tensor.Float64:
		for i := 8 * lo; i < 8*hi; i += 8 {
			acc := math.Float64frombits(le.Uint64(calls[0].data[i:]))
			for _, p := range calls[1:] {
				acc += math.Float64frombits(le.Uint64(p.data[i:]))
			}
			le.PutUint64(dst[i:], math.Float64bits(acc))
		}
	case tensor.Int32:
		for i := 4 * lo; i < 4*hi; i += 4 {
			acc := le.Uint32(calls[0].data[i:])
			for _, p := range calls[1:] {
				acc += le.Uint32(p.data[i:])
			}
			le.PutUint32(dst[i:], acc)
		}
	}
}
