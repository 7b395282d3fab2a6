package tensor_test

import (
	"bytes"
	"slices"
	"testing"

	"alfred/internal/tensor"
	gorgonia "gorgonia.org/tensor"
)

func TestDenseSharesItsNumbers(t *testing.T) {
	data := []float32{1, 2, 3, 4, 5, 6}
	d, err := tensor.Dense(data, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	if x, err := d.At(1, 2); err != nil || x != float32(6) {
		t.Errorf("element (1, 2) is %v (%v), want 6", x, err)
	}
	data[5] = 7
	if x, _ := d.At(1, 2); x != float32(7) {
		t.Errorf("element (1, 2) is %v after the slice became 7", x)
	}
	back, dims, err := tensor.Numbers[float32](d)
	if err != nil || !slices.Equal(back, data) || !slices.Equal(dims, []int{2, 3}) {
		t.Errorf("got %v %v (%v)", back, dims, err)
	}
}

func TestDenseSurvivesNumpy(t *testing.T) {
	d, err := tensor.Dense([]float64{1.5, -2, 3, 4}, 4)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := d.WriteNpy(&b); err != nil {
		t.Fatal(err)
	}
	again := gorgonia.New(gorgonia.Of(gorgonia.Float64))
	if err := again.ReadNpy(&b); err != nil {
		t.Fatal(err)
	}
	if xs, _, err := tensor.Numbers[float64](again); err != nil || !slices.Equal(xs, []float64{1.5, -2, 3, 4}) {
		t.Errorf("got %v (%v)", xs, err)
	}
}

func TestDenseRefusesWhatDoesNotFit(t *testing.T) {
	if _, err := tensor.Dense([]int32{1, 2}, 3); err == nil {
		t.Error("2 numbers passed for 3")
	}
	if _, err := tensor.Dense([]int32{}, 0, 3); err == nil {
		t.Error("an empty Dense was made")
	}
	d, _ := tensor.Dense([]float32{1, 2, 3, 4}, 2, 2)
	if _, _, err := tensor.Numbers[float64](d); err == nil {
		t.Error("float32 numbers came out as float64")
	}
	column, err := d.Slice(nil, gorgonia.S(0))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := tensor.Numbers[float32](column.(*gorgonia.Dense)); err == nil {
		t.Error("a column came out as contiguous")
	}
}
