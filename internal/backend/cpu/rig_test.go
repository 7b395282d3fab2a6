package cpu

import (
	"math/rand/v2"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// rig is a device with a stream and memory for one test.
type rig struct {
	*testing.T
	d   *Device
	s   *backend.Stream
	rng *rand.Rand
}

func newRig(t *testing.T, o Options, bytes int) *rig {
	t.Helper()
	d, err := NewWith(o)
	if err != nil {
		t.Fatal(err)
	}
	return rigOn(t, d, bytes)
}

func rigOn(t *testing.T, d *Device, bytes int) *rig {
	t.Helper()
	arena, err := d.Arena("test", bytes)
	if err != nil {
		t.Fatal(err)
	}
	s := d.Stream()
	s.Use(arena)
	return &rig{T: t, d: d, s: s, rng: rand.New(rand.NewPCG(3, 4))}
}

// random is a tensor of normally distributed numbers; the sequence is the same on every rig.
func (r *rig) random(dtype tensor.DType, deviation float64, dims ...int) tensor.Tensor {
	t := r.s.Alloc(dtype, dims...)
	xs := make([]float64, t.Len())
	for i := range xs {
		xs[i] = deviation * r.rng.NormFloat64()
	}
	r.s.Upload(t, backend.Float64s(xs))
	return t
}

func (r *rig) ints(dims []int, value func(i int) int) tensor.Tensor {
	t := r.s.Alloc(tensor.Int32, dims...)
	xs := make([]int32, t.Len())
	for i := range xs {
		xs[i] = int32(value(i))
	}
	r.s.Upload(t, backend.Int32s(xs))
	return t
}

// read is the elements of t.
func (r *rig) read(t tensor.Tensor) []float64 {
	r.Helper()
	xs := make([]float64, t.Len())
	if err := r.s.Download(backend.Float64s(xs), t).Wait(); err != nil {
		r.Fatal(err)
	}
	return xs
}

// bits is the memory of t.
func (r *rig) bits(t tensor.Tensor) []byte {
	r.Helper()
	b := make([]byte, t.Bytes())
	if err := r.s.Download(backend.Raw(t.DType(), b), t).Wait(); err != nil {
		r.Fatal(err)
	}
	return b
}
