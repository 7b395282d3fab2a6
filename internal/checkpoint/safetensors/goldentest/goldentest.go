// Package goldentest reads what other software has computed (scripts/golden writes it) and compares with it.
package goldentest

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"alfred/internal/checkpoint/safetensors"
)

// File is a golden: named tensors, and metadata.
type File struct{ *safetensors.File }

// Open opens a golden until the test ends.
func Open(t testing.TB, path string) File {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return File{f}
}

// Has tells whether the golden has a tensor of that name.
func (f File) Has(name string) bool {
	_, ok := f.Tensor(name)
	return ok
}

// tensor panics if there is no such tensor, as any goroutine of a test may: the test then asks for what its golden does not hold.
func (f File) tensor(name string) safetensors.Entry {
	e, ok := f.Tensor(name)
	if !ok {
		panic(fmt.Sprintf("%s has no tensor %s", f.Path(), name))
	}
	return e
}

// Floats is a tensor of floating-point numbers, row by row.
func (f File) Floats(name string) []float64 {
	e := f.tensor(name)
	xs := make([]float64, e.NumElements())
	if err := e.Float64(xs, e.Rows(), e.Cols()); err != nil {
		panic(err)
	}
	return xs
}

// Ints is a tensor of int32, row by row.
func (f File) Ints(name string) []int32 {
	e := f.tensor(name)
	if e.DType != safetensors.I32 {
		panic(fmt.Sprintf("%s: tensor %s is %s, not int32", f.Path(), name, e.DType))
	}
	xs, data := make([]int32, e.NumElements()), e.Data()
	for i := range xs {
		xs[i] = int32(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return xs
}

// Under is every tensor whose name begins with prefix, by the rest of its name.
func (f File) Under(prefix string) map[string][]float64 {
	all := map[string][]float64{}
	for _, name := range f.Names() {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			all[rest] = f.Floats(name)
		}
	}
	return all
}

// Sequences cuts a tensor of token ids at the offsets that another one holds: offset i is where sequence i begins, the last is
// where the last one ends.
func (f File) Sequences(ids, offsets string) (sequences [][]int32) {
	all, at := f.Ints(ids), f.Ints(offsets)
	for i := range len(at) - 1 {
		sequences = append(sequences, all[at[i]:at[i+1]])
	}
	return sequences
}

// Near demands |got - want| ≤ relative·|want| + absolute, element by element.
func Near(t testing.TB, what string, got, want []float64, relative, absolute float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	for i := range got {
		if d := math.Abs(got[i] - want[i]); !(d <= relative*math.Abs(want[i])+absolute) {
			t.Errorf("%s[%d] = %.17g, want %.17g (off by %.3g)", what, i, got[i], want[i], d)
			return
		}
	}
}

// Norm is the L2 norm.
func Norm(xs []float64) float64 { return Distance(xs, make([]float64, len(xs))) }

// Distance is the L2 norm of the difference.
func Distance(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		sum += (a[i] - b[i]) * (a[i] - b[i])
	}
	return math.Sqrt(sum)
}

// NearTensors demands that every tensor of got is within relative·|tensor| + absolute·|all tensors| of want (L2). The second part
// is for tensors that are small beside the others: rounding in the others reaches them.
func NearTensors(t testing.TB, what string, got, want map[string][]float64, relative, absolute float64) {
	t.Helper()
	squares := 0.0
	for _, w := range want {
		squares += Norm(w) * Norm(w)
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d tensors, want %d", what, len(got), len(want))
	}
	for name, w := range want {
		g, ok := got[name]
		if !ok || len(g) != len(w) {
			t.Errorf("%s: %s has %d elements, want %d", what, name, len(g), len(w))
			continue
		}
		if d, most := Distance(g, w), relative*Norm(w)+absolute*math.Sqrt(squares); !(d <= most) {
			t.Errorf("%s: %s is off by %.3g, allowed %.3g (norm %.3g)", what, name, d, most, Norm(w))
		}
	}
}
