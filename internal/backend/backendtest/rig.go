package backendtest

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"

	"alfred/internal/backend"
	"alfred/internal/backend/reference"
	"alfred/internal/tensor"
)

// testCase is one operation with operands of some sizes. The same case runs on a whole batch, held against the reference,
// and on some rows of it, held against the whole.
type testCase struct {
	name string
	n    int // rows of the whole batch
	run  func(r *rig)
}

// rows, as the first dimension of an operand, stands for the rows of the batch that take part.
const rows = -1

// rig is what a case runs on. Each operand exists on the device under test and on the reference, with the same numbers.
type rig struct {
	dev, ref *backend.Stream
	storage  tensor.DType // of weights and activations on the device
	wide     tensor.DType
	alone    bool // only the device computes

	n      int   // rows of the whole batch
	picked []int // those that take part, in order
	rng    *rand.Rand

	outputs []*operand
	checks  []func() error
}

// operand is a tensor on both sides; nil is absent.
type operand struct {
	name     string
	dtype    tensor.DType // on the device; the reference has float64 for every floating-point type
	dims     []int
	rowwise  bool          // dims[0] counts rows of the batch
	values   []float64     // as uploaded, rounded to dtype
	dev, ref tensor.Tensor // ref is absent until the reference needs it

	// Of outputs, once the case is done.
	tolerance tolerance
	got, want []float64 // on the device, on the reference
	bits      []byte    // on the device
}

// side is one of the two streams.
type side struct {
	*backend.Stream
	isRef bool
}

// of is the operand's tensor on this side.
func (s side) of(o *operand) tensor.Tensor {
	switch {
	case o == nil:
		return tensor.Tensor{}
	case !s.isRef:
		return o.dev
	}
	if o.ref.Absent() {
		dtype := o.dtype
		if dtype != tensor.Int32 {
			dtype = tensor.Float64
		}
		o.ref = s.Alloc(dtype, o.dims...)
		write(s.Stream, o.ref, o.values)
	}
	return o.ref
}

// do runs the operation on the device, and on the reference.
func (r *rig) do(op func(s side)) {
	op(side{Stream: r.dev})
	if !r.alone {
		op(side{Stream: r.ref, isRef: true})
	}
}

// filled makes an operand of which element i of the whole batch is value(i).
func (r *rig) filled(name string, dtype tensor.DType, value func(i int) float64, dims ...int) *operand {
	count, picked := dims[0], upTo(max(dims[0], 0))
	if dims[0] == rows {
		count, picked = r.n, r.picked
	}
	whole := make([]float64, count*length(dims[1:]))
	for i := range whole {
		whole[i] = value(i)
	}
	return r.place(name, dtype, pickRows(whole, length(dims[1:]), picked), dims...)
}

// place makes an operand of the values of the rows that take part, and uploads it.
func (r *rig) place(name string, dtype tensor.DType, values []float64, dims ...int) *operand {
	o := &operand{name: name, dtype: dtype, dims: append([]int(nil), dims...), rowwise: dims[0] == rows, values: make([]float64, len(values))}
	if o.rowwise {
		o.dims[0] = len(r.picked)
	}
	for i, v := range values {
		o.values[i] = round(dtype, v)
	}
	o.dev = r.dev.Alloc(dtype, o.dims...)
	write(r.dev, o.dev, o.values)
	return o
}

// random is a normally distributed input.
func (r *rig) random(name string, dtype tensor.DType, deviation float64, dims ...int) *operand {
	return r.filled(name, dtype, func(int) float64 { return deviation * r.rng.NormFloat64() }, dims...)
}

// ints is an input of integers.
func (r *rig) ints(name string, value func(i int) int, dims ...int) *operand {
	return r.filled(name, tensor.Int32, func(i int) float64 { return float64(value(i)) }, dims...)
}

// unwritten is an operand whose contents must not matter.
func (r *rig) unwritten(name string, dtype tensor.DType, dims ...int) *operand {
	garbage := math.NaN()
	if dtype == tensor.Int32 {
		garbage = math.MinInt32
	}
	return r.filled(name, dtype, func(int) float64 { return garbage }, dims...)
}

// output is written by the operation; what it held before must not matter.
func (r *rig) output(t tolerance, name string, dtype tensor.DType, dims ...int) *operand {
	return r.result(t, r.unwritten(name, dtype, dims...))
}

