package checkpoint_test

import (
	"errors"
	"slices"
	"testing"

	"alfred/internal/checkpoint"
	"alfred/internal/checkpoint/safetensors"
	"alfred/internal/tensor"
)

func TestTensorIsTheWholeOne(t *testing.T) {
	const dir = "../falcon/testdata/golden/form-40b"
	m, err := checkpoint.OpenModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	f, err := safetensors.Open(dir + "/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, name := range f.Names() {
		e, _ := f.Tensor(name)
		want := make([]float32, e.NumElements())
		if err := e.Float32(want, e.Rows(), e.Cols()); err != nil {
			t.Fatal(err)
		}
		d, err := m.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		got, shape, err := tensor.Numbers[float32](d)
		if err != nil || !slices.Equal(shape, e.Shape) || !slices.Equal(got, want) {
			t.Errorf("%s: shape %v, want %v; equal numbers %v (%v)", name, shape, e.Shape, slices.Equal(got, want), err)
		}
	}
	if _, err := m.Tensor("lm_head.bias"); !errors.Is(err, checkpoint.ErrUnusable) {
		t.Errorf("a tensor that is not there: %v", err)
	}
}