// added is added to by the operation; it holds numbers before.
func (r *rig) added(t tolerance, name string, dtype tensor.DType, dims ...int) *operand {
	return r.result(t, r.random(name, dtype, 1, dims...))
}

// result makes an operand an output.
func (r *rig) result(t tolerance, o *operand) *operand {
	o.tolerance = t
	r.outputs = append(r.outputs, o)
	return o
}

// check adds a condition on the outputs of the device.
func (r *rig) check(f func() error) { r.checks = append(r.checks, f) }

// bench is a device under test beside a reference, with memory for one case at a time.
type bench struct {
	dev, ref *backend.Stream
}

// benchBytes is enough for every case, on the reference too.
const benchBytes = 16 << 20

func newBench(d backend.Device, bytes int) (*bench, error) {
	devArena, devErr := d.Arena("conformance", bytes)
	refArena, refErr := reference.New().Arena("conformance", bytes)
	if err := errors.Join(devErr, refErr); err != nil {
		return nil, err
	}
	b := &bench{dev: d.Stream(), ref: reference.New().Stream()}
	b.dev.Use(devArena)
	b.ref.Use(refArena)
	return b, nil
}

// run does one case on the picked rows, nil for all, and returns its outputs. With alone, only the device computes.
func (b *bench) run(c testCase, storage tensor.DType, picked []int, alone bool) ([]*operand, error) {
	defer b.dev.Arena().Release(b.dev.Arena().Mark())
	defer b.ref.Arena().Release(b.ref.Arena().Mark())
	if picked == nil {
		picked = upTo(c.n)
	}
	r := &rig{dev: b.dev, ref: b.ref, storage: storage, wide: b.dev.Wide(), alone: alone, n: c.n, picked: picked, rng: seeded(c.name)}
	c.run(r)
	var errs []error
	for _, o := range r.outputs {
		var devErr, refErr error
		o.bits = make([]byte, o.dev.Bytes())
		devErr = b.dev.Download(backend.Raw(o.dtype, o.bits), o.dev).Wait()
		if !alone && devErr == nil {
			o.got, devErr = read(b.dev, o.dev)
			o.want, refErr = read(b.ref, side{Stream: b.ref, isRef: true}.of(o))
		}
		errs = append(errs, devErr, refErr)
	}
	if err := errors.Join(append(errs, b.dev.Sync(), b.ref.Sync())...); err != nil || alone {
		return r.outputs, err
	}
	for _, o := range r.outputs {
		errs = append(errs, o.compare())
	}
	for _, check := range r.checks {
		errs = append(errs, check())
	}
	return r.outputs, errors.Join(errs...)
}

// seeded is a generator that depends on the name alone.
func seeded(name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(h.Sum64(), 1))
}

// write uploads numbers, and read downloads them; integers are exact as float64.
func write(s *backend.Stream, t tensor.Tensor, values []float64) {
	if t.DType() != tensor.Int32 {
		s.Upload(t, backend.Float64s(values))
		return
	}
	ints := make([]int32, len(values))
	for i, v := range values {
		ints[i] = int32(v)
	}
	s.Upload(t, backend.Int32s(ints))
}

func read(s *backend.Stream, t tensor.Tensor) ([]float64, error) {
	values := make([]float64, t.Len())
	if t.DType() != tensor.Int32 {
		return values, s.Download(backend.Float64s(values), t).Wait()
	}
	ints := make([]int32, t.Len())
	err := s.Download(backend.Int32s(ints), t).Wait()
	for i, v := range ints {
		values[i] = float64(v)
	}
	return values, err
}

// round is the nearest number that dtype holds.
func round(dtype tensor.DType, v float64) float64 {
	switch dtype {
	case tensor.Float32:
		return float64(float32(v))
	case tensor.BFloat16:
		return float64(tensor.FromBFloat16(tensor.ToBFloat16(float32(v))))
	}
	return v
}

func pickRows(values []float64, cols int, picked []int) []float64 {
	out := make([]float64, 0, len(picked)*cols)
	for _, n := range picked {
		out = append(out, values[n*cols:(n+1)*cols]...)
	}
	return out
}

func upTo(n int) []int {
	xs := make([]int, n)
	for i := range xs {
		xs[i] = i
	}
	return xs
}

func length(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

func label(op string, parts ...any) string {
	return op + " " + fmt.Sprint(parts...)
}
